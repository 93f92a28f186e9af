"""Bad teacher: match the predictions of an untrained network on the forget set."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.errors import PlanError
from rum_ray.seeding import Seed
from rum_ray.training.domains import Domain, Uniform
from rum_ray.training.losses import distillation_kl
from rum_ray.training.recipe import check_fraction, check_positive
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import FORWARD_ONLY, EpochData, GradientUnlearner, UnlearningTask


@dataclass(frozen=True, kw_only=True)
class BadTeacher(GradientUnlearner):
    """Imitate an untrained network on the forget set, and the original model on the retain set.

    Formula: KL(softmax(f_t / T) || softmax(f / T)), with f_t the incompetent teacher on S and the
    competent teacher on R'. The incompetent teacher has fresh random weights; the competent teacher
    is the model before unlearning.

    An epoch is one shuffled pass over S and R', a random part of R that is drawn once. Both
    teachers are frozen, in eval mode.

    Reference: Chundawat et al., "Can bad teaching induce forgetting? Unlearning in deep networks
    using an incompetent teacher", AAAI 2023, https://arxiv.org/abs/2205.08096.

    Attributes:
        temperature: T, softness of both distributions.
        retain_share: |R'| / |R|, in [0, 1].

    Example:
        >>> import rum_ray as rr
        >>> round(rr.BadTeacher(epochs=2).cost(forget=40, retain=90))
        223
    """

    name: ClassVar[str] = "bad_teacher"
    title: ClassVar[str] = "Bad Teacher"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "retain_share": Uniform(0.1, 1.0),
    }

    temperature: float = 1.0
    retain_share: float = 0.3

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, "temperature")
        check_fraction(self, "retain_share")

    @override
    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        incompetent(student, runtime.seed)  # raises PlanError before the first step
        return {}

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        bad = incompetent(teacher, data.runtime.seed / "teacher").to(data.runtime.device)
        for x, is_forget in data.marked(self._sample(len(data.task.retain))):
            target = torch.where(is_forget[:, None] == 1, bad(x), teacher(x))
            yield distillation_kl(model(x), target, self.temperature) / self.temperature**2

    def _sample(self, retain: int) -> int:
        """Return |R'|."""
        return int(self.retain_share * retain)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * (|S| + |R'|) * 5/3: the two teachers only go forward."""
        return self.epochs * (forget + self._sample(retain)) * (1 + 2 * FORWARD_ONLY)


def incompetent(model: nn.Module, seed: Seed) -> nn.Module:
    """Return a copy of a model, on the CPU, with weights that each layer initializes again.

    Raises:
        PlanError: a layer with weights has no method `reset_parameters`.
    """
    fresh = copy.deepcopy(model).cpu()
    with seed.torch():
        for name, layer in fresh.named_modules():
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
            elif list(layer.parameters(recurse=False)):
                raise PlanError(
                    f"bad_teacher: the layer '{name}' ({type(layer).__name__}) has weights but no "
                    "method to initialize them. Give it a method reset_parameters()."
                )
    return fresh
