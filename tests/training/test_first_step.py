"""One clear error, before any training, for a model that does not take the data or a batch."""

import pytest
import torch

from rum_ray import api, config
from rum_ray.data import LabeledData
from rum_ray.errors import ConfigError
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe
from rum_ray.training.first_step import check_first_step, check_last_batches, smallest_batch
from rum_ray.unlearning import NegGrad, UnlearningTask


def images(count=12, side=2, channels=3, classes=3):
    x = torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8)
    return LabeledData(x, torch.arange(count) % classes, num_classes=classes)


NORMALISED = Recipe("reference.training:normalised", epochs=1, lr=0.01, batch_size=4)


@pytest.mark.parametrize("model", ["fast_cnn", "torchvision:vgg11"])
def test_images_too_small_are_an_error_of_ours_in_fit_and_before(model):
    recipe, data = Recipe(model, epochs=1, lr=0.01, batch_size=6), images()
    with pytest.raises(ConfigError, match=rf"'{model}' does not accept .*2 x 2 pixels"):
        check_first_step(recipe, data)
    with pytest.raises(ConfigError, match=rf"'{model}' does not accept .*2 x 2 pixels"):
        recipe.fit(data, LocalRuntime(Seed(0)))


def test_grey_images_and_a_network_for_colours():
    recipe = Recipe("torchvision:resnet18", epochs=1, lr=0.01, batch_size=6)
    with pytest.raises(ConfigError, match=r"torchvision:resnet18.*1 channel"):
        check_first_step(recipe, images(side=32, channels=1))


def test_a_model_that_returns_no_tensor_in_train_mode_is_named():
    with pytest.raises(ConfigError, match="tuple in train mode"):
        check_first_step(Recipe("reference.training:aside"), images())


def test_the_model_is_new_and_unchanged():
    data, recipe = images(), NORMALISED
    model = check_first_step(recipe, data)
    built = recipe.build(data, Seed(0))
    pairs = zip(model.state_dict().values(), built.state_dict().values(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)
    assert not model.training


def test_the_generator_of_torch_is_untouched():
    data = images(side=8, channels=1)
    state = torch.manual_seed(3).get_state()
    check_first_step(Recipe("reference.training:forgetful"), data)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("total", "size", "least"), [(9, 4, 1), (8, 4, 4), (3, 8, 3), (11, 4, 3)])
def test_the_smallest_batch(total, size, least):
    assert smallest_batch(total, size) == least


def test_a_last_batch_of_one_needs_a_model_that_takes_it():
    data = images(9)
    with pytest.raises(ConfigError, match=r"^recipe\.batch_size: .*training set \(9 .* such as 5"):
        check_last_batches(NORMALISED, data, {"the training set": 9})
    check_last_batches(NORMALISED, data, {"the training set": 8, "nothing": 0})
    check_last_batches(Recipe("mlp", batch_size=4), data, {"the training set": 9})
    large = images(9, side=8)
    check_last_batches(Recipe("small_cnn", batch_size=4), large, {"the training set": 9})
    with pytest.raises(ConfigError, match="one example"):
        NORMALISED.fit(data, LocalRuntime(Seed(0)))


def test_an_unlearner_says_so_too():
    data = images(9)
    original = NORMALISED.fit(data.take(range(8)), LocalRuntime(Seed(0)))
    task = UnlearningTask(data.take([8]), data.take(range(8)), original, NORMALISED)
    with pytest.raises(ConfigError, match=r"^neggrad: .*one example"):
        NegGrad(epochs=1, lr=0.001)(original, task, LocalRuntime(Seed(1)))


def test_every_verb_passes_it(tmp_path):
    """1,200 rows of digits and batches of 11: the last one has one example."""
    tree = {
        "name": "x",
        "data": "digits",
        "recipe": {"model": "reference.training:normalised", "batch_size": 11},
        "score": {"name": "confidence"},
        "forget": {"size": 30},
    }
    for forgets in (True, False):
        with pytest.raises(ConfigError, match=r"^recipe\.batch_size: "):
            api.open_study(config.parse(tree), tmp_path, forgets=forgets)
    tree["recipe"] = {"model": "torchvision:resnet18"}
    for forgets in (True, False):
        with pytest.raises(ConfigError, match="does not accept"):
            api.open_study(config.parse(tree), tmp_path, forgets=forgets)
