"""Metrics of a stage for Ray's dashboard and Prometheus; deploy/README.md lists them."""

from ray.util.metrics import Gauge

from rum_ray.study.progress import ProgressState

NAMES = {
    "rum_ray_jobs": "Number of jobs of the stage.",
    "rum_ray_jobs_done": "Number of finished jobs.",
    "rum_ray_jobs_per_second": "Mean rate since the first worker started.",
    "rum_ray_eta_seconds": "Seconds left at this rate.",
    "rum_ray_jobs_failed": "Number of jobs that were given up or have a permanent error.",
    "rum_ray_jobs_again": "Number of times that a job was requeued.",
    "rum_ray_worker_restarts": "Number of restarts of all workers.",
    "rum_ray_standard_error": "Mean standard error of memorization so far.",
    "rum_ray_search_best": "Best J of a search so far.",
    "rum_ray_device_memory_share": "Share of a device's memory in use, in [0, 1]; CUDA only.",
}


class Metrics:
    """The gauges of one stage."""

    def __init__(self, stage: str) -> None:
        """Open the gauges; Ray has one per name, with one value per stage."""
        self._stage = stage
        self._gauges = {
            name: Gauge(name, text, ("stage", "device") if "device" in name else ("stage",))
            for name, text in NAMES.items()
        }

    def set(self, state: ProgressState) -> None:
        """Publish the progress of the stage; unknown values are left out."""
        values: dict[str, float | None] = {
            "rum_ray_jobs": state.total,
            "rum_ray_jobs_done": state.done,
            "rum_ray_jobs_per_second": state.rate,
            "rum_ray_eta_seconds": state.eta_seconds,
            "rum_ray_jobs_failed": state.failed,
            "rum_ray_jobs_again": state.again,
            "rum_ray_worker_restarts": state.restarts,
            "rum_ray_standard_error": state.standard_error,
            "rum_ray_search_best": state.best,
        }
        for name, value in values.items():
            if value is not None:
                self._gauges[name].set(value, {"stage": self._stage})
        for device, share in state.memory.items():
            tags = {"stage": self._stage, "device": device}
            self._gauges["rum_ray_device_memory_share"].set(share, tags)
