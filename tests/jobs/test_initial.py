"""Initial weights from a file: the same for the original, retrained models and the pool."""

import dataclasses
from pathlib import Path

import pytest
import torch

from rum_ray import config
from rum_ray.data.bundle import complement
from rum_ray.digest import digest
from rum_ray.errors import ConfigError, DataError
from rum_ray.experiment import to_plain
from rum_ray.jobs import Context, TrainModel, TrainPoolModel
from rum_ray.jobs.pretrained import check_initial, import_initial
from rum_ray.resume import StoredRuntime, initial_key
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.testing import same_bits
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.unlearning import Retrain, UnlearningTask

STILL = {"epochs": 1, "lr": 1e-30, "weight_decay": 0.0, "batch_size": 64}


@pytest.fixture
def backbone(bundle):
    """A model of the same network that was trained on seven other classes."""
    return Recipe("mlp").build(dataclasses.replace(bundle.train, num_classes=7), Seed(9))


@pytest.fixture
def path(backbone, tmp_path) -> str:
    state = {f"module.{name}": value for name, value in backbone.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "backbone.pth")
    return str(tmp_path / "backbone.pth")


def starts_from(model, backbone, fresh) -> bool:
    """Compare features with the file, and the head with new weights."""
    ours, theirs, new = model.state_dict(), backbone.state_dict(), fresh.state_dict()
    return all(
        torch.equal(value, (new if name.startswith("head.") else theirs)[name])
        for name, value in ours.items()
    )


def test_training_starts_from_the_file_with_a_new_head(bundle, backbone, path, runtime):
    recipe = Recipe("mlp", init=path, **STILL)
    fresh = recipe.build(bundle.train, runtime.seed / "init")
    assert starts_from(recipe.fit(bundle.train, runtime), backbone, fresh)
    other = LocalRuntime(Seed(8))
    fresh = recipe.build(bundle.train, other.seed / "init")
    assert starts_from(recipe.fit(bundle.train, other), backbone, fresh)


def test_every_model_of_a_study_starts_there(bundle, backbone, path, tmp_path):
    recipe, context = Recipe("mlp", init=path, **STILL), Context(bundle, Store(tmp_path / "s"))
    notes = import_initial(recipe, context)
    assert "'module.'" in " ".join(notes)
    assert "head.weight, head.bias" in " ".join(notes)
    assert import_initial(recipe, context) == []
    Path(path).unlink()  # workers have the store, and not the file
    jobs = [TrainModel(recipe, Seed(0)), TrainModel(recipe, Seed(0), complement(range(50), 160))]
    jobs += [TrainPoolModel(recipe, Seed(1), 0.5, keep=True)]
    for job in jobs:
        fresh = recipe.build(bundle.train, job.seed / "init")
        assert starts_from(job.load(context), backbone, fresh)
    runtime = StoredRuntime(Seed(2), context.store, "job")
    task = UnlearningTask(bundle.train.take([0]), bundle.train.take(range(1, 160)), backbone)
    fresh = recipe.build(bundle.train, Seed(2) / "init")
    assert starts_from(Retrain(recipe=recipe)(backbone, task, runtime), backbone, fresh)


def test_the_content_and_not_the_name_is_in_keys(path, tmp_path, backbone):
    twin = tmp_path / "twin.pt"
    twin.write_bytes(Path(path).read_bytes())
    one, two, none = (Recipe("mlp", init=where) for where in (path, str(twin), None))
    assert digest(one) == digest(two) != digest(none)
    assert one == two
    assert hash(one) == hash(two)
    torch.save(backbone.state_dict(), twin)
    assert digest(Recipe("mlp", init=str(twin))) != digest(one)


def test_a_local_and_a_stored_runtime_give_the_same_bits(bundle, path, tmp_path):
    recipe, context = Recipe("mlp", epochs=2, init=path), Context(bundle, Store(tmp_path / "s"))
    local = recipe.fit(bundle.train, LocalRuntime(Seed(0)))
    before = recipe.fit(bundle.train, StoredRuntime(Seed(0), context.store, "one"))
    import_initial(recipe, context)
    assert context.store.has(initial_key(recipe.init))
    after = recipe.fit(bundle.train, StoredRuntime(Seed(0), context.store, "two"))
    assert same_bits(local, before)
    assert same_bits(local, after)


def test_an_experiment_file_names_it_and_shows_it(path):
    tree = {"name": "x", "data": "digits", "recipe": {"model": "mlp", "init": path}}
    tree |= {"forget": {"size": 30}, "plan": dict.fromkeys(("low", "medium", "high"), "retrain")}
    experiment = config.parse(tree)
    assert to_plain(experiment)["recipe"]["init"] == path
    assert experiment.plan["low"].recipe.init == experiment.recipe.init
    fused = {**tree, "score": {"name": "memorization", "fused": True}}
    with pytest.raises(ConfigError, match=r"score\.fused: .*init"):
        config.parse(fused)
    with pytest.raises(DataError, match=r"recipe\.init: .*nowhere"):
        config.parse({**tree, "recipe": {"model": "mlp", "init": "nowhere.pth"}})


def test_files_of_other_networks_and_changed_files_are_errors(bundle, path, tmp_path):
    other = tmp_path / "other.pth"
    torch.save(Recipe("small_cnn").build(bundle.train, Seed(0)).state_dict(), other)
    with pytest.raises(DataError, match=r"^recipe\.init: "):
        check_initial(Recipe("mlp", init=str(other)), bundle.train)
    recipe = Recipe("mlp", init=path)
    assert check_initial(recipe, bundle.train)
    Path(path).write_bytes(other.read_bytes())
    with pytest.raises(DataError, match="changed"):
        check_initial(recipe, bundle.train)
