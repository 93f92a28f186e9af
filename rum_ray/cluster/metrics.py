"""Metrics of the command and of its workers, for Ray's dashboard and Prometheus.

Ray exports the metrics of a process every 10 s. A gauge disappears 20 s after it was last set. A
counter begins with its first increment, belongs to one process, and stays until its machine leaves
the cluster: a total is a sum over processes, a rate is a sum of rates. Without a running Ray, and
where its metrics are off, nothing is published and nothing fails.
"""

import contextlib
import threading
import time
from dataclasses import dataclass

import torch
from ray.util.metrics import Counter, Gauge

from rum_ray.cluster.metric_table import COMMAND, METRICS
from rum_ray.study.progress import ProgressState

REFRESH_SECONDS = 5.0
"""The gauges of a stage are set again after this time."""


class Metrics:
    """The gauges of one stage, in the process of the command; a context manager.

    Within the block, a thread repeats the last values, so that they outlive a long job. After it,
    the series of the stage end within 20 s.
    """

    def __init__(self, experiment: str, run: str, stage: str) -> None:
        """Open the gauges.

        Args:
            experiment: its name.
            run: a short id of the command.
            stage: its name.
        """
        self._tags = {"experiment": experiment, "run": run, "stage": stage}
        self._gauges = {
            each.name: Gauge(each.name, each.meaning, each.labels)
            for each in METRICS
            if each.labels == COMMAND
        }
        self._state: ProgressState | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._refresher = threading.Thread(target=self._refresh, daemon=True)

    def __enter__(self) -> "Metrics":
        self._refresher.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._refresher.join()

    def set(self, state: ProgressState) -> None:
        """Publish the progress of the stage; unknown values are left out."""
        with self._lock:
            self._state = state
            self._publish(state)

    def _publish(self, state: ProgressState) -> None:
        """Set the gauges."""
        for name, value in _values(state).items():
            if value is not None:
                self._gauges[name].set(value, self._tags)

    def _refresh(self) -> None:
        """Publish the last state again and again, until the block ends."""
        while not self._ended.wait(REFRESH_SECONDS):
            with self._lock:
                if self._state is not None:
                    self._publish(self._state)


def _values(state: ProgressState) -> dict[str, float | None]:
    """Return the values of the gauges of a stage."""
    return {
        "rum_ray_jobs": state.total,
        "rum_ray_jobs_done": state.done,
        "rum_ray_jobs_per_second": state.rate,
        "rum_ray_eta_seconds": state.eta_seconds,
        "rum_ray_workers": state.workers,
        "rum_ray_shards": state.shards,
        "rum_ray_worker_restarts": state.restarts,
        "rum_ray_workers_rejected": state.rejected,
        "rum_ray_jobs_failed": state.failed,
        "rum_ray_jobs_again": state.again,
        "rum_ray_standard_error": state.standard_error,
        "rum_ray_search_best": state.best,
    }


class WorkerMetrics:
    """The metrics of one worker; threads may share it.

    A worker is idle at first. `idle` and `busy` change its state and add the time since the last
    call to the former state; so does `beat`, which keeps the state, for jobs that take long.
    """

    def __init__(self, experiment: str, run: str, shard: str) -> None:
        """Open the counters and gauges.

        Args:
            experiment: its name.
            run: a short id of the command.
            shard: name of the worker's shard.
        """
        self._tags = {"experiment": experiment, "run": run, "stage": "", "shard": shard}
        self._counters = {
            each.name: Counter(each.name, each.meaning, each.labels)
            for each in METRICS
            if each.kind == "counter"
        }
        self._gauges = {
            each.name: Gauge(each.name, each.meaning, each.labels)
            for each in METRICS
            if "device" in each.labels
        }
        self._state, self._since = "idle", time.monotonic()
        self._lock = threading.Lock()

    def idle(self) -> None:
        """Begin to wait for jobs; the stage stays that of the last job."""
        with self._lock:
            self._account()
            self._state = "idle"

    def busy(self, stage: str) -> None:
        """Begin to run jobs of a stage."""
        with self._lock:
            self._account()
            self._state, self._tags = "busy", {**self._tags, "stage": stage}

    def beat(self, device: str = "", use: "DeviceUse | None" = None) -> None:
        """Add the time so far to the state; publish the use of the device. Call it every 10 s.

        Args:
            device: name of the device, with its node.
            use: its memory and utilization.
        """
        with self._lock:
            self._account()
        for name, value in () if use is None else use.values():
            self._gauges[name].set(value, {**self._tags, "device": device})

    def done(
        self, kind: str, seconds: float, stored_bytes: int, *, models: int = 0, trials: int = 0
    ) -> None:
        """Count a finished job.

        Args:
            kind: class of the job.
            seconds: time that it took.
            stored_bytes: size of its artifact.
            models: models that it trained from scratch.
            trials: trials that it judged.
        """
        self._count("rum_ray_jobs_finished", 1, kind=kind)
        self._count("rum_ray_job_seconds", seconds, kind=kind)
        self._count("rum_ray_stored_bytes", stored_bytes)
        self._count("rum_ray_models_trained", models)
        self._count("rum_ray_trials", trials)

    def failed(self, kind: str, error: str) -> None:
        """Count an attempt that failed.

        Args:
            kind: class of the job.
            error: class of the error.
        """
        self._count("rum_ray_failures", 1, kind=kind, error=error)

    def _account(self) -> None:
        """Add the time since the last call to the state."""
        now = time.monotonic()
        self._count("rum_ray_worker_seconds", now - self._since, state=self._state)
        self._since = now

    def _count(self, name: str, value: float, **tags: str) -> None:
        """Increase a counter; Ray refuses an increment of 0."""
        if value > 0:
            self._counters[name].inc(value, {**self._tags, **tags})


@dataclass(frozen=True)
class DeviceUse:
    """The use of a device by all processes.

    Attributes:
        memory: share of its memory in use, in [0, 1]; None if unknown.
        utilization: share of time in which it computes, in [0, 1]; None if unknown.
    """

    memory: float | None = None
    utilization: float | None = None

    def values(self) -> list[tuple[str, float]]:
        """Return the gauges with a known value."""
        both = {
            "rum_ray_device_memory_share": self.memory,
            "rum_ray_device_utilization": self.utilization,
        }
        return [(name, value) for name, value in both.items() if value is not None]


def device_use() -> DeviceUse:
    """Return the use of this process's CUDA device; nothing is known before its first use.

    The utilization needs the package nvidia-ml-py. A device that fails may answer neither.
    """
    memory = utilization = None
    if torch.cuda.is_initialized():
        # The errors of NVML have no base class in common with those of PyTorch.
        with contextlib.suppress(Exception):
            free, total = torch.cuda.mem_get_info()
            memory = 1 - free / total
        with contextlib.suppress(Exception):
            utilization = torch.cuda.utilization() / 100
    return DeviceUse(memory, utilization)
