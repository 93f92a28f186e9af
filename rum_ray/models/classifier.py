"""The structure of every model in this package: normalisation, features, head."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, per channel.

    Normalisation is part of the model, so that inputs outside it are pixels in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return normalised images [N, C, H, W]; vectors [N, D] stay unchanged.

        The result is channels-last. The operations run on whole rows of pixels, because PyTorch is
        slow on an innermost axis of only a few channels.
        """
        if x.ndim != 4:
            return x
        _, channels, _, width = x.shape
        mean, std = (values.expand(channels).repeat(width) for values in (self.mean, self.std))
        rows = (x.permute(0, 2, 3, 1).flatten(2) - mean) / std
        normal: Tensor = rows.unflatten(2, (width, channels)).permute(0, 3, 1, 2)
        return normal


def normalize_inputs(model: nn.Module, normalize: Normalize) -> None:
    """Let a network normalise its inputs; the names of its weights stay as they are."""
    model.add_module("input_normalize", normalize)
    model.register_forward_pre_hook(_normalized)


def _normalized(model: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the inputs of a forward pass with the first one normalised."""
    return (model.get_submodule("input_normalize")(inputs[0]), *inputs[1:])


class Classifier(nn.Module):
    """Normalisation, features and a head.

    Attributes:
        normalize: module from pixels in [0, 1] to zero mean and unit standard deviation.
        features: module from inputs to pooled and flattened embeddings [N, D].
        head: module from embeddings to logits [N, K].
    """

    def __init__(self, features: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.normalize: nn.Module = nn.Identity()
        self.features = features
        self.head = head

    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings [N, D] of inputs in [0, 1]."""
        embeddings: Tensor = self.features(self.normalize(x))
        return embeddings

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, K] of inputs in [0, 1]."""
        logits: Tensor = self.head(self.embed(x))
        return logits
