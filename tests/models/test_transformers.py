"""The transformers: torchvision's modules, small patches, every training path of the package."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch
from torch import nn

from rum_ray.data import LabeledData
from rum_ray.errors import ConfigError
from rum_ray.models import build
from rum_ray.models.vision import vision
from rum_ray.seeding import Seed
from rum_ray.testing import same_bits
from rum_ray.training import Recipe
from rum_ray.unlearning import UNLEARNERS, UnlearningTask

NAMES = ("vit_tiny", "swin_t")
SIDES = {"vit_tiny": 8, "swin_t": 16}
"""Smallest side of an image."""
RATES = {"vit_tiny": 5e-4, "swin_t": 1e-4}


def published(name: str) -> nn.Module:
    """torchvision's network for 224 pixels with the sizes of the published one."""
    if name == "swin_t":
        return vision.swin_t(num_classes=10)
    sizes = {"num_layers": 12, "num_heads": 3, "hidden_dim": 192, "mlp_dim": 768}
    return vision.VisionTransformer(224, 16, **sizes, num_classes=10)


def images(count: int, side: int, classes: int = 4) -> LabeledData:
    """Noise on the colour of each class."""
    y = torch.arange(count) % classes
    with Seed(3).torch():
        x = 0.7 * torch.rand(classes, 3, 1, 1)[y] + 0.3 * torch.rand(count, 3, side, side)
    return LabeledData(x, y)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", [32, 64])
def test_weights_are_those_of_the_published_network_but_for_patches(name, side):
    with torch.device("meta"):
        ours = build(name, (3, side, side), 10).state_dict()
        theirs = published(name).state_dict()
    place = {"vit_tiny": "features.0.", "swin_t": "features."}[name]
    heads = {"heads.head.": "head.", "head.": "head."}
    named = {}
    for key, value in theirs.items():
        head = next((key.replace(a, b) for a, b in heads.items() if key.startswith(a)), None)
        named[head or place + key] = value
    assert list(named) == list(ours)
    differing = {
        key.rpartition(".")[2] if "relative" in key else key.rpartition(".")[0].split(".", 1)[1]
        for key, value in ours.items()
        if named[key].shape != value.shape
    }
    changed = {"relative_position_bias_table", "relative_position_index"}
    stem = {"features.0.0"} if side == 32 else set()
    expected = {"vit_tiny": {"0.conv_proj", "0.encoder"}, "swin_t": changed | stem}
    assert differing == expected[name]


def test_the_number_of_patches_does_not_depend_on_the_image():
    with torch.device("meta"):
        for side in (8, 32, 64):
            model = build("vit_tiny", (3, side, side), 10)
            positions = model.get_parameter("features.0.encoder.pos_embedding")
            assert positions.shape == (1, 65, 192)
        for side in (16, 32, 64):
            swin = build("swin_t", (3, side, side), 10)
            stages = [swin.features.features[: 1 + 2 * stage + 1] for stage in range(4)]
            x = torch.zeros(1, 3, side, side)
            assert [stage(x).shape[1] for stage in stages] == [16, 8, 4, 2]


@pytest.mark.parametrize("side", [32, 64])
def test_no_window_is_larger_than_its_stage(side):
    swin = build("swin_t", (3, side, side), 10)
    windows = [m.attn.window_size for m in swin.modules() if hasattr(m, "attn")]
    assert windows == [[4, 4]] * 10 + [[2, 2]] * 2


def test_attention_of_vit_is_its_formula():
    """One layer, written out."""
    with Seed(0).torch():
        model = build("vit_tiny", (3, 8, 8), 4)
        x = torch.rand(2, 65, 192)
    layer = model.features[0].encoder.layers[0]
    w, b = layer.self_attention.in_proj_weight, layer.self_attention.in_proj_bias
    q, k, v = (
        part.view(2, 65, 3, 64).transpose(1, 2)
        for part in (layer.ln_1(x) @ w.T + b).chunk(3, dim=-1)
    )
    attention = ((q @ k.transpose(2, 3)) / 8).softmax(dim=-1)
    mixed = (attention @ v).transpose(1, 2).reshape(2, 65, 192)
    y = x + layer.self_attention.out_proj(mixed)
    torch.testing.assert_close(layer(x), y + layer.mlp(layer.ln_2(y)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 64), (3, 28, 28), (64,)])
def test_other_shapes_are_errors(name, shape):
    with pytest.raises(ConfigError, match=rf"'{name}' .* multiple of {SIDES[name]} pixels; got"):
        build(name, shape, 10)


@pytest.mark.parametrize("name", NAMES)
def test_training_is_repeatable_and_learns(name, runtime):
    data = images(16, 2 * SIDES[name])
    recipe = Recipe(name, 1, RATES[name], 8, optimizer="adamw", warmup=0.2, augment=True)
    model, again = (recipe.fit(data, runtime) for _ in range(2))
    assert same_bits(model, again)
    learned = replace(recipe, augment=False, epochs=6).fit(data, runtime)
    assert float((learned(data.x).argmax(1) == data.y).float().mean()) > 0.9
    for other in (copy.deepcopy(learned), pickle.loads(pickle.dumps(learned))):
        assert torch.equal(other(data.x), learned(data.x))


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_gives_other_bits_and_float32_weights(name, runtime):
    data, recipe = images(4, 2 * SIDES[name]), Recipe(name, 1, 1e-3, 4, optimizer="adamw")
    full, half = (
        replace(recipe, precision=kind).fit(data, runtime) for kind in ("float32", "bfloat16")
    )
    assert not same_bits(full, half)
    assert all(parameter.dtype == torch.float32 for parameter in half.parameters())


@pytest.mark.parametrize(
    ("name", "unlearner"),
    [
        *(("vit_tiny", each) for each in ("influence", "scrub", "salun", "ssd", "msg", "ct")),
        *(("swin_t", each) for each in ("influence", "ct")),
    ],
)
def test_unlearners_run(name, unlearner, runtime):
    """Forward-mode derivatives, teachers, masks and convolutions of patches."""
    data, recipe = images(8, 2 * SIDES[name]), Recipe(name, 1, 1e-4, 8, optimizer="adamw")
    model = recipe.fit(data, runtime)
    task = UnlearningTask(data.take(range(3)), data.take(range(3, 8)), model, recipe=recipe)
    options = {} if unlearner in ("influence", "ssd") else {"epochs": 1}
    unlearned = UNLEARNERS[unlearner](**options)(model, task, runtime)
    assert all(parameter.isfinite().all() for parameter in unlearned.parameters())
    assert not same_bits(unlearned, model)
