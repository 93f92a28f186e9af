"""Pretrained originals: weights from a file."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rum_ray import config
from rum_ray.errors import DataError, StoreError
from rum_ray.jobs import Context
from rum_ray.jobs.pretrained import (
    GivenOriginal,
    import_weights,
    measure_original,
    read_weights,
    weights_digest,
)
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.given import original_files
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock
from rum_ray.study.validation import check
from rum_ray.testing import same_bits
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.prediction import predict

RECIPE = {"model": "mlp", "epochs": 1, "batch_size": 64}
TREE = {
    "name": "pretrained",
    "data": "digits",
    "score": {"name": "confidence"},
    "forget": {"size": 30},
}


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
    ours = study(weights=path)
    check(ours)
    assert original_files(ours) == {path: [*ours.originals]}
    import_weights(original_files(ours), ours.context)
    assert original_files(ours) == {}
    for original in ours.originals:
        assert same_bits(original.load(ours.context), model)
    assert ours.scoring.proxies == {}


def test_other_models_are_trained_as_without_the_file(study, path):
    pretrained, trained = study(weights=path), study()
    for ours, theirs in zip(pretrained.scoring.scorers, trained.scoring.scorers, strict=True):
        assert ours.key(pretrained.context).digest == theirs.key(trained.context).digest
    assert pretrained.recipe == trained.recipe
    ours, theirs = (s.originals[0].key(s.context).digest for s in (pretrained, trained))
    assert ours != theirs


def test_keys_depend_on_the_content_and_not_on_the_name(study, path, tmp_path):
    twin = tmp_path / "twin.safetensors"
    twin.write_bytes(Path(path).read_bytes())
    one, two = (study(weights=str(p)) for p in (path, twin))
    keys = [s.originals[0].key(s.context).digest for s in (one, two)]
    assert keys[0] == keys[1]
    assert weights_digest(path) == weights_digest(str(twin))


def test_weights_missing_in_the_store_are_an_error(study, path):
    ours = study(weights=path)
    with pytest.raises(StoreError, match=r"^recipe\.weights: "):
        ours.context.get_or_compute(ours.originals[0])


def test_files_that_do_not_match_the_model_are_errors(bundle, model, path, tmp_path):
    def expect(message: str, where: str = path) -> None:
        with pytest.raises(DataError, match=rf"^recipe\.weights: .*{message}"):
            read_weights(where, Recipe("mlp"), bundle.train)

    state = model.state_dict()
    other = dataclasses.replace(bundle.train, num_classes=7)
    with pytest.raises(DataError, match=r"^recipe\.weights: .*'head.bias' .*\[4\].* \[7\]"):
        read_weights(path, Recipe("mlp"), other)
    save_file({**state, "more": torch.zeros(1)}, path)
    expect("model 'mlp' .*'more'")
    save_file({k: v for k, v in state.items() if k != "head.bias"}, path)
    expect("model.safetensors: .*'head.bias'")
    save_file({**state, "head.bias": torch.full((4,), torch.nan)}, path)
    expect("'head.bias' has 4 of 4 .*finite")
    Path(path).write_bytes(b"no weights")
    expect("safetensors file")
    with pytest.raises(DataError, match=r"^recipe\.weights: .*nowhere"):
        weights_digest(str(tmp_path / "nowhere"))
    expect("nowhere", str(tmp_path / "nowhere"))


def test_the_accuracy_of_a_given_original_is_said_first(study, bundle, tmp_path):
    trained = Recipe(**{**RECIPE, "epochs": 20}).fit(bundle.train, LocalRuntime(Seed(0)))
    path = str(tmp_path / "trained.pth")
    torch.save({"model": trained.state_dict(), "epoch": 20}, path)
    ours = study(weights=path)
    lines = import_weights(original_files(ours), ours.context)
    assert "under the key 'model'" in lines[0]
    right = {
        name: (predict(trained, data).argmax(1) == data.y.numpy()).mean()
        for name, data in (("train", bundle.train), ("test", bundle.test))
    }
    assert f"{right['train']:.1%} of the 160 training" in lines[-1]
    assert f"{right['test']:.1%} of the test" in lines[-1]
    assert right["train"] > 0.5

    class Said:
        def __init__(self):
            self.lines = []

        def say(self, text):
            self.lines.append(text)

        def start(self, stage, total):
            self.lines.append(stage)

        def update(self, state): ...

        def finish(self, summary): ...

    said = Said()
    again = Study(ours.experiment, Context(bundle, Store(tmp_path / "fresh")))
    Pipeline(again, LocalExecutor(), said, Clock(None)).run("score")
    assert said.lines.index(lines[-1]) < said.lines.index("train")


def test_a_model_near_chance_gets_one_warning(study, model, path, bundle):
    ours = study(weights=path)
    (line, warning) = import_weights(original_files(ours), ours.context)
    assert line.startswith("The given original classifies")
    assert warning.startswith("Warning: ")
    assert "normalisation" in warning
    assert "order of the 4 classes" in warning


@pytest.mark.parametrize(
    ("train", "chance", "near"),
    [(0.11, 0.1, True), (0.19, 0.1, True), (0.25, 0.1, False), (0.6, 0.5, True), (0.8, 0.5, False)],
)
def test_near_chance_depends_on_the_largest_class(train, chance, near):
    original = GivenOriginal(train, train, 10, 10, 10, chance, "none")
    assert original.is_near_chance == near
    assert len(original.lines) == 1 + near


def test_large_data_are_measured_in_part(bundle, model, monkeypatch):
    monkeypatch.setattr("rum_ray.jobs.pretrained.MEASURED", 50)
    context = Context(bundle, Store("unused"))
    original = measure_original(model, context, Recipe("mlp"))
    assert (original.measured, original.total) == (50, 160)
    assert "(50 of them measured)" in original.lines[0]
    assert measure_original(model, context, Recipe("mlp")) == original
