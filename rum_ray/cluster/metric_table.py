"""The table of all metrics, with the query of each panel.

The page, the dashboard and the rules are generated from it by `docs/make_watch.py`; the classes in
`rum_ray.cluster.metrics` publish the values.
"""

import re
from dataclasses import dataclass
from typing import Literal

COMMAND = ("experiment", "run", "stage")
WORKER = (*COMMAND, "shard")


@dataclass(frozen=True)
class Metric:
    """A metric and its panel.

    Attributes:
        name: without the prefix and suffix that Ray adds; see `exported`.
        kind: "gauge" or "counter".
        labels: label names.
        unit: of the value, in words; empty for a number of things.
        meaning: of the value.
        title: of the panel.
        panel_unit: of the panel: a unit of Grafana.
        query: PromQL of the panel, with names as in `name`.
        journal: key of progress.jsonl with the same number, if there is one.
    """

    name: str
    kind: Literal["gauge", "counter"]
    labels: tuple[str, ...]
    unit: str
    meaning: str
    title: str
    panel_unit: str
    query: str
    journal: str = ""

    @property
    def exported(self) -> str:
        """The name in Prometheus."""
        return f"ray_{self.name}{'_total' if self.kind == 'counter' else ''}"


def _of_stage(
    name: str, unit: str, meaning: str, title: str, panel_unit: str, journal: str, factor: str = ""
) -> Metric:
    """Return a gauge that the command sets; its panel shows it by experiment, run and stage."""
    query = f"{factor}max by (experiment, run, stage) ({name})"
    return Metric(name, "gauge", COMMAND, unit, meaning, title, panel_unit, query, journal)


_RUN, _RATE = "sum by (experiment, run)", "3600 * sum by (experiment, run)"
METRICS = (
    _of_stage("rum_ray_jobs", "", "Jobs of the stage.", "Jobs", "short", "total"),
    _of_stage("rum_ray_jobs_done", "", "Finished jobs.", "Finished jobs", "short", "done"),
    _of_stage(
        "rum_ray_jobs_per_second",
        "1/s",
        "Mean rate since the first job was handed out.",
        "Jobs per hour",
        "short",
        "rate",
        "3600 * ",
    ),
    _of_stage(
        "rum_ray_eta_seconds",
        "s",
        "Remaining time at this rate; for a pool with a precision, that of its largest size.",
        "Remaining time",
        "s",
        "eta_s",
    ),
    _of_stage("rum_ray_workers", "", "Live workers.", "Workers", "short", "workers"),
    _of_stage("rum_ray_shards", "", "Shards with a live worker.", "Shards", "short", "shards"),
    _of_stage(
        "rum_ray_worker_restarts",
        "",
        "Workers, or shards of workers, that were lost.",
        "Lost workers",
        "short",
        "restarts",
    ),
    _of_stage(
        "rum_ray_workers_rejected",
        "",
        "Workers that left because they cannot do the jobs.",
        "Rejected workers",
        "short",
        "rejected",
    ),
    _of_stage(
        "rum_ray_jobs_failed",
        "",
        "Jobs that were given up or have a permanent error.",
        "Failed jobs",
        "short",
        "failures",
    ),
    _of_stage("rum_ray_jobs_again", "", "Requeues of jobs.", "Requeues", "short", "again"),
    _of_stage(
        "rum_ray_standard_error",
        "",
        "Mean standard error of memorization so far.",
        "Standard error of memorization",
        "short",
        "standard_error",
    ),
    _of_stage("rum_ray_search_best", "", "Best J of a search so far.", "Best J", "short", ""),
    Metric(
        "rum_ray_models_trained",
        "counter",
        WORKER,
        "",
        "Models that were trained from scratch.",
        "Models per hour",
        "short",
        f"{_RATE} (rate(rum_ray_models_trained[5m]))",
    ),
    Metric(
        "rum_ray_trials",
        "counter",
        WORKER,
        "",
        "Trials of searches that were judged.",
        "Trials per hour",
        "short",
        f"{_RATE} (rate(rum_ray_trials[5m]))",
    ),
    Metric(
        "rum_ray_jobs_finished",
        "counter",
        (*WORKER, "kind"),
        "",
        "Finished jobs, by class of the job.",
        "Finished jobs by kind",
        "short",
        "sum by (experiment, run, kind) (rum_ray_jobs_finished)",
    ),
    Metric(
        "rum_ray_job_seconds",
        "counter",
        (*WORKER, "kind"),
        "s",
        "Time in finished jobs, by class of the job.",
        "Seconds per job",
        "s",
        "sum by (kind) (rate(rum_ray_job_seconds[5m]))"
        " / sum by (kind) (rate(rum_ray_jobs_finished[5m]))",
    ),
    Metric(
        "rum_ray_failures",
        "counter",
        (*WORKER, "kind", "error"),
        "",
        "Attempts that failed, by class of the job and of the error.",
        "Failed attempts by error",
        "short",
        "sum by (experiment, run, kind, error) (rum_ray_failures)",
    ),
    Metric(
        "rum_ray_stored_bytes",
        "counter",
        WORKER,
        "bytes",
        "Artifacts written to the store.",
        "Bytes stored",
        "bytes",
        f"{_RUN} (rum_ray_stored_bytes)",
    ),
    Metric(
        "rum_ray_worker_seconds",
        "counter",
        (*WORKER, "state"),
        "s",
        "Time of workers, by state: `busy` in a job, or `idle`.",
        "Effective time share",
        "percentunit",
        f'{_RUN} (rate(rum_ray_worker_seconds{{state="busy"}}[5m]))'
        f" / {_RUN} (rate(rum_ray_worker_seconds[5m]))",
    ),
    Metric(
        "rum_ray_device_memory_share",
        "gauge",
        (*WORKER, "device"),
        "in [0, 1]",
        "Share of a device's memory in use; CUDA only.",
        "Device memory",
        "percentunit",
        "max by (device) (rum_ray_device_memory_share)",
        "memory",
    ),
    Metric(
        "rum_ray_device_utilization",
        "gauge",
        (*WORKER, "device"),
        "in [0, 1]",
        "Share of time in which a device computes; CUDA with the package nvidia-ml-py only.",
        "Device utilization",
        "percentunit",
        "max by (device) (rum_ray_device_utilization)",
    ),
)
"""All metrics, in the order of the panels."""


def promql(query: str, selector: str = "") -> str:
    """Return a query with the exported names of all metrics, each restricted by a selector.

    Args:
        query: PromQL with the names of `METRICS`.
        selector: label matchers without braces, such as `run="a"`.

    Example:
        >>> promql('rate(rum_ray_worker_seconds{state="busy"}[5m])', 'run="a"')
        'rate(ray_rum_ray_worker_seconds_total{state="busy",run="a"}[5m])'
        >>> promql("rum_ray_jobs")
        'ray_rum_ray_jobs'
    """
    exported = {metric.name: metric.exported for metric in METRICS}

    def restrict(match: re.Match[str]) -> str:
        matchers = ",".join(filter(None, [match[2], selector]))
        return exported[match[1]] + (f"{{{matchers}}}" if matchers else "")

    # Names of recording rules have colons.
    return re.sub(r"(?<![\w:])(rum_ray_\w+)(?!:)(?:\{(.*?)\})?", restrict, query)
