"""The bill of a plan, and the number of requests that pay for it."""

import math

import pytest

from rum_ray.results.costs import bill_of, break_even


@pytest.mark.parametrize(
    ("fixed", "each", "first"),
    [
        # 22 + 27 * 0.21 = 27.67 > 27, and 22 + 28 * 0.21 = 27.88 < 28.
        (22.0, 0.21, 28),
        # 10 + 20 * 0.5 = 20: equal is not cheaper.
        (10.0, 0.5, 21),
        (0.0, 0.3, 1),
        (0.0, 1.0, None),
        (5.0, 1.2, None),
    ],
)
def test_the_break_even_is_that_of_a_calculation_by_hand(fixed, each, first):
    assert break_even(fixed, each) == first


@pytest.mark.parametrize("fixed", [0.3, 7.0, 151.25])
@pytest.mark.parametrize("each", [0.0, 0.4, 0.97])
def test_from_the_break_even_on_every_number_of_requests_is_cheaper(fixed, each):
    first = break_even(fixed, each)

    def cheaper(requests: int) -> bool:
        return fixed + requests * each < requests

    assert not cheaper(first - 1)
    assert all(map(cheaper, range(first, first + 50)))


def test_references_of_the_request_itself_are_paid_by_each_request():
    once = bill_of(90.0, 56.0, 5.0, 0.4, asked=False)
    assert (once.total, once.fixed, once.per_request) == (151.4, 151.0, 0.4)
    assert once.break_even == math.floor(151 / 0.6) + 1 == 252
    each = bill_of(90.0, 56.0, 5.0, 0.4, asked=True)
    assert (each.total, each.fixed, each.per_request) == (151.4, 146.0, 5.4)
    assert each.break_even is None
