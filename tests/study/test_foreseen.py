"""The shifts of subsets in a study: predicted where an unlearner needs them, and in its keys."""

import dataclasses

import numpy as np
import pytest

from rum_ray.digest import digest
from rum_ray.errors import ConfigError
from rum_ray.experiment import (
    DataConfig,
    EvaluateConfig,
    Experiment,
    ForgetConfig,
    ScoreConfig,
    SearchConfig,
)
from rum_ray.jobs import Context
from rum_ray.jobs.prefix import PlanPrefix
from rum_ray.jobs.train import unpack
from rum_ray.partition import Partition, Subset, regroup, whole
from rum_ray.rum import Plan, unlearn
from rum_ray.search.candidates import Candidate
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.methods import method_rows
from rum_ray.study.rehearsal import rehearse
from rum_ray.study.study import Study
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import DatamodelMatching, FineTune
from rum_ray.unlearning.datamodel import predicted_shifts, recorded_outputs

MATCHING = DatamodelMatching(epochs=1, lr=1e-4)


def experiment(**changes) -> Experiment:
    parts = {
        "name": "foreseen",
        "data": DataConfig("digits"),
        "recipe": Recipe("mlp", epochs=3, lr=0.1, batch_size=32),
        "score": ScoreConfig(models=16, fraction=0.6, confidences=True),
        "forget": ForgetConfig(size=32),
    }
    return Experiment(**{**parts, **changes})


@pytest.fixture(scope="module")
def study(bundle, tmp_path_factory) -> Study:
    """A study of the unlearner whose first stage is finished."""
    context = Context(bundle, Store(tmp_path_factory.mktemp("store")))
    study = Study(experiment(compare=(MATCHING,)), context)
    for job in study.first_jobs:
        context.get_or_compute(job)
    return study


def records(study):
    total, found = len(study.context.bundle.train), []
    for job in study.scoring.pool:
        arrays = study.context.load(job).arrays
        found.append((unpack(arrays["included"], total), recorded_outputs(arrays["confidences"])))
    included, outputs = zip(*found, strict=True)
    return np.stack(included), np.stack(outputs)


def test_subsets_have_the_shifts_of_the_pool(study):
    for partition in (study.partition, study.shuffled):
        rows = [subset.rows for subset in partition]
        expected = predicted_shifts(*records(study), rows)
        found = [subset.shift for subset in partition]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    forgotten = whole(study.partition).subsets[0]
    assert forgotten.shift.dtype == np.float32
    assert forgotten.shift[forgotten.rows].mean() < 0


def test_other_studies_have_none(study):
    other = Study(experiment(compare=(FineTune(),)), study.context)
    assert all(subset.shift is None for subset in other.partition)
    assert other.partition == study.partition


def test_the_rows_of_the_report_run(study):
    rows = [row for row in method_rows(study) if row.unlearner == MATCHING.name]
    assert {row.method for row in rows} == {"vanilla", "shuffle", "rum_f"}
    for row in rows:
        for job in row.jobs:
            study.context.get_or_compute(job)
            assert job.load(study.context).accuracies.retain > 0.5


def test_a_step_gets_the_shifts_of_its_rows(study):
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Watching(FineTune):
        def __call__(self, model, task, runtime):
            seen.append(task)
            return model

    plan = Plan.assign(study.partition, dict.fromkeys(study.partition.names, Watching()))
    train, model = study.context.bundle.train, study.originals[0].load(study.context)
    unlearn(model, plan, train, LocalRuntime(Seed(0)))
    for subset, task in zip(study.partition, seen, strict=True):
        places = np.searchsorted(train.ids, np.concatenate([task.forget.ids, task.retain.ids]))
        np.testing.assert_array_equal(task.shift, subset.shift[places])


def test_a_rehearsal_needs_no_pool(study, bundle, tmp_path):
    fresh = Study(study.experiment, Context(bundle, Store(tmp_path)))
    rehearsed = rehearse(fresh, scored=False)
    assert rehearsed is not None
    assert all(np.isfinite(subset.shift).all() for subset in rehearsed.partition)


def test_shifts_are_in_keys_only_if_there_are_any(study):
    rows = np.array([1, 2])
    without, shift = Subset("all", rows), np.zeros(160, np.float32)
    known = Subset("all", rows, shift)
    assert without == known
    assert len({digest(without), digest(known), digest(Subset("all", rows, shift + 1))}) == 3
    keys = [
        PlanPrefix(study.originals[0], Plan.assign(Partition((s,)), {"all": MATCHING}), 1).key(
            study.context
        )
        for s in (without, known)
    ]
    assert keys[0].digest != keys[1].digest


def test_shifts_of_joined_subsets_add_up():
    one, two = Subset("a", [0], np.array([1.0, 2, 3])), Subset("b", [2], np.array([4.0, 5, 6]))
    for joined in (whole(Partition((one, two))), regroup(Partition((one, two)), ["a+b"])):
        np.testing.assert_array_equal(joined.subsets[0].shift, [5, 7, 9])
    assert whole(Partition((one, Subset("b", [2])))).subsets[0].shift is None


POOL = ScoreConfig(models=16, confidences=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": ScoreConfig(models=16)}, "datamodel_matching requires the confidences"),
        ({"score": ScoreConfig("confidence")}, "datamodel_matching requires the leave-k-out pool"),
        ({"evaluate": EvaluateConfig(also=("u_lira",))}, "^evaluate.also: u_lira"),
    ],
)
@pytest.mark.parametrize(
    "asking",
    [
        {"plan": dict.fromkeys(("low", "medium", "high"), MATCHING)},
        {"search": SearchConfig(unlearners=(Candidate("datamodel_matching"),))},
        {"search": SearchConfig(steps={"low": MATCHING})},
    ],
)
def test_what_is_missing_is_told_before_any_work(asking, changes, message):
    with pytest.raises(ConfigError, match=message):
        experiment(**asking, **changes)
