"""Forecasts: schedules by brute force, rehearsed jobs, calibration, and bytes that were written."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray import config
from rum_ray.errors import ConfigError
from rum_ray.jobs import Context
from rum_ray.store import Store
from rum_ray.study import bounds, validation
from rum_ray.study import forecast as forecasts
from rum_ray.study.calibration import Calibration, Speed, calibrate
from rum_ray.study.estimate import DEVICES, estimate
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.forecast import STAGE_SECONDS, START_SECONDS, Work, counted, expect, timed
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.progress import LoggedProgress
from rum_ray.study.resources import store_bytes
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock

FILE = {
    "name": "small",
    "data": {"name": "digits"},
    "recipe": {"model": "mlp", "epochs": 2, "lr": 0.05},
    "score": {"name": "memorization", "models": 16, "fraction": 0.5},
    "forget": {"size": 30},
    "plan": {"low": "nothing", "medium": "nothing", "high": {"name": "finetune", "epochs": 1}},
    "search": {"trials": 6, "spaces": ["V0", "V4"], "finalists": 2, "fresh": 2, "rows": 2},
    "compare": ["finetune"],
    "seeds": [0, 1],
}


@pytest.fixture
def quick(monkeypatch):
    """Two epochs leave the retrained models too different for a search."""
    monkeypatch.setattr(validation, "LARGEST_FLOOR", 1.0)


def study(folder, *overrides) -> Study:
    experiment = config.parse(FILE, overrides)
    return Study(experiment, Context(experiment.load_data(), Store(folder)))


def rates(ours: Study, **changes: float) -> Calibration:
    """Rates of a machine that takes 1 s per 1,000 examples, and nothing for anything else."""
    speed = Speed(0.0, 0.001, 0.0, 340_008, 2304.0, 1024.0, 256)
    return Calibration("cpu", {ours.recipe: dataclasses.replace(speed, **changes)})


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 9))
def test_a_stage_takes_as_long_as_its_busiest_worker(seconds, workers):
    ends = [0.0] * workers
    for each in seconds:
        ends[ends.index(min(ends))] += each
    assert Work(seconds).wall(workers) == max(ends)
    least = max([*seconds, sum(seconds) / workers])
    assert least <= Work(seconds).wall(workers) <= sum(seconds) / workers + max(seconds, default=0)


@given(st.integers(1, 40), st.integers(1, 9))
def test_equal_jobs_run_in_rounds(count, workers):
    assert Work([2.0] * count).wall(workers) == 2.0 * math.ceil(count / workers)


def test_trainings_take_their_examples(tmp_path):
    ours = study(tmp_path)
    train, *others = timed(ours, counted(ours, "run"), rates(ours))
    # Two originals, three of the search, two fresh ones; 16 models on half of 1,200 examples.
    assert sum(train.work.seconds) == pytest.approx(2 * 1.2 * (2 + 3 + 2 + 16 / 2))
    assert train.work.serial == START_SECONDS + STAGE_SECONDS["jobs"]
    assert [other.work.serial for other in others] == [STAGE_SECONDS[o.kind] for o in others]
    (retrain,) = (line for line in others if line.stage == "retrain")
    assert sum(retrain.work.seconds) == pytest.approx(2 * 1.17 * (2 + 2 + 2 + 3))


def test_steps_count_besides_examples(tmp_path):
    ours = study(tmp_path)
    slow = rates(ours, step=1.0, example=0.0)
    train = timed(ours, counted(ours, "train"), slow)[0]
    batches = math.ceil(1200 / 256), math.ceil(600 / 256)
    assert sum(train.work.seconds) == 2 * (7 * batches[0] + 16 * batches[1])


def test_a_rehearsal_knows_the_jobs_of_every_stage(tmp_path, quick):
    ours = study(tmp_path)
    lines = counted(ours, "run")
    assert all(line.jobs for line in lines)
    before = {line.stage: len(line.jobs) for line in lines}
    Pipeline(ours, LocalExecutor(), LoggedProgress(), Clock()).run("run")
    fresh = study(tmp_path)
    after = {line.stage: line.total for line in counted(fresh, "run")}
    for stage in ("train", "embed", "retrain"):
        assert before[stage] == after[stage]
    # Equal plans share results, and which are equal depends on the search.
    assert after["rows"] <= before["rows"] + 4
    # Nothing is missing, so nothing is measured and nothing takes time.
    assert all(line.work.wall(1) == 0.0 for line in forecasts.forecast(fresh, "run"))


def test_the_bytes_of_the_store_are_those_that_are_written(tmp_path, quick):
    ours = study(tmp_path)
    ahead = store_bytes(ours, counted(ours, "run"), rates(ours))
    Pipeline(ours, LocalExecutor(), LoggedProgress(), Clock()).run("run")
    written = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written == pytest.approx(ahead, rel=0.1)


def test_a_calibration_measures_every_rate(tmp_path):
    ours = study(tmp_path)
    found = calibrate(ours, 4.0)
    (speed,) = found.models.values()
    assert min(speed.example, speed.forward, found.two_sample) > 0
    # 85,002 parameters of 4 bytes; 64 pixels and twice 256 units, before and after ReLU.
    assert (speed.weights, speed.features) == (4 * 85_002, 256)
    assert speed.kept == pytest.approx(4 * (64 + 2 * 256 + 10), rel=0.1)
    assert found.evaluation.keys() == {"test", "valid"}
    assert {kind.name for kind in found.unlearners} >= {"finetune"}
    assert calibrate(ours, 0.0).evaluation == {}
    assert not any(tmp_path.iterdir())


def test_an_estimate_of_more_devices(tmp_path):
    ours = study(tmp_path, "cluster.workers=1")
    found = estimate(ours, price=2.0)
    assert [line.devices for line in found.devices] == [*DEVICES]
    for one, more in itertools.pairwise(found.devices):
        assert more.seconds <= one.seconds
        assert more.busy <= one.busy
    for line in found.devices:
        assert line.workers == line.devices
        assert line.price == pytest.approx(2.0 * line.device_hours)
        assert line.busy * line.device_hours == pytest.approx(found.device_hours)
    assert found.forecast[0]["seconds"] > START_SECONDS
    assert found.worker_bytes < 10**9
    with pytest.raises(ConfigError, match="--price"):
        estimate(ours, price=-1.0)


@pytest.mark.parametrize(("change", "picks"), [("search=null", 0), ("repeats=1", 2)])
def test_the_rows_are_bounded_with_and_without_a_search(tmp_path, change, picks):
    (found,) = bounds.rows(study(tmp_path, change))
    # The plan of the file, three rows of `compare`, picks, and four rows without a plan.
    assert found.jobs == 2 * (1 + 3 + picks + 4)


@pytest.mark.parametrize(("workers", "share", "devices"), [(3, 0, 3), (8, 0.25, 2), (5, 0.5, 3)])
def test_an_estimate_has_a_line_for_the_workers_of_the_file(tmp_path, workers, share, devices):
    ours = study(tmp_path, f"cluster={{workers: {workers}, gpus_per_worker: {share}}}")
    found = estimate(ours, price=2.0, measure=rates)
    assert [line.devices for line in found.devices] == sorted({*DEVICES, devices})
    (own,) = (line for line in found.devices if line.devices == devices)
    assert own.workers >= workers
    if own.workers == workers:
        assert own.seconds == pytest.approx(sum(each["seconds"] for each in found.forecast))


def test_a_command_keeps_the_forecast_of_its_first_start(tmp_path, monkeypatch):
    ours, path = study(tmp_path / "store"), tmp_path / "stages.json"
    measured = []

    def fast(of: Study, budget: float = 1.0) -> Calibration:
        measured.append(budget)
        return rates(of)

    monkeypatch.setattr(forecasts, "calibrate", fast)
    monkeypatch.setattr(forecasts, "LEAST_SECONDS", 1e9)
    expect(ours, "run", Clock(path))
    assert (measured, path.exists()) == ([0.0], False)
    monkeypatch.setattr(forecasts, "LEAST_SECONDS", 0.0)
    expect(ours, "train", Clock(path))
    assert 0 < measured[-1] < 4.0
    first = Clock(path).stages
    assert list(first) == ["train", "retrain"]
    assert first["train"].forecast.jobs == 7 + 16
    assert first["train"].forecast.seconds > START_SECONDS
    with Clock(path).stage("train") as stage:
        stage.made = 1
    monkeypatch.setattr(forecasts, "calibrate", lambda of, budget: rates(of, example=1.0))
    expect(ours, "train", Clock(path))
    again = Clock(path).stages
    assert again["train"].forecast == first["train"].forecast
    assert again["retrain"].forecast.seconds > first["retrain"].forecast.seconds
