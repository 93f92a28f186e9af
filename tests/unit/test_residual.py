from typing import Any

import numpy as np
import pytest
from reference.streaming import stream

from rum_ray import config
from rum_ray.data import load
from rum_ray.evaluation.residual import representation_residual
from rum_ray.scores.entanglement import Moments
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.residuals import residual_jobs, residuals
from rum_ray.study.study import Study
from rum_ray.study.summary import row_entries
from rum_ray.study.table import table
from rum_ray.work import Context


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
        with pytest.raises(ValueError, match="a residual needs two sets, and a retain set with"):
            representation_residual(pair(retain, subset), pair(RETAIN, SUBSET))


FILE: dict[str, Any] = {
    "name": "x",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 1},
    "score": {"name": "confidence"},
    "forget": {"size": 60},
    "refine": {"name": "by_score", "into": ["a", "b"]},
    "plan": {"a": "finetune", "b": {"name": "finetune", "lr": 0.1}},
    "compare": [{"name": "finetune", "epochs": 1}],
    "evaluate": {"residual": True},
    "seeds": [0, 1, 2],
}


def test_every_model_that_is_kept_has_residuals_in_the_report(tmp_path):
    study = Study(config.parse(FILE), Context(load("digits"), Store(tmp_path)))
    for job in study.first_jobs:
        study.context.make(job)
    rows = table(study)
    for row in rows:
        for job in row.jobs:
            study.context.make(job)
    stream(study.context, study.moments)
    needed = residual_jobs(study, rows)
    clouds = stream(study.context, needed)
    assert len(needed) == 4 * 3
    kept = np.setdiff1d(np.arange(1200), study.forget)
    places = {"forget": study.forget, **{s.name: s.rows for s in study.partition}}
    entries = {row["method"]: row["metrics"] for row in row_entries(study, rows)}
    methods = [row.method for row in rows if row.method in ("rum", *entries) and row.jobs[0].keep]
    assert methods == ["rum"]
    for start, method in enumerate(["retrained", "retrained_again", "original", "rum"]):
        for name, place in places.items():
            literal = [
                representation_residual(*(pair(c[kept], c[place]) for c in (ours, theirs)))
                for ours, theirs in zip(clouds[3 * start : 3 * start + 3], clouds[:3], strict=True)
            ]
            found = entries[method][f"residual_{name}"]
            assert found["values"] == pytest.approx(literal, rel=1e-9, abs=1e-12)
            assert (max(literal) > 1e-3) == (method != "retrained")
    for method in ("vanilla", "shuffle", "rum_f"):
        unknown = entries[method]["residual_forget"]
        assert (unknown["mean"], unknown["reason"]) == (None, "its weights are not kept")


def test_residuals_are_measured_only_where_they_are_asked_for(tmp_path):
    study = Study(
        config.parse(FILE, ["evaluate.residual=false"]), Context(load("digits"), Store(tmp_path))
    )
    assert residual_jobs(study, []) == []
    assert residuals(study, None, None) == {}
