"""The attack on real data: a model that never saw the rows is at chance, one that did is not."""

import numpy as np
import pytest

from rum_ray.data import load
from rum_ray.data.bundle import complement
from rum_ray.deletion.jobs import difficulty_around, predictions
from rum_ray.deletion.measure import Predictions
from rum_ray.evaluation.peers import auc_interval, peer_scores
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

RECIPE = Recipe("mlp", epochs=60, batch_size=64)


def area(rows, kept, matched: bool) -> float:
    """The AUC of rows to forget, under a model trained on the kept rows."""
    data = load("digits")
    model = RECIPE.fit(data.train, LocalRuntime(Seed(0) / "run"), rows=kept)
    arrays, features = predictions(model, data, embeds=True)
    found = Predictions.of({**arrays, **difficulty_around(data, rows, features)})
    logits = found.logits["train"][rows], found.logits["test"]
    labels = data.train.y.numpy()[rows], data.nonmembers("test").y.numpy()
    return auc_interval(*peer_scores(logits, labels, found.around if matched else None))[0]


@pytest.mark.parametrize("kind", ["wrong labels", "mixed"])
def test_a_retrained_model_is_near_chance_and_the_original_is_not(kind):
    wrong = np.flatnonzero(load("digits").flipped)
    rows = wrong[:60] if kind == "wrong labels" else np.unique([*wrong[:30], *range(60)])
    retrained = area(rows, complement(rows, 1200), matched=True)
    original = area(rows, None, matched=True)
    assert abs(retrained - 0.5) < 0.1
    assert original > retrained + 0.15
    # By class alone, hard rows look forgotten even to a model that never saw them.
    assert area(rows, complement(rows, 1200), matched=False) < 0.35
