"""One shard: a Ray Train run whose workers are independent, and the resources that they ask for."""

import os
from collections.abc import Mapping
from typing import Any

from ray.train import FailureConfig, RunConfig
from ray.train.backend import Backend, BackendConfig
from ray.train.v2.api.callback import UserCallback
from ray.train.v2.api.config import ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

from rum_ray.cluster import SETTINGS
from rum_ray.cluster.access import make_private, private_folder
from rum_ray.cluster.worker import work
from rum_ray.experiment import ClusterConfig

START_TIMEOUTS = 3
"""A shard ends if its workers find no room so often; it is then placed anew."""
SLICE = 0.01
"""CPUs, and share of a worker's GPUs, that are left for what runs beside a waiting worker."""


class _Independent(Backend):
    """Workers that do not communicate: Train replaces one that fails and leaves the others."""

    has_replica_groups = True


class _IndependentWorkers(BackendConfig):
    """Settings of the backend above; there are none."""

    @property
    def backend_cls(self) -> type[Backend]:
        return _Independent


class _Deaths(UserCallback):
    """Tells the queue which workers have died, from the process of Train's controller."""

    def __init__(self, queue: Any, shard: str) -> None:
        self._queue, self._shard = queue, shard

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        """Report the ranks of the workers."""
        for rank in worker_exceptions:
            self._queue.died.remote(self._shard, rank)


def fit(
    loop: Mapping[str, Any],
    workers: int,
    node: str | None,
    resources: Mapping[str, float],
    most: int,
) -> None:
    """Run one shard until the queue is closed, or its workers have left.

    Args:
        loop: settings of `work`: the actor of the queue, and the name of the shard among others.
        workers: number of its workers.
        node: id of the machine; None for the only one.
        resources: resources of each worker.
        most: failures of workers that are allowed; -1 for no limit.
    """
    # The task of a shard runs in a process that has imported Ray before this package.
    for setting, value in SETTINGS.items():
        os.environ.setdefault(setting, value)
    # Train keeps its own records here; controller and workers are on one machine.
    make_private(folder := private_folder() / "t")
    DataParallelTrainer(
        work,
        train_loop_config=dict(loop),
        backend_config=_IndependentWorkers(),
        scaling_config=ScalingConfig(
            num_workers=workers,
            use_gpu="GPU" in resources,
            resources_per_worker=dict(resources),
            label_selector=None if node is None else {"ray.io/node-id": node},
        ),
        run_config=RunConfig(
            name=loop["shard"],
            storage_path=str(folder),
            failure_config=FailureConfig(most, controller_failure_limit=START_TIMEOUTS),  # type: ignore[call-arg]
            callbacks=[_Deaths(loop["queue"], loop["shard"])],  # type: ignore[list-item]  # Ray's stub is of its first version.
        ),
    ).fit()


def worker_resources(config: ClusterConfig) -> dict[str, float]:
    """Return the resources of a worker: a CPU and its GPUs, less a slice for others."""
    gpus = config.gpus_per_worker
    return {"CPU": 1 - SLICE, **({"GPU": countable_share(gpus, 1 - SLICE)} if gpus else {})}


def slice_resources(config: ClusterConfig) -> dict[str, float]:
    """Return the resources of an actor that runs beside a worker; some fit beside each."""
    gpus, part = config.gpus_per_worker, SLICE / 4
    share = {"GPU": max(countable_share(gpus, part), 1e-4)} if gpus else {}
    return {"CPU": part, **share}


def countable_share(gpus: float, part: float) -> float:
    """Return a part of a share of a GPU in ten-thousandths, as Ray counts, rounded down.

    As many shares as fit on a GPU on paper fit in the count: five of 0.2 do, although 0.2 is a
    little more than a fifth in floating point.

    Args:
        gpus: GPUs per worker, in (0, 1].
        part: part of the share, in (0, 1).
    """
    together = int(1 / gpus + 1e-9)
    return int(10_000 // together * part) / 10_000
