"""The runtime of a job: training loops resume from checkpoints after a crash."""

import copy
import hashlib
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from rum_ray.digest import digest
from rum_ray.seeding import Seed
from rum_ray.store import Key, Store
from rum_ray.training.initial import InitialWeights, read_initial
from rum_ray.training.runtime import Stateful, set_threads

CHECKPOINT_SECONDS = 30.0


def initial_key(initial: InitialWeights) -> Key:
    """Return the key of initial weights in the store: the content of their file."""
    return Key("initial", {"sha256": initial.sha256})


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

    def weights(self, initial: InitialWeights) -> Mapping[str, Tensor]:
        """Return initial weights from the store, or from their file."""
        artifact = self.store.find(initial_key(initial))
        if artifact is None:
            return read_initial(initial)
        return {name: torch.from_numpy(array.copy()) for name, array in artifact.arrays.items()}

    def epochs(self, total: int, **state: Stateful) -> Iterator[int]:
        """Yield the remaining epochs, and save checkpoints of the state in between."""
        start, saved = self._restore(state), time.monotonic()
        for epoch in range(start, total):
            yield epoch
            if time.monotonic() - saved >= self.checkpoint_seconds:
                self._save_checkpoint(epoch + 1, state)
                saved = time.monotonic()

    @property
    def _identity(self) -> dict[str, str]:
        """The job and the part of it whose states these are; it is in the file, too."""
        return {"job": self.job, "seed": digest(self.seed)}

    @property
    def _name(self) -> str:
        """The name of the checkpoint in the store."""
        return f"{self.job}-{self._identity['seed'][:16]}"

    def _save_checkpoint(self, epoch: int, state: Mapping[str, Stateful]) -> None:
        """Replace the checkpoint by one of this state."""
        buffer = io.BytesIO()
        parts = {name: part.state_dict() for name, part in state.items()}
        torch.save({**self._identity, "epoch": epoch, "state": parts}, buffer)
        content = buffer.getvalue()
        self.store.save_checkpoint(self._name, hashlib.sha256(content).digest() + content)

    def _restore(self, state: Mapping[str, Stateful]) -> int:
        """Restore the checkpoint and return the next epoch; 0 if there is no valid checkpoint.

        A checkpoint that is damaged, is that of another job, or does not fit the state counts as
        none. The state is then as before.
        """
        content = self.store.checkpoint(self._name)
        if content is None or hashlib.sha256(content[32:]).digest() != content[:32]:
            return 0
        before = {name: copy.deepcopy(part.state_dict()) for name, part in state.items()}
        try:
            saved: dict[str, Any] = torch.load(
                io.BytesIO(content[32:]), weights_only=True, map_location=self.device
            )
            if {name: saved[name] for name in self._identity} != self._identity:
                return 0
            for name, part in state.items():
                part.load_state_dict(saved["state"][name])
            return int(saved["epoch"])
        except Exception:
            # The checksum is right, so another version wrote it; many types of errors can follow.
            for name, part in state.items():
                part.load_state_dict(before[name])
            return 0

    def remove_checkpoints(self) -> None:
        """Remove all checkpoints of the job."""
        self.store.remove_checkpoints(f"{self.job}-")
