"""Losses shared by several algorithms."""

import torch.nn.functional as F
from torch import Tensor, nn


def distillation_kl(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T^2 * mean over examples of KL(softmax(teacher / T) || softmax(student / T)).

    Args:
        student: [B, K] logits.
        teacher: [B, K] logits.
        temperature: T; a higher one makes both distributions softer.
    """
    return temperature**2 * F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="batchmean",
        log_target=True,
    )


def l1_norm(model: nn.Module) -> Tensor:
    """Return the sum of the absolute values of all parameters."""
    return sum((p.abs().sum() for p in model.parameters()), start=Tensor([0.0]).sum())
