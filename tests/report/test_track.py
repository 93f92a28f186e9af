"""Tracking: a report in a real MLflow on this machine, and the form of `--track`."""

import math
import sys

import pytest

import rum_ray
from rum_ray import config
from rum_ray.errors import ConfigError
from rum_ray.report.files import write
from rum_ray.report.gallery import Gallery
from rum_ray.report.track import FILES, Tracker, numbers, settings

from .shapes import SHAPES, demo, simple

EXPERIMENT = config.load(rum_ray.__path__[0] + "/demo.yaml")
# Warnings of MLflow and SQLAlchemy about each other.
quiet = pytest.mark.filterwarnings("ignore::Warning")


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client of a new MLflow with a database."""
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("mlflow", reason="no MLflow: pip install mlflow-skinny sqlalchemy alembic")
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")


@quiet
def test_a_report_is_one_run_of_mlflow(client, tmp_path):
    report, out = simple(), tmp_path / "out"
    write(out, report, Gallery())
    tracker = Tracker.parse(f"mlflow:sqlite:///{tmp_path}/mlflow.db")
    assert tracker.send(report.summary, EXPERIMENT, out) is None
    place = client.get_experiment_by_name(report.summary.experiment.name)
    (run,) = client.search_runs([place.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics == numbers(report.summary)
    assert run.data.params == settings(EXPERIMENT)
    assert run.data.tags["digest"] == report.summary.experiment.digest
    assert run.data.tags["torch"] == report.summary.environment.torch
    assert sorted(file.path for file in client.list_artifacts(run.info.run_id)) == sorted(FILES)
    # Another report of the same experiment is another run.
    assert tracker.send(report.summary, EXPERIMENT, out) is None
    assert len(client.search_runs([place.experiment_id])) == 2


@quiet
def test_a_run_that_cannot_be_finished_is_marked_as_failed(client, tmp_path):
    report = simple()
    tracker = Tracker.parse(f"mlflow:sqlite:///{tmp_path}/mlflow.db")
    warning = tracker.send(report.summary, EXPERIMENT, tmp_path / "nowhere")
    assert warning.startswith("warning: --track mlflow failed")
    assert "\n" not in warning
    place = client.get_experiment_by_name(report.summary.experiment.name)
    (run,) = client.search_runs([place.experiment_id])
    assert run.info.status == "FAILED"


@quiet
@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "nosuch://place", "/file/in/the/way"])
def test_a_server_that_does_not_answer_is_a_warning(client, tmp_path, monkeypatch, uri):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warning = Tracker.parse(f"mlflow:{uri}").send(simple().summary, EXPERIMENT, tmp_path)
    assert warning.startswith("warning: --track mlflow failed")
    assert "\n" not in warning


@pytest.mark.parametrize("text", ["", "mlflow", "mlflow:", "mlflow: ", "tensorboard:x", ":x"])
def test_a_wrong_form_is_an_error(text):
    with pytest.raises(ConfigError, match="mlflow:URI"):
        Tracker.parse(text)


def test_a_missing_package_is_an_error_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match="pip install mlflow") as raised:
        Tracker.parse("mlflow:http://user:secret@host")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("shape", SHAPES)
def test_numbers_are_finite_and_have_names_that_mlflow_allows(shape):
    found = numbers(SHAPES[shape]().summary)
    assert found
    assert all(math.isfinite(value) for value in found.values())
    assert not [name for name in found if not name.isascii() or set(name) & set("+^#,:=\\")]


def test_every_row_has_its_numbers():
    summary = demo().summary
    found = numbers(summary)
    for row in summary.rows:
        name = "/".join(filter(None, (row.method, row.unlearner, row.source))).replace("+", "_")
        for metric, value in row.metrics.items():
            assert found.get(f"{name}/{metric}") == value.mean
            assert found.get(f"{name}/{metric}_ci95") == value.ci95
    assert found["costs/scores"] == summary.costs.scores
    assert found["scores/models"] == summary.scores.models


def test_settings_are_the_values_of_the_file():
    found = settings(EXPERIMENT)
    assert found["recipe.model"] == "mlp"
    assert found["plan.high.name"] == "salun"
    assert found["score.models"] == "128"
    assert "None" not in found.values()
