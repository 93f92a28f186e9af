"""Attacks of a user, one of each kind of evidence; experiments name them `results.plugged...`."""

import numpy as np

from rum_ray import Attack, AttackResult


def _certainty(targets, nonmembers):
    return float(targets[0].max(axis=1).mean() - nonmembers[0].max(axis=1).mean())


def _nearest(members, nonmembers, targets):
    inside, outside, asked = (p.max(axis=1).mean() for p, _ in (members, nonmembers, targets))
    return float(abs(asked - outside) / (abs(asked - inside) + abs(asked - outside)))


def _above_pool(targets, nonmembers):
    scores = (e.logits - e.pool.mean(axis=0) for e in (targets, nonmembers))
    return AttackResult.of(*scores)


def _above_shadows(unlearned, retrained, shadows, forgotten):
    assert shadows.shape == forgotten.shape
    return AttackResult.of(unlearned - shadows.mean(axis=0), retrained - shadows.mean(axis=0))


def _above_trained(unlearned, retrained, shadows, forgotten, trained):
    assert shadows.shape == forgotten.shape == trained.shape
    return AttackResult.of(unlearned - trained.mean(axis=0), retrained - trained.mean(axis=0))


def _way_back(unlearned, original, shadows):
    assert shadows.shape[1:] == unlearned.shape == original.shape
    return float((original - unlearned).mean() / (original - shadows.mean(axis=0)).mean())


def _apart(unlearned, retrained):
    assert unlearned.shape == retrained.shape
    return float(np.abs(unlearned.mean(axis=0) - retrained.mean(axis=0)).mean())


def _nothing(targets, nonmembers):
    return float("nan")


certainty = Attack("certainty", "certainty", "nonmembers", _certainty)
nearest = Attack("nearest", "nearest set", "members", _nearest)
above_pool = Attack("above_pool", "above the pool", "pool", _above_pool)
above_shadows = Attack("above_shadows", "above the shadows", "shadows", _above_shadows)
above_trained = Attack("above_trained", "above both", "trained_shadows", _above_trained)
way_back = Attack("way_back", "way back", "original", _way_back)
apart = Attack("apart", "apart", "seeds", _apart, seeds=2)
nothing = Attack("nothing", "no number", "nonmembers", _nothing)
wrong_answer = Attack("wrong_answer", "of another kind", "pool", lambda *_: np.float64(0.5))
no_number = Attack("no_number", "of another kind", "seeds", lambda *_: np.zeros(3))
not_finite = Attack("not_finite", "no number", "seeds", lambda *_: float("inf"))
metric_name = Attack("tow", "name of a metric", "nonmembers", _certainty)
gap_name = Attack("relearned", "its gap has the name of a metric", "nonmembers", _certainty)
late_name = Attack("excess", "name of a metric of rows", "nonmembers", _certainty)
subset_name = Attack("js_low", "name of a metric of a subset", "nonmembers", _certainty)
threshold = Attack("threshold", "a name of the package", "nonmembers", _certainty)
not_an_attack = _certainty
