"""The context in which jobs run: the data, the store and the device."""

import copy
import platform
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import nn

from rum_ray import __version__
from rum_ray.data.bundle import DataBundle, LabeledData
from rum_ray.digest import digest
from rum_ray.evaluation.sets import Split
from rum_ray.jobs.job import Job, Keyed, Loadable
from rum_ray.resume import StoredRuntime
from rum_ray.store import Artifact, Store

J = TypeVar("J", bound=Keyed)


@dataclass(frozen=True, eq=False)
class Context:
    """Where jobs are done: the data, the store and the device."""

    bundle: DataBundle
    store: Store
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - an immutable value

    @cached_property
    def train_fingerprint(self) -> dict[str, Any]:
        """What determines a trained model besides its recipe: D, PyTorch and the kind of device."""
        return {"train": digest(self.bundle.train), **hardware(self.device)}

    def eval_fingerprint(self, split: Split) -> str:
        """Return the digest of V or T with the label process of its non-members."""
        if split not in self._eval_fingerprints:
            data: LabeledData = getattr(self.bundle, split)
            self._eval_fingerprints[split] = digest([data, self.bundle.nonmembers(split).y])
        return self._eval_fingerprints[split]

    @cached_property
    def _eval_fingerprints(self) -> dict[Split, str]:
        """The digests that were asked for: every key of an evaluation wants one."""
        return {}

    def has(self, job: Job) -> bool:
        """Return whether the job is done."""
        return self.store.has(job.key(self))

    def distinct(self, jobs: Iterable[J]) -> list[J]:
        """Return the jobs with each key once, in their order."""
        return list({job.key(self).digest: job for job in jobs}.values())

    def missing(self, jobs: Sequence[J]) -> list[J]:
        """Return the jobs that are not done."""
        there = self.store.have([job.key(self) for job in jobs])
        return [job for job, found in zip(jobs, there, strict=True) if not found]

    def load(self, job: Job) -> Artifact:
        """Return what a job that is done has made."""
        return self.store.load(job.key(self))

    def get_or_compute(self, job: Job) -> Artifact:
        """Return what the job makes, from the store or by doing it."""
        key = job.key(self)
        found = self.store.find(key)
        if found is not None:
            return found
        start = time.monotonic()
        runtime = StoredRuntime(job.seed, self.store, key.digest, self.device, job.recipe.threads)
        artifact = job.run(self, runtime)
        self.save(job, artifact, time.monotonic() - start)
        runtime.remove_checkpoints()
        return artifact

    def save(self, job: Job, artifact: Artifact, seconds: float) -> None:
        """Save what a job made in so many seconds, with what the artifact says of its making."""
        made = {"seconds": seconds, "job": type(job).__name__, "rum_ray": __version__}
        made |= {"host": platform.node(), "device": device_name(self.device), "time": time.time()}
        self.store.save(job.key(self), artifact, {**made, **artifact.provenance})

    def get_or_compute_locked(self, job: Job) -> Artifact:
        """As `make`; of several processes that want it at once, one makes it, the others wait."""
        with self.store.lock(job.key(self)):
            return self.get_or_compute(job)

    def cached_model(self, model: Loadable) -> nn.Module:
        """Return a copy of a model that is loaded once in this process."""
        digest = model.key(self).digest
        if digest not in self._models:
            self._models[digest] = model.load(self)
        return copy.deepcopy(self._models[digest])

    @cached_property
    def _models(self) -> dict[str, nn.Module]:
        """The models that were asked for: every trial of a search starts from the same few."""
        return {}


def hardware(device: torch.device) -> dict[str, str]:
    """Return what about PyTorch and the device changes a result's bits."""
    if device.type == "cpu":
        return {
            "torch": torch.__version__,
            "device": f"cpu {torch.backends.cpu.get_cpu_capability()}",
        }
    return {"torch": torch.__version__, "device": device.type}


def device_name(device: torch.device) -> str:
    """Return what a device is called, such as "NVIDIA H100 80GB HBM3"."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
