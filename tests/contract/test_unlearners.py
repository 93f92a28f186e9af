"""Every unlearner of the table keeps to the contract."""

import importlib.util
import sys
from pathlib import Path

import pytest

from rum_ray.testing import UnlearnerContract
from rum_ray.training import Recipe
from rum_ray.unlearning import UNLEARNERS, GradientUnlearner, Influence, Retrain, SalUn

SMALL = {
    "retrain": Retrain(recipe=Recipe("mlp", epochs=3)),
    "influence by fisher": Influence(mode="fisher", iterations=3),
    "salun as released": SalUn(mask="official", epochs=1),
}


def documented() -> GradientUnlearner:
    """Return the unlearner of examples/own_unlearner.py."""
    path = Path(__file__).parents[2] / "examples" / "own_unlearner.py"
    spec = importlib.util.spec_from_file_location("own_unlearner", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_unlearner"] = module
    spec.loader.exec_module(module)
    return module.Flatten()


SMALL["as documented"] = documented()


class TestUnlearners(UnlearnerContract):
    @pytest.fixture(params=UNLEARNERS | SMALL)
    def unlearner(self, request):
        return SMALL.get(request.param) or UNLEARNERS[request.param]()


def test_the_table_has_each_under_its_own_name():
    assert {name: kind.name for name, kind in UNLEARNERS.items()} == {n: n for n in UNLEARNERS}
