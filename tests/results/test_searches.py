"""Searches in the report: the ladder, references and the expected best."""

from dataclasses import replace

import numpy as np
import pytest

from rum_ray.experiment import SearchConfig
from rum_ray.results.claims import PRIMARY, Deciding
from rum_ray.results.outcome import SearchOutcome, Trial
from rum_ray.results.schema import Metric, Pick, Row
from rum_ray.results.searches import drawn, ladder, reference_summaries, search_summaries


def row(method: str, values: list[float], source: str = "search") -> Row:
    metric = Metric(float(np.mean(values)), None, tuple(values))
    metrics = dict.fromkeys((*PRIMARY, "objective", "tow", "cost"), metric)
    metrics["js_forget"] = Metric(0.1, None, tuple(1 - value for value in values))
    return Row(method, None, source, 3, (), (0, 1, 2, 3), metrics, {})


def search(name: str, method: str) -> SearchOutcome:
    trial = Trial(
        *(False, False, "complete", 0.5, 0.6, 0.1, 0.2, None, 0.2, (0.5,), {}, (), 1.0, 3, 0)
    )
    pick, space = Pick((), 0.5, 0.4, 0.2), name.split()[0]
    return SearchOutcome(
        *(name, method, "rum", space, SearchConfig(), 0.5, 0, (trial,), 0, pick, ()),
        spent=4.0,
        whole=7.0,
        cost=5.0,
    )


ROWS = [
    row("best_single", [0.5, 0.6, 0.55, 0.52]),
    row("refined", [0.6, 0.7, 0.66, 0.61]),
    row("shuffled", [0.61, 0.69, 0.67, 0.6]),
    row("rum", [0.7, 0.8, 0.75, 0.71]),
    row("rum", [0.69, 0.785, 0.735, 0.69], "surrogate"),
    row("rum", [0.6, 0.5, 0.6, 0.7], "pool"),
    row("rum", [0.2, 0.2, 0.2, 0.2], "file"),
]
RULE = Deciding("objective_auc")
SEARCHES = [
    search("V0", "best_single"),
    search("V1", "refined"),
    search("V4", "rum"),
    search("V4 surrogate", "rum"),
]


def test_the_ladder_compares_each_rung_with_the_one_before():
    found = ladder(SEARCHES, ROWS, RULE)
    assert [(rung.space, rung.method) for rung in found.rungs] == [
        ("V0", "best_single"),
        ("V1", "refined"),
        ("V4", "rum"),
        ("shuffle", "shuffled"),
    ]
    claims = {(claim.a, claim.b): claim for claim in found.claims}
    assert [*claims] == [("V1", "V0"), ("V4", "V1"), ("V1", "shuffle"), ("V4", "V0")]
    assert claims["V1", "V0"].mean == pytest.approx(0.1)
    assert claims["V1", "V0"].shown
    assert not claims["V1", "shuffle"].shown
    assert all(claim.p_holm >= claim.p for claim in claims.values())
    assert ladder(SEARCHES[2:], ROWS, RULE) is None


def test_regret_is_the_lead_of_the_oracles_plan():
    trainings = {"oracle": 3, "surrogate": 3, "pool": 0}
    oracle, surrogate, pool = reference_summaries(trainings, ROWS, RULE)
    assert (oracle.reference, oracle.main, oracle.regret) == ("oracle", True, None)
    assert surrogate.regret.mean == pytest.approx(0.015)
    assert surrogate.regret.low > 0
    assert pool.regret.mean == pytest.approx(0.14)
    assert pool.regret.low < 0 < pool.regret.high
    assert [known.trainings for known in (oracle, surrogate, pool)] == [3, 3, 0]
    assert reference_summaries({"oracle": 3}, ROWS, RULE) == ()


def test_the_expected_best_is_of_plans_that_were_drawn_and_may_be_picked():
    (trial,) = SEARCHES[0].trials
    known = ((True, 0.9, 0.1), (False, 0.8, 0.3), (False, 0.6, 0.2))
    trials = [replace(trial, start=s, objective=j, cost=c) for s, j, c in known]
    assert drawn(trials, cost_limit=0.2) == [-1.0, 0.6]
    assert drawn(trials, cost_limit=0.3) == [0.8, 0.6]
    assert drawn(trials[:1], cost_limit=0.3) == []


def test_the_front_has_no_trial_that_a_cheaper_one_matches():
    (trial,) = SEARCHES[0].trials
    known = (("complete", 0.6, 0.2), ("diverged", -1.0, 0.1), ("complete", 0.6, 0.3))
    known += (("complete", 0.7, 0.4),)
    trials = tuple(replace(trial, status=s, objective=j, cost=c) for s, j, c in known)
    (summary,) = search_summaries([replace(SEARCHES[0], trials=trials)], [])
    assert [(point.trial, point.objective) for point in summary.front] == [(0, 0.6), (3, 0.7)]
    assert (summary.complete, summary.diverged, summary.seconds) == (3, 1, None)
