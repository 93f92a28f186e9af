"""Influence unlearning: one Newton step that removes the effect of the forget set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rum_ray.data.bundle import LabeledData
from rum_ray.training.domains import Domain, LogUniform
from rum_ray.training.recipe import check_choice, check_not_negative, check_positive
from rum_ray.training.runtime import Runtime, check_finite
from rum_ray.unlearning.base import FORWARD_ONLY, UnlearningTask, check_task
from rum_ray.unlearning.gradients import (
    by_parameter,
    differentiable,
    directional_derivatives,
    fisher_product,
    mean_gradient,
)

SAMPLES = 1002
"""Number of retain examples, from the first on, that estimate the Fisher information."""
WEIGHT = 1000.0
"""N of the released recursion: weight of the identity relative to one example."""


@dataclass(frozen=True, kw_only=True)
class Influence:
    """Take one step along the inverse Fisher information times the forget set's gradient.

    Formula: theta + alpha * k, with v = N_S / (N_S + N_R) * (grad CE(S) - grad CE(R)) and k = v -
    c * g_0 ("official") or k = (damping * I + F)^-1 v ("fisher").

    The gradients g_i are those of the first 1,002 retain examples, or of all if there are fewer, in
    eval mode. "official" is the recursion of the paper's code. It only ever scales g_0, so its
    inverse removes a multiple of one gradient. With N = 1000, a_i = g_0 . g_i, b_i = v . g_i, s =
    1, c = 0, each example i >= 1 updates t = s a_i, c += s (b_i - c a_i) / (N + t), s *= N / (N +
    t). "fisher" uses the full matrix F = mean g_i g_i^T, and conjugate gradients for the inverse.

    Reference: Izzo et al., "Approximate data deletion from machine learning models", AISTATS 2021,
    https://arxiv.org/abs/2002.10077; in this form Jia et al., "Model sparsity can simplify machine
    unlearning", NeurIPS 2023, https://arxiv.org/abs/2304.04934.

    Attributes:
        alpha: length of the step.
        mode: "official" as in the paper's code, or "fisher" with the full inverse.
        damping: constant that is added to the diagonal of F; "fisher" only.
        iterations: number of conjugate gradient iterations; "fisher" only.

    Example:
        >>> import rum_ray as rr
        >>> round(rr.Influence().cost(forget=40, retain=90))
        189
        >>> round(rr.Influence(mode="fisher").cost(forget=40, retain=90))
        1330
    """

    name: ClassVar[str] = "influence"
    title: ClassVar[str] = "influence"
    space: ClassVar[Mapping[str, Domain]] = {"alpha": LogUniform(1.0, 100.0)}

    alpha: float = 1.0
    mode: Literal["official", "fisher"] = "official"
    damping: float = 1.0
    iterations: int = 10

    def __post_init__(self) -> None:
        check_not_negative(self, "alpha")
        check_positive(self, "damping", "iterations")
        check_choice(self, "mode", "official", "fisher")

    def __call__(self, model: nn.Module, task: UnlearningTask, runtime: Runtime) -> nn.Module:
        """Return the unlearned model: a new model, in eval mode.

        Raises:
            PlanError: the forget set or the retain set is empty.
            DivergedError: a weight is not finite.
        """
        check_task(task, self.name)
        result = differentiable(model, runtime)
        forget, retain = task.forget, task.retain
        share = len(forget) / (len(forget) + len(retain))
        v = share * (mean_gradient(result, forget) - mean_gradient(result, retain))
        samples = retain.take(range(min(SAMPLES, len(retain))))
        inverse = released_inverse if self.mode == "official" else self._inverse
        step = by_parameter(self.alpha * inverse(result, samples, v), result)
        with torch.no_grad():
            for name, parameter in result.named_parameters():
                parameter.add_(step[name])
        check_finite(result, self.name, f"Lower alpha, which is {self.alpha}.")
        return result

    def _inverse(self, model: nn.Module, samples: LabeledData, v: Tensor) -> Tensor:
        """Return (damping * I + F)^-1 v [P], by conjugate gradients from 0."""
        k, residual, direction = torch.zeros_like(v), v, v
        size = residual @ residual
        for _ in range(self.iterations):
            if not size:
                break
            image = self.damping * direction + fisher_product(model, samples, direction)
            length = size / (direction @ image)
            k, residual = k + length * direction, residual - length * image
            size, before = residual @ residual, size
            direction = residual + size / before * direction
        return k

    def cost(self, forget: int, retain: int) -> float:
        """Return |S| + |R| + 2/3 (n - 1), or + 4/3 iterations n if "fisher"; n = min(1002, |R|).

        "official" makes two forward passes over n - 1 examples, "fisher" one forward and one
        forward and backward over n in each iteration.
        """
        samples = min(SAMPLES, retain)
        if self.mode == "official":
            return forget + retain + 2 * FORWARD_ONLY * (samples - 1)
        return forget + retain + self.iterations * (1 + FORWARD_ONLY) * samples


def released_inverse(model: nn.Module, samples: LabeledData, v: Tensor) -> Tensor:
    """Return k [P] of the released recursion, from two scalars per example.

    Args:
        model: a model in eval mode.
        samples: retain examples; g_0 is the gradient of the first.
        v: [P] vector to multiply by the inverse.
    """
    first = mean_gradient(model, samples.take([0]))
    others = samples.take(range(1, len(samples)))
    along = (directional_derivatives(model, others, vector) for vector in (first, v))
    scale, removed = 1.0, 0.0
    for a, b in zip(*(slopes.tolist() for slopes in along), strict=True):
        total = WEIGHT + scale * a
        removed += scale * (b - removed * a) / total
        scale *= WEIGHT / total
    return v - removed * first
