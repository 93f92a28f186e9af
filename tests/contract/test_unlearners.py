"""Every unlearner of the table keeps to the contract."""

import pytest

from rum_ray.testing import UnlearnerContract
from rum_ray.training import Recipe
from rum_ray.unlearning import UNLEARNERS, Influence, Retrain, SalUn

SMALL = {
    "retrain": Retrain(recipe=Recipe("mlp", epochs=3)),
    "influence by fisher": Influence(mode="fisher", iterations=3),
    "salun as released": SalUn(mask="official", epochs=1),
}


class TestUnlearners(UnlearnerContract):
    @pytest.fixture(params=UNLEARNERS | SMALL)
    def unlearner(self, request):
        return SMALL.get(request.param) or UNLEARNERS[request.param]()


def test_the_table_has_each_under_its_own_name():
    assert {name: kind.name for name, kind in UNLEARNERS.items()} == {n: n for n in UNLEARNERS}
