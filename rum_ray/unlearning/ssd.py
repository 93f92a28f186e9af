"""Selective synaptic dampening: shrink the weights that are important to the forget set."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import torch
from torch import Tensor, nn

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import LabeledData
from rum_ray.training.domains import Domain, LogUniform
from rum_ray.training.recipe import check_not_negative, check_positive
from rum_ray.training.runtime import Runtime, check_finite
from rum_ray.unlearning.base import UnlearningTask, check_task, concat_sets
from rum_ray.unlearning.gradients import batch_gradients, by_parameter, differentiable


@dataclass(frozen=True, kw_only=True)
class SSD:
    """Shrink, once and without training, the weights that are more important to S than to all of D.

    Formula: where I_S > alpha * I_D, theta becomes theta * min(1, (dampening * I_D /
    I_S)^exponent); I is the mean over batches of (grad CE(b))^2, and D is S and R together.

    The gradients are those of whole batches, as in the authors' code, in eval mode. With
    `batch_size` 1 they are those of single examples, and I is the diagonal of the Fisher
    information.

    Reference: Foster, Schoepf and Brintrup, "Fast machine unlearning without retraining through
    selective synaptic dampening", AAAI 2024, https://arxiv.org/abs/2308.07707.

    Attributes:
        alpha: ratio I_S / I_D above which a weight is shrunk; the paper's selection weighting.
        dampening: the paper's lambda; a lower value gives smaller weights.
        exponent: exponent of the ratio of importances.
        batch_size: number of examples per gradient.

    Example:
        >>> import rum_ray as rr
        >>> rr.SSD().cost(forget=40, retain=90)
        170.0
    """

    key_name: ClassVar[str] = "Ssd"
    name: ClassVar[str] = "ssd"
    title: ClassVar[str] = "SSD"
    space: ClassVar[Mapping[str, Domain]] = {
        "alpha": LogUniform(1.0, 100.0),
        "dampening": LogUniform(0.1, 10.0),
    }

    alpha: float = 10.0
    dampening: float = 1.0
    exponent: float = 1.0
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_positive(self, "batch_size")
        check_not_negative(self, "alpha", "dampening", "exponent")

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return the unlearned model: a new model, in eval mode.

        Raises:
            PlanError: the forget set or the retain set is empty.
            DivergedError: a weight is not finite.
        """
        check_task(task, self.name)
        result = differentiable(model, runtime)
        forget = self._importance(result, task.forget, runtime / "forget")
        whole = self._importance(result, concat_sets(task, task.forget.y), runtime / "whole")
        ratio = (self.dampening * whole / forget) ** self.exponent
        factor = torch.where(forget > self.alpha * whole, ratio.clamp(max=1), 1.0)
        with torch.no_grad():
            for name, part in by_parameter(factor, result).items():
                result.get_parameter(name).mul_(part)
        check_finite(result, self.name, "Check the weights of the input model.")
        return result

    def _importance(self, model: nn.Module, data: LabeledData, runtime: Runtime) -> Tensor:
        """Return the mean over batches of the squared gradient [P]."""
        batches = list(Batches(data, self.batch_size, runtime.device).epoch(runtime.seed))
        gradients = batch_gradients(model, ((x, y) for _, x, y in batches))
        return reduce(torch.add, (g**2 for g in gradients)) / len(batches)

    def cost(self, forget: int, retain: int) -> float:
        """Return 2 |S| + |R|: one pass over S, and one over D."""
        return float(2 * forget + retain)
