"""What Ray's dashboard and Prometheus are told of a stage; deploy/README.md lists it."""

from ray.util.metrics import Gauge

from rum_ray.study.progress import ProgressState

NAMES = {
    "rum_ray_jobs": "Jobs of the stage.",
    "rum_ray_jobs_done": "Those of them that are done.",
    "rum_ray_jobs_per_second": "Mean rate since the first worker came.",
    "rum_ray_eta_seconds": "Time that is left at this rate.",
    "rum_ray_jobs_failed": "Jobs that were given up, or cannot be done.",
    "rum_ray_jobs_again": "How often a job was handed out again.",
    "rum_ray_worker_restarts": "How often all workers were started again.",
    "rum_ray_standard_error": "Mean standard error of memorization so far.",
    "rum_ray_search_best": "Best J of a search so far.",
    "rum_ray_device_memory_share": "Share of a device's memory in use; CUDA only.",
}


class Metrics:
    """The gauges of one stage."""

    def __init__(self, stage: str) -> None:
        """Open them; Ray keeps one of each name, with a value a stage."""
        self._stage = stage
        self._gauges = {
            name: Gauge(name, text, ("stage", "device") if "device" in name else ("stage",))
            for name, text in NAMES.items()
        }

    def set(self, standing: ProgressState) -> None:
        """Say how far the stage is."""
        values: dict[str, float | None] = {
            "rum_ray_jobs": standing.total,
            "rum_ray_jobs_done": standing.done,
            "rum_ray_jobs_per_second": standing.rate,
            "rum_ray_eta_seconds": standing.eta_seconds,
            "rum_ray_jobs_failed": standing.failed,
            "rum_ray_jobs_again": standing.again,
            "rum_ray_worker_restarts": standing.restarts,
            "rum_ray_standard_error": standing.standard_error,
            "rum_ray_search_best": standing.best,
        }
        for name, value in values.items():
            if value is not None:
                self._gauges[name].set(value, {"stage": self._stage})
        for device, share in standing.memory.items():
            tags = {"stage": self._stage, "device": device}
            self._gauges["rum_ray_device_memory_share"].set(share, tags)
