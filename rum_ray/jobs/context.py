"""The context in which jobs run: the data, the store and the device."""

import copy
import platform
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import nn

from rum_ray import __version__
from rum_ray.data.bundle import DataBundle, LabeledData
from rum_ray.digest import digest
from rum_ray.evaluation.sets import Split
from rum_ray.jobs.job import Job, Keyed, Loadable
from rum_ray.resume import StoredRuntime
from rum_ray.store import Artifact, Key, Store

J = TypeVar("J", bound=Keyed)


@dataclass(frozen=True, eq=False)
class Context:
    """The data, the store and the device that jobs use.

    Attributes:
        bundle: training, validation and test data.
        store: holds the results.
        device: where models are trained and evaluated.
    """

    bundle: DataBundle
    store: Store
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - an immutable value

    @cached_property
    def train_fingerprint(self) -> dict[str, Any]:
        """The part of a key shared by all models: D, the version of PyTorch, the kind of device."""
        return {"train": digest(self.bundle.train), **hardware(self.device)}

    def eval_fingerprint(self, split: Split) -> str:
        """Return the digest of V or T, with the labels of its non-members."""
        if split not in self._eval_fingerprints:
            data: LabeledData = getattr(self.bundle, split)
            self._eval_fingerprints[split] = digest([data, self.bundle.nonmembers(split).y])
        return self._eval_fingerprints[split]

    @cached_property
    def _eval_fingerprints(self) -> dict[Split, str]:
        """Digests computed so far; the key of every evaluation needs one."""
        return {}

    def key(self, job: Keyed) -> Key:
        """Return the key of the job's result; its digest is computed once as long as the job lives.

        The key holds no values but the digest.
        """
        known = self._keys.get(job)
        if known is None:
            key = job.key(self)
            # A key with values would hold the job, and the job would never be forgotten.
            known = self._keys[job] = Key.named(key.kind, key.digest)
        return known

    @cached_property
    def _keys(self) -> WeakKeyDictionary[Keyed, Key]:
        """Keys computed so far; jobs are hashed by identity."""
        return WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_keys"}

    def has(self, job: Keyed) -> bool:
        """Return True if the result of the job is in the store."""
        return self.store.has(self.key(job))

    def distinct(self, jobs: Iterable[J]) -> list[J]:
        """Return the jobs without those whose key came before, in order."""
        return list({self.key(job).digest: job for job in jobs}.values())

    def missing(self, jobs: Sequence[J]) -> list[J]:
        """Return the jobs whose results are not in the store."""
        stored = self.store.have([self.key(job) for job in jobs])
        return [job for job, is_stored in zip(jobs, stored, strict=True) if not is_stored]

    def load(self, job: Keyed) -> Artifact:
        """Return the result of a finished job."""
        return self.store.load(self.key(job))

    def load_each(self, jobs: Sequence[Keyed]) -> Iterator[tuple[int, Artifact]]:
        """Yield number and result of each of many distinct jobs, in an order that reads fast."""
        return self.store.load_each([self.key(job) for job in jobs])

    def get_or_compute(self, job: Job) -> Artifact:
        """Return the result of a job; run it if the store does not have it."""
        key = self.key(job)
        stored = self.store.find(key)
        if stored is not None:
            return stored
        start = time.monotonic()
        runtime = StoredRuntime(job.seed, self.store, key.digest, self.device, job.recipe.threads)
        artifact = job.run(self, runtime)
        self.save(job, artifact, time.monotonic() - start)
        runtime.remove_checkpoints()
        return artifact

    def save(self, job: Job, artifact: Artifact, seconds: float) -> None:
        """Save the result of a job with its provenance: the seconds, the host, the device."""
        provenance = {"seconds": seconds, "job": type(job).__name__, "rum_ray": __version__}
        provenance |= {"host": platform.node(), "device": device_name(self.device)}
        provenance |= {"time": time.time(), **artifact.provenance}
        self.store.save(self.key(job), artifact, provenance)

    def get_or_compute_locked(self, job: Job) -> Artifact:
        """Return the result like `get_or_compute`; concurrent callers wait for the first."""
        with self.store.lock(self.key(job)):
            return self.get_or_compute(job)

    def cached_model(self, model: Loadable) -> nn.Module:
        """Return a copy of a model; each process loads the model once."""
        digest = self.key(model).digest
        if digest not in self._models:
            self._models[digest] = model.load(self)
        return copy.deepcopy(self._models[digest])

    @cached_property
    def _models(self) -> dict[str, nn.Module]:
        """Models loaded so far; the trials of a search start from the same few."""
        return {}


def hardware(device: torch.device) -> dict[str, str]:
    """Return the version of PyTorch and the kind of device, which determine the bits of results."""
    if device.type == "cpu":
        return {
            "torch": torch.__version__,
            "device": f"cpu {torch.backends.cpu.get_cpu_capability()}",
        }
    return {"torch": torch.__version__, "device": device.type}


def device_name(device: torch.device) -> str:
    """Return the name of a device, such as "NVIDIA H100 80GB HBM3"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
