import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rum_ray.errors import DataError
from rum_ray.evaluation.two_sample import two_sample_auc
from rum_ray.seeding import Seed


def cloud(name: str, count: int, shift: float = 0.0, width: int = 6) -> np.ndarray:
    return (Seed(0) / name).normal(count * width).reshape(count, width) + shift


def test_sets_of_one_distribution_are_indistinguishable():
    aucs = [two_sample_auc(cloud("r", 400), cloud("s", 100), Seed(k)) for k in range(5)]
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.05)
    assert len(set(aucs)) == 5


def test_sets_further_apart_have_a_higher_auc():
    aucs = [two_sample_auc(cloud("r", 400), cloud("s", 100, x), Seed(0)) for x in (0, 0.2, 0.5, 2)]
    assert aucs == sorted(aucs)
    assert aucs[-1] > 0.99


def test_the_probe_is_balanced_and_tested_on_held_out_folds():
    # More features than examples: a probe is right about all that it was fitted to.
    retain, forget = cloud("r", 300, width=80), cloud("s", 30, width=80)
    assert two_sample_auc(retain, forget, Seed(0)) == pytest.approx(0.5, abs=0.2)


def test_it_is_scikit_learns_cross_validation_up_to_the_draw_of_folds():
    retain, forget = cloud("r", 150), cloud("s", 150, 0.3)
    ours = np.mean([two_sample_auc(retain, forget, Seed(k)) for k in range(4)])
    x, y = np.concatenate([retain, forget]), np.repeat([0, 1], 150)
    order = Seed(0).permutation(300)
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    theirs = cross_val_score(probe, x[order], y[order], cv=5, scoring="roc_auc").mean()
    assert ours == pytest.approx(theirs, abs=0.02)
    inside = roc_auc_score(y, probe.fit(x, y).decision_function(x))
    assert ours < inside


def test_neither_scale_nor_constant_features_matter():
    retain, forget = cloud("r", 60), cloud("s", 40, 0.5)
    ones = [np.ones((len(points), 1)) for points in (retain, forget)]
    scaled = [np.hstack([1e3 * retain + 3, ones[0]]), np.hstack([1e3 * forget + 3, ones[1]])]
    expected = two_sample_auc(retain, forget, Seed(0))
    assert two_sample_auc(*scaled, Seed(0)) == pytest.approx(expected, abs=1e-3)


def test_the_smallest_sets():
    assert two_sample_auc(cloud("r", 9), cloud("s", 2, 50), Seed(0)) == 1.0
    with pytest.raises(DataError, match=r"2 embeddings .* 9 and 1"):
        two_sample_auc(cloud("r", 9), cloud("s", 1), Seed(0))


def test_embeddings_that_are_not_finite():
    spoiled = cloud("s", 4)
    spoiled[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"two-sample test .* finite .* 1 of 4"):
        two_sample_auc(cloud("r", 9), spoiled, Seed(0))
