"""Every unlearner of the table satisfies the contract.

An unlearner is added to the package in four places:

1. its class, in `rum_ray/unlearning/`, with `name`, `title` and `space`;
2. `rum_ray/unlearning/__init__.py`: the import, the row of `UNLEARNERS`, and `__all__`;
3. `tests/reference/unlearning.py`: its literal formula, and its row of `CASES`;
4. the generated documents: `python docs/make_algorithms.py` and `docs/make_configuration.py`.

The tests here and in `tests/unlearning/test_base.py` take it from the table. A line in
`rum_ray/__init__.py` makes it a public name as well.
"""

import re
import sys
import types
from pathlib import Path

import pytest

from rum_ray.testing import UnlearnerContract
from rum_ray.training import Recipe
from rum_ray.unlearning import UNLEARNERS, GradientUnlearner, Influence, Retrain, SalUn

VARIANTS = {
    "retrain": Retrain(recipe=Recipe("mlp", epochs=3)),
    "influence by fisher": Influence(mode="fisher", iterations=3),
    "salun as released": SalUn(mask="official", epochs=1),
}


def documented() -> GradientUnlearner:
    """The complete unlearner of CONTRIBUTING.md."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text("utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.M | re.S)
    module = types.ModuleType("documented")
    sys.modules["documented"] = module
    exec(code, module.__dict__)
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
