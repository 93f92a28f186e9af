import pytest

from reference import closed_forms
from reference.unlearning import CASES
from rum_ray.unlearning import UNLEARNERS


def test_every_unlearner_has_its_row():
    assert list(CASES) == list(UNLEARNERS)


@pytest.mark.parametrize("name", UNLEARNERS)
def test_a_full_batch_is_the_formula(name):
    gap, moved = closed_forms.gap(name)
    assert gap < 1e-6
    assert moved > 1e-3 or name == "nothing", "the test is blind: no weight moved by more than 1e-3"
