"""Vision transformers for small square images, built from torchvision's: `vit_tiny` and `swin_t`.

The published networks are for 224 pixels. These have their widths, depths and heads, and smaller
patches, so that a small image has enough of them. Neither has dropout or stochastic depth, so a
step of training is its formula.
"""

import math
from typing import Any

from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rum_ray.errors import ConfigError
from rum_ray.models.classifier import Classifier

VIT_SIDE, SWIN_SIDE = 8, 16
"""Patches per side of an image."""
WINDOW = 4


class _Exact(nn.Sequential):
    """Layers whose attention is computed by its formula.

    PyTorch's faster kernels have no forward-mode derivative on CPUs and are not deterministic on
    GPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the last layer."""
        with sdpa_kernel(SDPBackend.MATH):
            for layer in self:
                x = layer(x)
        return x


def vit_tiny(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """ViT-Ti: 12 layers, 3 heads, 192-d embeddings; an image is 8 x 8 patches: 5.4 M parameters.

    Reference: Touvron et al., "Training data-efficient image transformers", ICML 2021,
    https://arxiv.org/abs/2012.12877.

    Patches have 4 x 4 pixels in images of 32 pixels, and 8 x 8 in those of 64; the published
    network has 14 x 14 patches of 16 x 16 pixels. There is no token of distillation. As in
    torchvision, the weights of the head start at 0.
    """
    from rum_ray.models.vision import vision

    patch = _patch("vit_tiny", shape, VIT_SIDE)
    network = vision.VisionTransformer(
        image_size=shape[1],
        patch_size=patch,
        num_layers=12,
        num_heads=3,
        hidden_dim=192,
        mlp_dim=768,
        num_classes=num_classes,
    )
    head, network.heads = network.heads.head, nn.Identity()
    if shape[0] != network.conv_proj.in_channels:
        network.conv_proj = _patches(network.conv_proj, shape[0])
        fan_in = math.prod(network.conv_proj.weight.shape[1:])
        nn.init.trunc_normal_(network.conv_proj.weight, std=math.sqrt(1 / fan_in))
        nn.init.zeros_(network.conv_proj.bias)
    return Classifier(_Exact(network), head)


def swin_t(shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Swin-T: four stages, 768-d embeddings; an image is 16 x 16 patches: 27.5 M parameters.

    Reference: Liu et al., "Swin transformer: hierarchical vision transformer using shifted
    windows", ICCV 2021, https://arxiv.org/abs/2103.14030.

    Patches have 2 x 2 pixels in images of 32 pixels, and 4 x 4 in those of 64; the published
    network has 56 x 56 patches of 4 x 4 pixels. Windows have 4 x 4 patches in place of 7 x 7, and
    2 x 2 in the last stage, which has no more. There is no stochastic depth.
    """
    from rum_ray.models.vision import vision

    def block(width: int, heads: int, window_size: list[int], **options: Any) -> nn.Module:
        side = min(WINDOW, SWIN_SIDE * 96 // width)
        made: nn.Module = swin.SwinTransformerBlock(width, heads, [side, side], **options)
        return made

    swin, patch = vision.swin_transformer, _patch("swin_t", shape, SWIN_SIDE)
    network = swin.SwinTransformer(
        patch_size=[patch, patch],
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=[WINDOW, WINDOW],
        stochastic_depth_prob=0.0,
        num_classes=num_classes,
        block=block,
    )
    head, network.head = network.head, nn.Identity()
    stem = network.features[0]
    if shape[0] != stem[0].in_channels:
        stem[0] = _patches(stem[0], shape[0])
    return Classifier(network, head)


def _patch(name: str, shape: tuple[int, ...], patches: int) -> int:
    """Return the side of a patch in pixels; ConfigError if the image has no such patches."""
    if len(shape) != 3 or shape[1] != shape[2] or shape[1] % patches:
        raise ConfigError(
            f"model '{name}' needs square images whose side is a multiple of {patches} pixels; got "
            f"inputs of shape {tuple(shape)}. Set data.size, or use a convolutional network."
        )
    return shape[1] // patches


def _patches(layer: nn.Conv2d, channels: int) -> nn.Conv2d:
    """Return the same layer for another number of channels, with new weights."""
    side = layer.kernel_size[0]
    return nn.Conv2d(channels, layer.out_channels, side, stride=side)
