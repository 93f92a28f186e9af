import json
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.data import LabeledData
from rum_ray.digest import SPARSE, canonical, digest
from rum_ray.partition import Subset
from rum_ray.seeding import Seed
from rum_ray.training import Recipe
from rum_ray.unlearning import FineTune, NegGrad, RandomLabel, Retrain, SalUn

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(PLAIN)
def test_plain_values_are_their_own_canonical_form(value):
    assert canonical(value) == value
    assert digest(value) == digest(json.loads(json.dumps(value)))
    assert len(digest(value)) == 64


@given(PLAIN, PLAIN)
def test_different_values_have_different_digests(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (digest(one) == digest(other)) == same


def test_order_matters_in_lists_but_not_in_mappings():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    assert digest((1, 2)) == digest([1, 2])
    assert digest("1") != digest(1)
    assert digest(None) != digest("None")


OTHER = {
    "model": "small_cnn",
    "epochs": 31,
    "lr": 0.2,
    "batch_size": 128,
    "momentum": 0.8,
    "weight_decay": 0.0,
    "schedule": "constant",
    "augment": True,
    "precision": "bfloat16",
    "threads": 2,
    "weights": "model.safetensors",
    "normalize": "imagenet",
    "optimizer": "adamw",
    "warmup": 0.1,
    "label_smoothing": 0.1,
}


def test_the_digest_depends_on_every_field_of_a_recipe():
    recipe = Recipe("mlp", lr=0.05)
    # The content of the file `init` is tested in tests/jobs/test_initial.py.
    assert OTHER.keys() == {field.name for field in fields(Recipe)} - {"init"}
    digests = {digest(replace(recipe, **{name: value})) for name, value in OTHER.items()}
    assert len(digests | {digest(recipe)}) == len(OTHER) + 1
    assert digest(Recipe("mlp", lr=0.05)) == digest(recipe)


@dataclass(frozen=True)
class Noted:
    value: int
    note: str = field(default="", compare=False)


def test_the_digest_ignores_fields_with_compare_false():
    assert digest(Noted(1, "a")) == digest(Noted(1, "b")) != digest(Noted(2, "a"))
    assert canonical(Noted(1, "a")) == {"type": f"{__name__}:Noted", "value": 1}


def test_the_digest_depends_on_the_type():
    assert digest(FineTune()) != digest(NegGrad()) != digest(RandomLabel())
    assert digest(SalUn(keep=1.0)) != digest(RandomLabel())
    assert digest(Retrain(recipe=Recipe("mlp"))) != digest(Retrain())


def test_types_of_this_package_are_named_without_their_module():
    # Moving a class within the package therefore changes no key.
    assert canonical(Seed(1) / "a") == {"type": "Seed", "root": 1, "path": ["a"]}


def test_a_plug_in_differs_from_a_type_of_this_package_of_the_same_name():
    @dataclass(frozen=True, kw_only=True)
    class Mine(FineTune):
        pass

    Mine.__qualname__ = "FineTune"
    assert digest(Mine()) != digest(FineTune())
    Mine.__module__ = "my_package"
    assert canonical(Mine())["type"] == "my_package:FineTune"


def test_classes_and_functions_are_their_names():
    assert canonical(FineTune) == "rum_ray.unlearning.finetune:FineTune"
    assert canonical(digest) == "rum_ray.digest:digest"


def test_arrays_are_their_type_shape_and_content():
    array = np.arange(6, dtype=np.int32)
    assert digest(array) == digest(array.copy()) == digest(torch.arange(6, dtype=torch.int32))
    others = [
        array.astype(np.int64),
        array.reshape(2, 3),
        array.reshape(3, 2),
        array[::-1],
        array[:5],
    ]
    assert len({digest(a) for a in (array, *others)}) == 6
    grid = array.reshape(2, 3)
    assert digest(np.asfortranarray(grid)) == digest(grid)
    assert digest(grid.T) != digest(grid)
    assert digest(np.stack([array, array])[:, ::2]) == digest(np.stack([array[::2]] * 2))


def test_arrays_without_axes():
    zero = canonical(np.array(3))
    assert zero["shape"] == []
    assert digest(np.array(3)) == digest(np.int64(3)) == digest(torch.tensor(3))
    assert digest(np.array(3)) != digest(np.array([3]))
    assert digest(np.array(3)) != digest(np.array(4))


def test_a_sparse_field_counts_only_where_it_is_set():
    @dataclass(frozen=True)
    class Job:
        seed: int
        init: int | None = field(default=None, metadata=SPARSE)

    assert canonical(Job(1)).keys() == {"type", "seed"}
    assert canonical(Job(1, 0))["init"] == 0
    assert len({digest(Job(1)), digest(Job(1, 0)), digest(Job(1, 1))}) == 3


def test_data_and_subsets():
    data = LabeledData(torch.zeros(3, 2), [0, 1, 0])
    assert digest(data) == digest(LabeledData(torch.zeros(3, 2), [0, 1, 0]))
    for other in (data.relabeled([0, 1, 1]), data.take([0, 1]), replace(data, mean=(0.5,))):
        assert digest(other) != digest(data)
    assert digest(Subset("low", [1, 2])) != digest(Subset("low", [1, 3]))
    assert digest(Subset("low", [1, 2])) != digest(Subset("high", [1, 2]))


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes", 1j, [{"a": {1}}]])
def test_other_values_have_no_canonical_form(value):
    with pytest.raises(TypeError, match=r"^(set|object|bytes|complex) "):
        digest(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"lr": value})


def test_another_process_gives_the_same_digest():
    code = (
        "from rum_ray.digest import digest; from rum_ray.training import Recipe; "
        "from rum_ray.unlearning import SalUn; import torch; "
        "print(digest([Recipe('mlp'), SalUn(), {'b': 1, 'a': torch.arange(3)}, SalUn]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    expected = digest([Recipe("mlp"), SalUn(), {"a": torch.arange(3), "b": 1}, SalUn])
    assert done.stdout.strip() == expected
