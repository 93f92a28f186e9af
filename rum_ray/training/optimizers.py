"""The optimizers of trainings and of unlearners, and the warm-up of the learning rate."""

from typing import Literal, TypeAlias

import torch
from torch import nn

Family: TypeAlias = Literal["sgd", "adamw"]
"""Names of optimizers in experiment files."""
FAMILIES: tuple[Family, ...] = ("sgd", "adamw")
SECOND_MOMENT = 0.999
"""beta_2 of AdamW: the decay of its second moments."""

_LR = 0.1
"""Learning rates of AdamW are lower than this one, which is the default of SGD."""


def check_rate(family: Family, lr: float, momentum: float) -> None:
    """Raise ValueError if a learning rate or momentum is none of AdamW."""
    if family == "adamw" and (momentum >= 1 or lr >= _LR):
        raise ValueError(
            f"optimizer adamw needs a momentum (beta_1) below 1 and an lr below {_LR}, such as "
            f"0.001; got momentum {momentum:g} and lr {lr:g}"
        )


def new_optimizer(
    family: Family,
    model: nn.Module,
    lr: float,
    momentum: float,
    weight_decay: float,
    *,
    fused: bool = True,
    maximize: bool = False,
) -> torch.optim.Optimizer:
    """Return an optimizer of all parameters of a model, without any step taken.

    Args:
        family: "sgd" without Nesterov, or "adamw" with weight decay apart from the gradient.
        model: the model.
        lr: learning rate.
        momentum: momentum of SGD; beta_1 of AdamW.
        weight_decay: weight decay of all parameters.
        fused: True updates all weights in one operation; the last bits depend on it.
        maximize: True ascends.
    """
    parameters, kind = model.parameters(), {"fused": fused, "maximize": maximize}
    if family == "adamw":
        betas = (momentum, SECOND_MOMENT)
        return torch.optim.AdamW(parameters, lr, betas, weight_decay=weight_decay, **kind)
    return torch.optim.SGD(parameters, lr, momentum, weight_decay=weight_decay, **kind)


def set_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr
