import numpy as np
import pytest

from rum_ray.errors import ScoreError
from rum_ray.scores import Scores


def test_scores_are_float64_vectors():
    scores = Scores([1, 2, 3], [0.1, 0.2, 0.3], "mine")
    assert scores.values.dtype == scores.standard_errors.dtype == np.float64
    assert (len(scores), scores.name) == (3, "mine")


def test_standard_errors_are_unknown_by_default():
    scores = Scores(values=np.ones(2))
    assert np.isnan(scores.standard_errors).all()
    assert scores.standard_errors.shape == (2,)
    assert scores.name == "score"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]],), r"^scores .* \(1, 1\)"),
        ((1.0,), r"^scores .* \(\)"),
        (([1.0], [[1.0]]), r"^errors .* \(1, 1\)"),
        (([1.0], [1.0, 2.0], "mine"), r"^mine: .* 1 scores and 2 standard errors"),
    ],
)
def test_bad_scores(arguments, message):
    with pytest.raises(ScoreError, match=message):
        Scores(*arguments)
