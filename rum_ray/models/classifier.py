"""The shape that every model here has: normalise, features, a linear head."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Subtract a mean and divide by a standard deviation, per channel.

    It is part of the model, so that inputs are plain pixels in [0, 1] everywhere else.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("std", torch.tensor(std), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [N, C, H, W] with zero mean and unit deviation; vectors [N, D] as they are.

        The result is channels-last. Whole rows of pixels are computed at a time, since PyTorch is
        slow where only the few channels of a pixel lie side by side.
        """
        if x.ndim != 4:
            return x
        _, channels, _, width = x.shape
        mean, std = (values.expand(channels).repeat(width) for values in (self.mean, self.std))
        rows = (x.permute(0, 2, 3, 1).flatten(2) - mean) / std
        normal: Tensor = rows.unflatten(2, (width, channels)).permute(0, 3, 1, 2)
        return normal


class Classifier(nn.Module):
    """Features and a linear head.

    Attributes:
        normalize: pixels to zero mean and unit deviation.
        features: inputs to embeddings [N, D]: pooled, flattened, penultimate.
        head: embeddings to logits [N, K].
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
