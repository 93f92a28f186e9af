"""ResNet-9 against its layers, written out with PyTorch's functions."""

import torch
import torch.nn.functional as F

from rum_ray.models import build
from rum_ray.seeding import Seed

PLACES = {
    **{f"{layer}.{part}": f"features.{layer}.{part}" for layer in (0, 1, 3, 6) for part in (0, 1)},
    **{
        f"{layer}.module.{block}.{part}": f"features.{layer}.module.{block}.{part}"
        for layer in (2, 5)
        for block in (0, 1)
        for part in (0, 1)
    },
    "9": "head.0",
}
"""Names in EasyDUB's list of layers: those of blocks, then the linear one."""


def literal(weights, x):
    """The logits in eval mode, by EasyDUB's names of the weights."""

    def block(name, x, stride=1, padding=1):
        x = F.conv2d(x, weights[f"{name}.0.weight"], stride=stride, padding=padding)
        mean, var, scale, bias = (
            weights[f"{name}.1.{part}"][None, :, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return ((x - mean) / (var + 1e-5).sqrt() * scale + bias).clamp(min=0)

    def residual(name, x):
        return x + block(f"{name}.module.1", block(f"{name}.module.0", x))

    x = block("1", block("0", x), stride=2, padding=2)
    x = block("3", residual("2", x))
    x = residual("5", F.max_pool2d(x, 2))
    x = F.adaptive_max_pool2d(block("6", x, padding=0), 1).flatten(1)
    return 0.2 * x @ weights["9.weight"].T


def test_logits_are_those_of_the_layers():
    with Seed(0).torch():
        model = build("resnet9", (3, 32, 32), 10)
        x = torch.rand(8, 3, 32, 32)
        model(x)  # moves the running statistics
    state = model.eval().state_dict()
    weights = {
        theirs + name.removeprefix(ours): value
        for theirs, ours in PLACES.items()
        for name, value in state.items()
        if name.startswith(f"{ours}.")
    }
    assert len(weights) == len(state)
    with torch.inference_mode():
        torch.testing.assert_close(model(x), literal(weights, x), rtol=1e-4, atol=1e-5)


def test_eleven_pixels_are_enough():
    assert build("resnet9", (1, 11, 11), 3).eval()(torch.zeros(2, 1, 11, 11)).shape == (2, 3)
