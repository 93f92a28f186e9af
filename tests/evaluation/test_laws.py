import pytest
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.evaluation import Accuracies, tow, tow_mia

SHARES = st.floats(0, 1)
ACCURACIES = st.builds(Accuracies, SHARES, SHARES, SHARES)


@given(ACCURACIES, ACCURACIES, SHARES, SHARES)
def test_tow_is_in_range_symmetric_and_one_for_the_reference(one, other, a, b):
    assert 0 <= tow(one, other) <= 1
    assert tow(one, one) == 1
    assert tow(one, other) == tow(other, one)
    assert 0 <= tow_mia(one, other, a, b) <= 1
    assert tow_mia(one, one, a, a) == 1
    assert tow_mia(one, other, a, b) == tow_mia(other, one, b, a)


@given(ACCURACIES, st.floats(0, 0.5))
def test_over_and_under_forgetting_cost_the_same(retrained, gap):
    middle = Accuracies(0.5, retrained.retain, retrained.test)
    over, under = (
        Accuracies(forget, retrained.retain, retrained.test) for forget in (0.5 - gap, 0.5 + gap)
    )
    assert tow(over, middle) == pytest.approx(tow(under, middle))
    assert tow(over, middle) == pytest.approx(1 - gap)


@given(ACCURACIES, ACCURACIES, st.sampled_from(["forget", "retain", "test"]))
def test_an_accuracy_gap_of_1_gives_a_tow_of_0(one, other, name):
    zero = {**vars(one), name: 0.0}
    full = {**vars(other), name: 1.0}
    assert tow(Accuracies(**zero), Accuracies(**full)) == 0
