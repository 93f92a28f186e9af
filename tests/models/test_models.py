import numpy as np
import pytest
import torch
from torch import nn

from rum_ray.errors import ConfigError
from rum_ray.models import MODELS, Classifier, build, embed
from rum_ray.models.classifier import Normalize
from rum_ray.models.convnets import _MeanOfQuarters
from rum_ray.seeding import Seed

WIDTHS = {
    "mlp": 256,
    "small_cnn": 80,
    "patch_cnn": 128,
    "fast_cnn": 192,
    "resnet9": 128,
    "resnet18": 512,
    "resnet50": 2048,
    "vgg16": 2048,
    "vit_tiny": 192,
    "swin_t": 768,
}
LARGER = {"vgg16", "resnet9", "swin_t"}
"""Networks that need 16 x 16 pixels."""
TRANSFORMERS = {"vit_tiny", "swin_t"}


def parameters(name: str, classes: int, shape=(3, 32, 32)) -> int:
    with torch.device("meta"):
        model = build(name, shape, classes)
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("name", "classes", "count"),
    [
        ("resnet18", 10, 11_173_962),
        ("resnet50", 100, 23_705_252),
        ("resnet18", 200, 11_271_432),
        ("vgg16", 200, 15_360_648),
        ("resnet9", 10, 2_274_880),
        ("mlp", 10, (3072 + 1) * 256 + (256 + 1) * 256 + (256 + 1) * 10),
    ],
)
def test_parameter_counts(name, classes, count):
    assert parameters(name, classes) == count


def test_small_models_are_small():
    assert 45_000 < parameters("small_cnn", 10) < 55_000
    assert 290_000 < parameters("patch_cnn", 10) < 310_000
    assert 1_000_000 < parameters("fast_cnn", 10) < 2_000_000


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_models_support_any_channels_and_classes(name, channels):
    size = 16 if name in LARGER else 8
    with Seed(0).torch():
        model = build(name, (channels, size, size), 7).eval()
    x = torch.from_numpy(Seed(1).uniform(3 * channels * size**2)).float()
    x = x.view(3, channels, size, size)
    with torch.inference_mode():
        embeddings = embed(model, x)
        assert embeddings.shape == (3, WIDTHS[name])
        assert model(x).shape == (3, 7)
        torch.testing.assert_close(model.head(embeddings), model(x))
        # After ReLU, or after normalisation.
        assert (embeddings.min() >= 0) == (name not in TRANSFORMERS)
        assert embeddings.std() > 0


def test_the_mlp_supports_vectors():
    assert build("mlp", (5,), 3)(torch.zeros(2, 5)).shape == (2, 3)


def test_weights_are_drawn_from_the_current_generator():
    models = []
    for seed in (0, 0, 1):
        with Seed(seed).torch():
            models.append(build("mlp", (4,), 2))
    first, again, other = (torch.cat([p.flatten() for p in m.parameters()]) for m in models)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_normalisation_is_the_first_layer():
    mean, std = (0.5, 0.25), (2.0, 0.5)
    x = torch.from_numpy(Seed(0).uniform(3 * 2 * 4).reshape(3, 2, 2, 2)).float()
    by_hand = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(2)], dim=1)
    torch.testing.assert_close(Normalize(mean, std)(x), by_hand)
    with Seed(0).torch():
        plain = build("mlp", (2, 2, 2), 3)
    with Seed(0).torch():
        normal = build("mlp", (2, 2, 2), 3, mean, std)
    torch.testing.assert_close(normal(x), plain(by_hand))
    assert normal.state_dict().keys() == plain.state_dict().keys()
    assert not [name for name, _ in normal.named_parameters() if "normalize" in name]


@pytest.mark.parametrize("mean", [(0.5, 0.25, 0.125), (0.5,)])
def test_normalisation_is_its_formula_in_any_memory_format(mean):
    std = (0.3,) * len(mean)
    x = torch.from_numpy(Seed(0).uniform(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)).float()
    expected = (x - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)
    for layout in (torch.contiguous_format, torch.channels_last):
        normal = Normalize(mean, std)(x.contiguous(memory_format=layout))
        assert torch.equal(normal, expected)
        assert normal.is_contiguous(memory_format=torch.channels_last)


def test_vectors_are_not_normalised_and_trivial_statistics_add_no_layer():
    x = torch.ones(2, 5)
    assert torch.equal(Normalize((0.5,), (2.0,))(x), x)
    assert isinstance(build("mlp", (1, 2, 2), 2, (0.0,), (1.0,)).normalize, nn.Identity)
    assert isinstance(build("mlp", (1, 2, 2), 2, (0.0,), (2.0,)).normalize, Normalize)


