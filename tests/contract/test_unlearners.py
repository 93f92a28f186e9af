"""Every unlearner of the table keeps to the contract."""

import re
import sys
import types
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
    """The unlearner that CONTRIBUTING.md writes down whole."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    module = types.ModuleType("documented")
    sys.modules["documented"] = module
    exec(code, module.__dict__)
    return module.Flatten()


SMALL["as documented"] = documented()


class TestUnlearners(UnlearnerContract):
    @pytest.fixture(params=UNLEARNERS | SMALL)
    def unlearner(self, request):
        return SMALL.get(request.param) or UNLEARNERS[request.param]()


def test_the_table_has_each_under_its_own_name():
    assert {name: kind.name for name, kind in UNLEARNERS.items()} == {n: n for n in UNLEARNERS}
