import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rum_ray import config
from rum_ray.errors import DataError, StoreError
from rum_ray.jobs import Context
from rum_ray.jobs.pretrained import import_weights, read_weights, weights_digest
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.study import Study
from rum_ray.study.validation import check
from rum_ray.testing import same_bits
from rum_ray.training import Recipe

RECIPE = {"model": "mlp", "epochs": 1, "batch_size": 64}
TREE = {"name": "given", "data": "digits", "score": {"name": "confidence"}, "forget": {"size": 30}}


@pytest.fixture
def model(bundle):
    return Recipe("mlp").build(bundle.train, Seed(5))


@pytest.fixture
def path(model, tmp_path) -> str:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    return str(tmp_path / "model.safetensors")


@pytest.fixture
def study(bundle, tmp_path):
    def study(**recipe: str) -> Study:
        experiment = config.parse({**TREE, "recipe": {**RECIPE, **recipe}, "seeds": [0, 1]})
        return Study(experiment, Context(bundle, Store(tmp_path / "store")))

    return study


def test_every_original_has_the_weights_of_the_file(study, path, model):
    given = study(weights=path)
    check(given)
    assert len(given.pretrained) == 2
    import_weights(path, given.pretrained, given.context)
    assert given.pretrained == []
    for original in given.originals:
        assert same_bits(original.load(given.context), model)
    assert given.scoring.proxies == {}


def test_what_is_retrained_is_what_it_would_be_without_the_file(study, path):
    given, trained = study(weights=path), study()
    for ours, theirs in zip(given.scoring.scorers, trained.scoring.scorers, strict=True):
        assert ours.key(given.context).digest == theirs.key(trained.context).digest
    assert given.recipe == trained.recipe
    ours, theirs = (s.originals[0].key(s.context).digest for s in (given, trained))
    assert ours != theirs


def test_the_content_counts_and_not_the_name(study, path, tmp_path):
    twin = tmp_path / "twin.safetensors"
    twin.write_bytes(Path(path).read_bytes())
    one, two = (study(weights=str(p)) for p in (path, twin))
    keys = [s.originals[0].key(s.context).digest for s in (one, two)]
    assert keys[0] == keys[1]
    assert weights_digest(path) == weights_digest(str(twin))


def test_lost_weights_have_a_message(study, path):
    given = study(weights=path)
    with pytest.raises(StoreError, match="weights of the original are lost"):
        given.context.get_or_compute(given.originals[0])


def test_files_that_do_not_fit_have_a_message(bundle, model, path, tmp_path):
    def expect(message: str, where: str = path) -> None:
        with pytest.raises(DataError, match=message):
            read_weights(where, Recipe("mlp"), bundle.train)

    state = model.state_dict()
    other = dataclasses.replace(bundle.train, num_classes=7)
    with pytest.raises(DataError, match=r"'head.bias' has shape \[4\] in .* 7 classes"):
        read_weights(path, Recipe("mlp"), other)
    save_file({**state, "more": torch.zeros(1)}, path)
    expect("model 'mlp' has no 'more'; file and model must agree")
    save_file({k: v for k, v in state.items() if k != "head.bias"}, path)
    expect("model.safetensors has no 'head.bias'")
    save_file({**state, "head.bias": torch.full((4,), torch.nan)}, path)
    expect("'head.bias' in .* is not finite")
    Path(path).write_bytes(b"no weights")
    expect("is no safetensors file")
    with pytest.raises(DataError, match=r"cannot read .*nowhere: No such file"):
        weights_digest(str(tmp_path / "nowhere"))
    expect("cannot read .*nowhere: No such file", str(tmp_path / "nowhere"))
