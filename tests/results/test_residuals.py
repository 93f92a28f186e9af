import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from reference.finished import finish
from reference.streaming import embeddings

from rum_ray import config
from rum_ray.data import load
from rum_ray.evaluation.residual import representation_residual
from rum_ray.jobs import Context, UnlearnedModel
from rum_ray.results.load import load_methods, load_outcome
from rum_ray.results.rows import row_summaries
from rum_ray.results.schema import Row
from rum_ray.results.summary import summarize
from rum_ray.scores.entanglement import Moments
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.forecast import forecast
from rum_ray.study.methods import method_rows, residual_jobs
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock


def cloud(name: str, count: int, shift: float = 0.0) -> np.ndarray:
    return (Seed(0) / name).normal(count * 4).reshape(count, 4) + shift


RETAIN, SUBSET = cloud("retain", 50), cloud("subset", 20, 0.7)


def pair(retain, subset):
    return Moments.of(retain), Moments.of(subset)


def test_the_residual_is_its_formula():
    others = cloud("other retain", 50), 2 * cloud("other subset", 20)
    places = []
    for retain, subset in ((RETAIN, SUBSET), others):
        sigma = np.sqrt(np.mean([np.linalg.norm(p - retain.mean(0)) ** 2 for p in retain]))
        width = np.sqrt(np.mean([np.linalg.norm(p - subset.mean(0)) ** 2 for p in subset]))
        places.append([np.linalg.norm(subset.mean(0) - retain.mean(0)) / sigma, width / sigma])
    expected = np.hypot(*np.subtract(*places))
    found = representation_residual(pair(RETAIN, SUBSET), pair(*others))
    assert found == pytest.approx(expected, rel=1e-12)
    assert found == representation_residual(pair(*others), pair(RETAIN, SUBSET)) > 0.5


def test_moving_turning_and_scaling_a_model_leaves_nothing():
    turn = np.linalg.qr((Seed(0) / "turn").normal(16).reshape(4, 4))[0]
    moved = [3.7 * points @ turn - 11 for points in (RETAIN, SUBSET)]
    residual = representation_residual(pair(RETAIN, SUBSET), pair(*moved))
    assert residual == pytest.approx(0, abs=1e-12)


def test_a_width_of_its_own_does_not_matter():
    wider = [np.hstack([points, np.zeros((len(points), 3))]) for points in (RETAIN, SUBSET)]
    residual = representation_residual(pair(RETAIN, SUBSET), pair(*wider))
    assert residual == pytest.approx(0, abs=1e-12)


def test_it_grows_with_the_shift_and_with_the_spread():
    shifts = [
        representation_residual(pair(RETAIN, SUBSET), pair(RETAIN, SUBSET + x)) for x in range(4)
    ]
    assert shifts == sorted(shifts)
    centre = SUBSET.mean(axis=0)
    wide = [pair(RETAIN, centre + x * (SUBSET - centre)) for x in (1, 2, 3)]
    spreads = [representation_residual(pair(RETAIN, SUBSET), other) for other in wide]
    assert spreads[0] == pytest.approx(0, abs=1e-12)
    assert spreads[2] == pytest.approx(2 * spreads[1])


def test_errors():
    for retain, subset in ((RETAIN[:0], SUBSET), (RETAIN, SUBSET[:0]), (RETAIN[:1], SUBSET)):
        with pytest.raises(ValueError, match=r"^a residual "):
            representation_residual(pair(retain, subset), pair(RETAIN, SUBSET))


FILE: dict[str, Any] = {
    "name": "x",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 3},
    "score": {"name": "confidence"},
    "forget": {"size": 60},
    "refine": {"name": "by_score", "into": ["a", "b"]},
    "plan": {"a": "finetune", "b": {"name": "finetune", "lr": 0.1}},
    "evaluate": {"residual": True},
    "seeds": [0, 1, 2],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    """Models that several studies share are trained once."""
    return Store(tmp_path_factory.mktemp("store"))