def test_the_stem_keeps_the_resolution():
    with torch.device("meta"):
        stem = build("resnet18", (3, 32, 32), 10).features[:3]
        assert stem(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 32, 32)


def test_the_vgg_head_has_small_initial_weights():
    with Seed(0).torch():
        head = build("vgg16", (1, 16, 16), 10).head
    weights = np.concatenate(
        [p.detach().flatten().numpy() for p in head.parameters() if p.ndim > 1]
    )
    assert weights.std() == pytest.approx(0.01, rel=0.01)
    assert not any(p.any() for p in head.parameters() if p.ndim == 1)


def test_a_plug_in_is_a_function():
    model = build("reference.training:forgetful", (1, 4, 4), 3, (0.5,), (1.0,))
    assert isinstance(model, Classifier)
    assert isinstance(model.normalize, Normalize)


def test_an_unknown_name_is_an_error_with_the_closest_name():
    with pytest.raises(ConfigError, match=r"'resnet19'.*'resnet9'\?"):
        build("resnet19", (3, 32, 32), 10)


def test_embeddings_need_a_method_a_linear_head_or_a_layer():
    model = build("reference.training:bare", (1, 4, 4), 3, (0.5,), (1.0,))
    x = torch.arange(48.0).view(3, 1, 4, 4)
    with pytest.raises(ConfigError, match=r"Sequential .*'embedding'.*: 0, 1, 2\."):
        embed(torch.nn.Sequential(*model, torch.nn.Tanh()), x)
    assert torch.equal(embed(model, x), x.flatten(1))
    assert torch.equal(embed(model, x, "0"), x.flatten(1))
    assert torch.equal(embed(model, x, "1"), model(x))
    model.embed = lambda x: x.flatten(1)[:, :2]
    assert embed(model, torch.ones(3, 1, 4, 4)).shape == (3, 2)


def test_the_output_of_a_layer_is_pooled_and_its_hook_is_removed():
    with Seed(0).torch():
        model = build("small_cnn", (1, 8, 8), 3).eval()
    x = torch.from_numpy(Seed(1).uniform(5 * 64).reshape(5, 1, 8, 8)).float()
    before = model.features[:6](x)
    assert before.shape[2:] == (4, 4)
    by_hand = torch.stack([torch.stack([c.mean() for c in example]) for example in before])
    torch.testing.assert_close(embed(model, x, "features.5"), by_hand)
    torch.testing.assert_close(embed(model, x, "features"), embed(model, x))
    assert not any(module._forward_hooks for module in model.modules())


class Pair(nn.Module):
    """A model with layers that give no features."""

    def __init__(self):
        super().__init__()
        self.lstm, self.unused, self.total = nn.LSTM(4, 3), nn.Linear(2, 2), nn.Flatten(0)

    def forward(self, x):
        return self.total(self.lstm(x.flatten(1))[0])


@pytest.mark.parametrize("layer", ["lstm", "unused", "total"])
def test_a_layer_without_features_is_an_error_with_the_layers(layer):
    with pytest.raises(ConfigError, match=rf"^embedding: .*'{layer}'.*: lstm, unused, total\."):
        embed(Pair(), torch.zeros(2, 1, 2, 2), layer)


@pytest.mark.parametrize("layer", ["features.99", "", "Head"])
def test_an_unknown_layer_is_an_error_with_the_layers(layer):
    with pytest.raises(ConfigError, match=rf"^embedding: .*'{layer}'.*: normalize, .*, head\."):
        embed(build("mlp", (4,), 2), torch.zeros(1, 4), layer)


@pytest.mark.parametrize("size", [(2, 2), (4, 6), (1, 1), (1, 4), (3, 5), (7, 2)])
def test_the_mean_of_quarters_is_adaptive_pooling(size):
    x = torch.from_numpy(Seed(0).uniform(2 * 3 * size[0] * size[1])).view(2, 3, *size)
    x.requires_grad_()
    ours, theirs = _MeanOfQuarters()(x), nn.AdaptiveAvgPool2d(2)(x)
    torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=0)
    weights = torch.arange(24.0, dtype=x.dtype).view(2, 3, 2, 2)
    gradients = [torch.autograd.grad((out * weights).sum(), x)[0] for out in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-14, atol=0)
