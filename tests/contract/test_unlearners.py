"""Every unlearner of the table satisfies the contract.

An unlearner is added to the package in four places:

1. its class, in `rum_ray/unlearning/`, with `name`, `title` and `space`;
2. `rum_ray/unlearning/__init__.py`: the import, the row of `UNLEARNERS`, and `__all__`;
3. `tests/reference/unlearning.py`: its literal formula, and its row of `CASES`;
4. the generated documents: `python docs/make.py`.

The tests here and in `tests/unlearning/test_base.py` take it from the table. A line in
`rum_ray/__init__.py` makes it a public name as well.
"""

import importlib.util
import sys
from pathlib import Path

import pytest

from rum_ray.testing import UnlearnerContract
from rum_ray.training import Recipe
from rum_ray.unlearning import UNLEARNERS, GradientUnlearner, Influence, Retrain, SalUn

VARIANTS = {
    "retrain": Retrain(recipe=Recipe("mlp", epochs=3)),
    "influence by fisher": Influence(mode="fisher", iterations=3),
    "salun as released": SalUn(mask="official", epochs=1),
    "salun with repair": SalUn(epochs=1, repair=2),
}


def documented() -> GradientUnlearner:
    """The unlearner of examples/own_unlearner.py."""
    path = Path(__file__).parents[2] / "examples" / "own_unlearner.py"
    spec = importlib.util.spec_from_file_location("own_unlearner", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["own_unlearner"] = module
    spec.loader.exec_module(module)
    return module.Flatten()


VARIANTS["as documented"] = documented()


class TestUnlearners(UnlearnerContract):
    @pytest.fixture(params=UNLEARNERS | VARIANTS)
    def unlearner(self, request):
        return VARIANTS.get(request.param) or UNLEARNERS[request.param]()


def test_the_table_has_each_under_its_own_name():
    assert {name: kind.name for name, kind in UNLEARNERS.items()} == {n: n for n in UNLEARNERS}


def test_each_has_a_title_of_its_own():
    titles = {vars(kind)["title"] for kind in UNLEARNERS.values()}
    assert len(titles) == len(UNLEARNERS)