@pytest.fixture
def evaluated(store):
    """A function that runs a study in this process."""

    def make(*overrides: str, store: Store = store) -> tuple[Study, Clock]:
        context = Context(load("digits"), store)
        study = Study(config.parse(FILE, overrides), context)
        return study, finish(study)

    return make


def rows_of(study: Study) -> tuple[Row, ...]:
    """The rows of a study without a search."""
    return row_summaries(load_methods(study, method_rows(study)))


def test_every_model_that_is_kept_has_residuals_in_the_report(evaluated):
    study, clock = evaluated()
    rows = method_rows(study)
    stage = clock.stages["residuals"]
    assert (stage.made + stage.reused, len(study.moments)) == (4 * 3, 3)
    kept = np.setdiff1d(np.arange(1200), study.forget)
    places = {"forget": study.forget, **{s.name: s.rows for s in study.partition}}
    entries = {row.method: row.metrics for row in rows_of(study)}
    models = {
        "retrained": study.retrained,
        "retrained_again": study.retrained_again,
        "original": study.originals,
        "retrained_reordered": study.retrained_reordered,
        "rum": [UnlearnedModel(job) for job in rows[-1].jobs],
    }
    clouds = {
        method: [embeddings(study.context, model) for model in group]
        for method, group in models.items()
    }
    for method, name in itertools.product(models, places):
        literal = [
            representation_residual(*(pair(c[kept], c[places[name]]) for c in (ours, theirs)))
            for ours, theirs in zip(clouds[method], clouds["retrained"], strict=True)
        ]
        found = entries[method][f"residual_{name}"]
        assert found.values == pytest.approx(literal, rel=1e-9, abs=1e-12)
        assert (max(literal) > 1e-3) == (method != "retrained")


def test_residuals_are_streamed_once_and_counted(evaluated, tmp_path):
    for made in (12, 0):
        study, clock = evaluated(store=Store(tmp_path))
        stage = clock.stages["residuals"]
        assert (stage.made, stage.reused) == (made, 12 - made)
    plain, _ = evaluated("evaluate.residual=false")
    rows, without = method_rows(study), method_rows(plain)
    assert (len(residual_jobs(study, rows)), residual_jobs(plain, without)) == (12, [])
    assert not any("residual_forget" in row.metrics for row in rows_of(plain))
    spent = [summarize(load_outcome(s)).costs.attacks for s in (study, plain)]
    assert spent[0] - spent[1] == pytest.approx(12 / 3 / 3)
    ahead = {stage.stage: stage for stage in forecast(study)}
    assert (ahead["residuals"].total, ahead["residuals"].missing) == (12, 0)


def test_the_layer_that_embeds_is_the_experiment_s(evaluated):
    study, _ = evaluated("embedding=features.1")
    layers = {job.embedding for job in residual_jobs(study, method_rows(study))}
    assert layers == {"features.1"}


def test_a_model_whose_weights_are_not_kept_has_none(evaluated):
    study, _ = evaluated()
    rows = method_rows(study)
    jobs = tuple(dataclasses.replace(job, keep=False) for job in rows[-1].jobs)
    for job in jobs:
        study.context.get_or_compute(job)
    rows[-1] = dataclasses.replace(rows[-1], jobs=jobs)
    metrics = row_summaries(load_methods(study, rows))[-1].metrics
    for name in ("residual_forget", "residual_a", "residual_b"):
        assert metrics[name].mean is None
        assert metrics[name].reason == "its weights are not kept"


def test_a_model_that_has_collapsed_has_none(evaluated):
    collapse = "{name: finetune, lr: 0.1, weight_decay: 10, epochs: 20}"
    study, _ = evaluated(f"plan={{a: {collapse}, b: {collapse}}}", "seeds=[0]")
    metrics = rows_of(study)[-1].metrics
    assert metrics["residual_a"].reason == "a model embeds the retain set at one point"
    assert metrics["tow"].mean < 0.5
