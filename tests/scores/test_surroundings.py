import numpy as np

from rum_ray.scores import surroundings
from rum_ray.scores.surroundings import NEIGHBOURS, label_disagreement
from rum_ray.seeding import Seed


def test_it_is_the_share_of_the_nearest_with_another_label(monkeypatch):
    monkeypatch.setattr(surroundings, "BLOCK", 7)
    seed = Seed(0) / "around"
    features = (seed / "x").normal(300 * 4).reshape(300, 4).astype(np.float32)
    labels = (seed / "y").integers(300, 3)
    queries = (seed / "q").normal(25 * 4).reshape(25, 4).astype(np.float32)
    asked = (seed / "a").integers(25, 3)
    found = label_disagreement(features, labels, queries, asked)
    for row in range(25):
        away = np.square(features - queries[row]).sum(axis=1)
        near = np.argsort(away)[:NEIGHBOURS]
        assert found[row] == (labels[near] != asked[row]).mean()


def test_few_examples_are_all_neighbours():
    x, y = np.zeros((3, 2), np.float32), np.array([0, 0, 1])
    assert label_disagreement(x, y, x[:1], np.array([1]))[0] == 2 / 3
