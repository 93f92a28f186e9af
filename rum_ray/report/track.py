"""Tracking: the numbers of a finished report for MLflow, or for Weights & Biases."""

import importlib.util
import math
import os
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment, to_plain
from rum_ray.results.schema import Row, Summary

T = TypeVar("T")

FILES = ("report.html", "report.md", "report.json")
"""Files that are sent. The Parquet files stay: they list the forget set example by example."""
MAX_NUMBERS, MAX_SETTINGS = 500, 100
"""Limits of MLflow: numbers and settings per request."""
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Values of the environment that the user has set win. Without them, MLflow tries for minutes."""


@dataclass(frozen=True)
class Tracker:
    """The place of `--track`.

    Attributes:
        service: "mlflow" or "wandb": also the name of its package.
        place: tracking URI of MLflow, or project of Weights & Biases.
    """

    service: str
    place: str

    @classmethod
    def parse(cls, text: str) -> "Tracker":
        """Return the tracker of a flag; nothing is contacted.

        Raises:
            ConfigError: the form is wrong, or the package is not installed.
        """
        service, _, place = text.partition(":")
        if service not in _SEND or not place.strip():
            raise ConfigError(
                f"--track {text}: expected mlflow:URI, such as mlflow:http://host:5000, or "
                "wandb:PROJECT."
            )
        if importlib.util.find_spec(service) is None:
            raise ConfigError(
                f"--track {service}:...: the package {service} is not installed. Install it with "
                f"'pip install {service}', or leave --track out."
            )
        return cls(service, place)

    def send(self, summary: Summary, experiment: Experiment, folder: Path) -> str | None:
        """Send a report; return a warning in one line if that failed.

        Args:
            summary: the numbers.
            experiment: the settings.
            folder: with the files of the report.
        """
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            _SEND[self.service](self.place, summary, experiment, folder)
        except Exception as error:
            reason = textwrap.shorten(str(error), 200, placeholder=" ...")
            return (
                f"warning: --track {self.service} failed ({type(error).__name__}: {reason}). The "
                "report is complete. 'rum-ray report' with the same flags tries again."
            )
        return None


def numbers(summary: Summary) -> dict[str, float]:
    """Return the numbers of a report by name; those that could not be measured are left out.

    A row has the mean and the 95 % interval of each metric: `vanilla/finetune/search/tow` and
    `vanilla/finetune/search/tow_ci95`.
    """
    found: dict[str, Any] = {}
    for row in summary.rows:
        found |= {f"{_row_name(row)}/{name}": value for name, value in _row_numbers(row)}
    found |= {f"scores/{name}": value for name, value in asdict(summary.scores).items()}
    found |= {f"costs/{name}": value for name, value in asdict(summary.costs).items()}
    if summary.bill is not None:
        found |= {f"bill/{name}": value for name, value in asdict(summary.bill).items()}
    found |= {f"seconds/{stage.name}": stage.seconds for stage in summary.stages}
    return {
        _allowed(name): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def _row_name(row: Row) -> str:
    """Return the name of a row: method, unlearner and source, as far as it has them."""
    return "/".join(filter(None, (row.method, row.unlearner, row.source)))


def _row_numbers(row: Row) -> Iterator[tuple[str, float | None]]:
    """Yield the numbers of a row."""
    for name, metric in row.metrics.items():
        yield name, metric.mean
        yield f"{name}_ci95", metric.ci95
    yield from (("worst", row.worst), ("collapsed", row.collapsed))
    for name, klom in row.klom.items():
        yield f"klom_{name}", klom.mean


def settings(experiment: Experiment) -> dict[str, str]:
    """Return the settings of an experiment by dotted key; those that are null are left out."""
    return {_allowed(key): str(value) for key, value in _leaves(to_plain(experiment), ())}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Yield the values of a tree by dotted key."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, str(key)))
    elif value is not None:
        yield ".".join(path), value


def _allowed(name: str) -> str:
    """Return a name with characters that MLflow allows."""
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)


def _tags(summary: Summary) -> dict[str, str]:
    """Return the digest of the experiment, and the versions and hardware."""
    environment = {name: str(value) for name, value in asdict(summary.environment).items()}
    return {"digest": summary.experiment.digest, **environment}


def _run_name(summary: Summary) -> str:
    """Return the name of a run."""
    return f"{summary.experiment.name} {summary.experiment.digest[:8]}"


def _send_to_mlflow(uri: str, summary: Summary, experiment: Experiment, folder: Path) -> None:
    """Write one run to the MLflow experiment of the same name."""
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    client, name = MlflowClient(tracking_uri=uri), summary.experiment.name
    known = client.get_experiment_by_name(name)
    place = client.create_experiment(name) if known is None else known.experiment_id
    run = client.create_run(place, tags=_tags(summary), run_name=_run_name(summary))
    number, status = run.info.run_id, "FAILED"
    try:
        parameters = [Param(key, value) for key, value in settings(experiment).items()]
        for batch in _batches(parameters, MAX_SETTINGS):
            client.log_batch(number, params=batch)
        began = run.info.start_time
        metrics = [Metric(key, value, began, 0) for key, value in numbers(summary).items()]
        for some in _batches(metrics, MAX_NUMBERS):
            client.log_batch(number, metrics=some)
        for file in FILES:
            client.log_artifact(number, str(folder / file))
        status = "FINISHED"
    finally:
        client.set_terminated(number, status)


def _send_to_wandb(project: str, summary: Summary, experiment: Experiment, folder: Path) -> None:
    """Write one run to a project of Weights & Biases."""
    import wandb

    tree = {**to_plain(experiment), "environment": _tags(summary)}
    with wandb.init(project=project, name=_run_name(summary), config=tree) as run:
        run.summary.update(numbers(summary))
        for file in FILES:
            run.save(str(folder / file), base_path=str(folder), policy="now")


def _batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield the items in order, at most `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


_SEND = {"mlflow": _send_to_mlflow, "wandb": _send_to_wandb}
