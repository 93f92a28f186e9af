"""The runtime of a job: training loops resume from checkpoints after a crash."""

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

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class StoredRuntime:
    """A runtime with checkpoints: the state is saved after each 30 s of work.

    Attributes:
        seed: root of all random draws.
        store: store of the checkpoints.
        job: digest of the job's key.
        device: device of the computation.
        threads: threads of PyTorch.
        checkpoint_seconds: least seconds between two checkpoints.
    """

    seed: Seed
    store: Store
    job: str
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - an immutable value
    threads: int = 1
    checkpoint_seconds: float = CHECKPOINT_SECONDS

    def __post_init__(self) -> None:
        set_threads(self.threads)

    def __truediv__(self, part: str | int) -> "StoredRuntime":
        return replace(self, seed=self.seed / part)

    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield the remaining epochs, and save checkpoints of the state in between."""
        start, saved = self._restore(state), time.monotonic()
        for epoch in range(start, total):
            yield epoch
            if time.monotonic() - saved >= self.checkpoint_seconds:
                self._save_checkpoint(epoch + 1, state)
                saved = time.monotonic()

    @property
    def _path(self) -> Path | None:
        return self.store.state_path(f"{self.job}-{digest(self.seed)[:16]}")

    def _save_checkpoint(self, epoch: int, state: Mapping[str, Stateful]) -> None:
        """Replace the checkpoint by one of this state."""
        if self._path is None:
            return
        buffer = io.BytesIO()
        torch.save({"epoch": epoch, **{k: v.state_dict() for k, v in state.items()}}, buffer)
        content = buffer.getvalue()
        write_bytes(self._path, hashlib.sha256(content).digest() + content)

    def _restore(self, state: Mapping[str, Stateful]) -> int:
        """Restore the checkpoint and return the next epoch; 0 if there is no valid checkpoint."""
        if self._path is None or not self._path.exists():
            return 0
        content = self._path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return 0
        saved = torch.load(io.BytesIO(content[32:]), weights_only=True, map_location=self.device)
        for name, part in state.items():
            part.load_state_dict(saved[name])
        return int(saved["epoch"])

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints of the job."""
        if self._path is not None:
            for path in self._path.parent.glob(f"{self.job}-*"):
                path.unlink(missing_ok=True)
