"""The runtime of a job: its training loops go on where a crash cut them off."""

import hashlib
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rum_ray.digest import digest
from rum_ray.files import write_bytes
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.training.runtime import Stateful, set_threads

KEEP_SECONDS = 30.0


@dataclass(frozen=True)
class StoredRuntime:
    """A runtime whose epochs survive a crash: the state is kept when 30 s of work would be lost.

    Attributes:
        seed: the root of all draws.
        store: where the state is kept.
        job: digest of the job's key.
        device: where to compute.
        threads: threads of PyTorch.
        keep_seconds: work between two states.
    """

    seed: Seed
    store: Store
    job: str
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - an immutable value
    threads: int = 1
    keep_seconds: float = KEEP_SECONDS

    def __post_init__(self) -> None:
        set_threads(self.threads)

    def __truediv__(self, part: str | int) -> "StoredRuntime":
        return replace(self, seed=self.seed / part)

    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield the epochs that are left, and keep the state from time to time."""
        start, kept = self._restore(state), time.monotonic()
        for epoch in range(start, total):
            yield epoch
            if time.monotonic() - kept >= self.keep_seconds:
                self._keep(epoch + 1, state)
                kept = time.monotonic()

    @property
    def _path(self) -> Path | None:
        return self.store.state_path(f"{self.job}-{digest(self.seed)[:16]}")

    def _keep(self, epoch: int, state: Mapping[str, Stateful]) -> None:
        """Replace the kept state by this one."""
        if self._path is None:
            return
        buffer = io.BytesIO()
        torch.save({"epoch": epoch, **{k: v.state_dict() for k, v in state.items()}}, buffer)
        content = buffer.getvalue()
        write_bytes(self._path, hashlib.sha256(content).digest() + content)

    def _restore(self, state: Mapping[str, Stateful]) -> int:
        """Put the kept state back and return the next epoch; 0 if there is no valid one."""
        if self._path is None or not self._path.exists():
            return 0
        content = self._path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return 0
        kept = torch.load(io.BytesIO(content[32:]), weights_only=True, map_location=self.device)
        for name, part in state.items():
            part.load_state_dict(kept[name])
        return int(kept["epoch"])

    def forget_state(self) -> None:
        """Remove what was kept for the job; it is finished."""
        if self._path is not None:
            for path in self._path.parent.glob(f"{self.job}-*"):
                path.unlink(missing_ok=True)
