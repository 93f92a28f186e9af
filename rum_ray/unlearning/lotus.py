"""LoTUS: smooth the predictions on the forget set until it looks unseen."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.data.batches import PREDICTION_BATCH, to_float
from rum_ray.data.bundle import LabeledData
from rum_ray.seeding import Seed
from rum_ray.training.domains import Domain, Uniform
from rum_ray.training.recipe import check_fraction, check_not_negative
from rum_ray.unlearning.base import FORWARD_ONLY, EpochData, GradientUnlearner


@dataclass(frozen=True, kw_only=True)
class LoTUS(GradientUnlearner):
    """Follow tempered random draws of the original model on the forget set, and its classes on R.

    Formula: -sum over classes of t log softmax(f), with t = softmax((f_t + g) / T) on S, and on R'
    the class with the largest f_t + g. f_t is the model before unlearning and g noise from the
    Gumbel distribution, so that t on R' is a draw from softmax(f_t). T = exp(alpha * (a - u)), with
    a the accuracy of the model on S at the start of the epoch, and u that of the original on unseen
    data.

    An epoch is one shuffled pass over S and R', a random part of R that is drawn once. The paper
    measures u on validation data, which an unlearner does not get, so u is a setting here. The
    authors' code stops when a is 0.01 below u; here T is then below 1, which sharpens t again.

    Reference: Spartalis et al., "LoTUS: large-scale machine unlearning with a taste of
    uncertainty", CVPR 2025, https://arxiv.org/abs/2503.18314.

    Attributes:
        alpha: strength of the temperature.
        unseen_accuracy: u, accuracy of the original on unseen data; 0 for a class as a whole.
        retain_share: |R'| / |R|, in [0, 1].

    Example:
        >>> import rum_ray as rr
        >>> round(rr.LoTUS(epochs=3).cost(forget=40, retain=90))
        308
    """

    name: ClassVar[str] = "lotus"
    title: ClassVar[str] = "LoTUS"
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "alpha": Uniform(0.5, 8.0),
        "unseen_accuracy": Uniform(0.0, 1.0),
        "retain_share": Uniform(0.1, 1.0),
    }

    alpha: float = 1.0
    unseen_accuracy: float = 0.9
    retain_share: float = 0.3

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self, "alpha")
        check_fraction(self, "unseen_accuracy", "retain_share")

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        task, seed = data.task, data.runtime.seed
        accuracy = _accuracy(model, task.forget, data.runtime.device)
        temperature = math.exp(self.alpha * (accuracy - self.unseen_accuracy))
        batches = data.marked(self._sample(len(task.retain)))
        for number, (x, is_forget) in enumerate(batches):
            answers = teacher(x)
            noisy = answers + gumbel(answers, seed / epoch / "gumbel" / number)
            drawn = F.one_hot(noisy.argmax(1), noisy.shape[1]).to(noisy.dtype)
            soft = (noisy / temperature).softmax(1)
            target = torch.where(is_forget[:, None] == 1, soft, drawn)
            yield -(target * model(x).log_softmax(1)).sum(1).mean()

    def _sample(self, retain: int) -> int:
        """Return |R'|."""
        return int(self.retain_share * retain)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * ((|S| + |R'|) * 4/3 + |S| / 3); the last term is the accuracy on S."""
        taught = (forget + self._sample(retain)) * (1 + FORWARD_ONLY)
        return self.epochs * (taught + forget * FORWARD_ONLY)


def gumbel(like: Tensor, seed: Seed) -> Tensor:
    """Return draws of the Gumbel distribution, with the shape and device of `like`."""
    uniform = torch.from_numpy(seed.uniform(like.numel())).view(like.shape)
    tiny = torch.finfo(torch.float64).tiny
    return -(-uniform.clamp(min=tiny).log()).log().to(like)


def _accuracy(model: nn.Module, data: LabeledData, device: torch.device) -> float:
    """Return the accuracy of a model in train mode as if it were in eval mode."""
    model.eval()
    right = 0
    with torch.no_grad():
        for x, y in zip(
            data.x.split(PREDICTION_BATCH), data.y.split(PREDICTION_BATCH), strict=True
        ):
            right += int((model(to_float(x.to(device))).argmax(1).cpu() == y).sum())
    model.train()
    return right / len(data)
