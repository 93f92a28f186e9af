"""Mixed precision of a forward pass."""

import torch
from torch import Tensor, nn


class Mixed(nn.Module):
    """Mixed precision: a model under bfloat16 autocast, with float32 logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [N, K] of inputs in [0, 1]."""
        with torch.autocast(x.device.type, torch.bfloat16):
            logits: Tensor = self.model(x)
        return logits.float()
