"""Datamodel matching: predict the outputs of a retrained model, and match them.

The leave-k-out pool is the data of the datamodel. A study predicts the shifts of its subsets, and
an `UnlearningTask` carries them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from rum_ray.data.bundle import Indices
from rum_ray.errors import PlanError, ScoreError
from rum_ray.training.domains import Domain, Rate, Uniform
from rum_ray.training.recipe import check_fraction
from rum_ray.training.runtime import Runtime
from rum_ray.unlearning.base import FORWARD_ONLY, EpochData, GradientUnlearner, UnlearningTask

CLOSEST = 2.0**-12
"""Least distance to 0 and 1 of a probability that the pool recorded as float16."""
LIMIT = float(np.log(1 / CLOSEST - 1))
"""Largest output of the pool, in logits."""
COLUMNS, DECIMALS = 4096, 4
"""Examples that are fitted at a time; decimals of a shift."""
RIDGES = (*(10.0**power for power in range(-3, 7)), np.inf)
"""Penalties of the datamodel to choose from."""


@dataclass(frozen=True, kw_only=True)
class DatamodelMatching(GradientUnlearner):
    """Match the outputs that a datamodel predicts for a model trained without the forget set.

    Formula: mean of (f(x) - f_o(x) - shift(x))^2 over batches of S and R', a random part of R that
    is drawn once. f is the logit of the label's probability, and f_o that of the model before
    unlearning, on S limited to +-8.3, the range of the pool's records. shift(x) = -[x in S] a(x) -
    sum of b_i(x) over i in S, of the datamodel f(x) = c(x) + a(x) m_x + sum over S of b_i(x) m_i.
    m_i is 1 for a model that was trained on example i, and else 0. c, a and b are fitted to the
    leave-k-out models by least squares, with a ridge penalty on b. Its strength has the least
    leave-one-out error on S; an infinite one leaves a alone.

    A study needs `score.confidences: true`. The paper predicts and matches all logits, and has
    every example of D as a regressor. A pool of some hundred models allows those of S at most.

    Reference: Georgiev et al., "Attribute-to-delete: machine unlearning via datamodel matching",
    ICLR 2025, https://arxiv.org/abs/2410.23232.

    Attributes:
        retain_share: |R'| / |R|, in [0, 1].

    Example:
        >>> import rum_ray as rr
        >>> round(rr.DatamodelMatching(epochs=2).cost(forget=40, retain=90))
        179
    """

    name: ClassVar[str] = "datamodel_matching"
    title: ClassVar[str] = "Datamodel matching"
    foreseeing: ClassVar[bool] = True
    space: ClassVar[Mapping[str, Domain]] = {
        **GradientUnlearner.space,
        "lr": Rate(1e-4, 0.02),
        "retain_share": Uniform(0.1, 1.0),
    }

    lr: float = 0.001
    retain_share: float = 0.3

    @override
    def __post_init__(self) -> None:
        super().__post_init__()
        check_fraction(self, "retain_share")

    @override
    def prepare(
        self, student: nn.Module, task: UnlearningTask, runtime: Runtime
    ) -> Mapping[str, Tensor]:
        if task.shift is None:
            raise PlanError(
                f"{self.name}: the task has no predicted shifts. A study predicts them, with "
                "score.name: memorization and score.confidences: true; a request to forget and a "
                "shadow model have none. Choose another unlearner there."
            )
        return {}

    @override
    def losses(
        self, model: nn.Module, teacher: nn.Module, data: EpochData, epoch: int
    ) -> Iterator[Tensor]:
        task, device, forget = data.task, data.runtime.device, len(data.task.forget)
        retain = len(task.retain)
        rows = (data.runtime.seed / "retain").choice(retain, self._sample(retain))
        places = np.concatenate([np.arange(forget), forget + rows])
        shift = torch.from_numpy(np.asarray(task.shift, np.float32)[places]).to(device)
        labels = torch.cat([task.forget.y, task.retain.y[rows]]).to(device)
        # A place stands for the label, so that a batch finds its labels and shifts.
        part = task.retain.take(rows)
        numbers = forget + np.arange(len(rows))
        part = replace(part, y=torch.from_numpy(numbers), num_classes=len(places))
        marked = replace(data, task=replace(task, retain=part))
        for x, place in marked.mixed(torch.arange(forget)):
            before = label_logit(teacher(x), labels[place])
            limited = torch.where(place < forget, before.clamp(-LIMIT, LIMIT), before)
            yield F.mse_loss(label_logit(model(x), labels[place]), limited + shift[place])

    def _sample(self, retain: int) -> int:
        """Return |R'|."""
        return int(self.retain_share * retain)

    @override
    def cost(self, forget: int, retain: int) -> float:
        """Return epochs * (|S| + |R'|) * 4/3: the model before unlearning only goes forward."""
        return self.epochs * (forget + self._sample(retain)) * (1 + FORWARD_ONLY)


def label_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """Return logit p_y [B] from logits [B, K]: that of the label less those of all others."""
    logits = logits.float()
    is_label = F.one_hot(labels, logits.shape[1]).bool()
    return logits[is_label] - logits.masked_fill(is_label, -torch.inf).logsumexp(dim=1)


def recorded_outputs(confidences: NDArray[np.float16]) -> NDArray[np.float64]:
    """Return the logits of recorded probabilities, in +-`LIMIT`."""
    p = np.clip(confidences.astype(np.float64), CLOSEST, 1 - CLOSEST)
    return np.asarray(np.log(p / (1 - p)))


def predicted_shifts(
    included: NDArray[np.bool_], outputs: NDArray[np.floating[Any]], groups: Sequence[Indices]
) -> NDArray[np.float32]:
    """Return how the outputs change if a group is left out, [G, N]; shifts of groups add up.

    Args:
        included: [M, N] model m was trained on example n.
        outputs: [M, N] output of model m on example n.
        groups: rows of the parts of S, disjoint.

    Raises:
        ScoreError: an example of S is in the training set of every model, or of none.

    Example:
        >>> import numpy as np
        >>> included = np.array([[1, 1], [0, 1], [1, 1], [0, 1]], dtype=bool)
        >>> outputs = np.array([[3.0, 1.0], [0.0, 1.0], [5.0, 1.0], [2.0, 1.0]])
        >>> predicted_shifts(included, outputs, [np.array([0])])
        array([[-3.,  0.]], dtype=float32)
    """
    rows, total = np.concatenate(groups), included.shape[1]
    z = included[:, rows].astype(np.float64)
    seen = z.mean(axis=0)
    unknown = int(((seen == 0) | (seen == 1)).sum())
    if unknown:
        raise ScoreError(
            f"{unknown} of {len(rows)} examples to forget are in the training set of each of the "
            f"{len(z)} leave-k-out models, or of none, so nothing tells their own effect. Raise "
            "score.models."
        )
    gram, identity = z @ z.T, np.eye(len(z))
    weights = {r: np.asarray(np.linalg.inv(identity + gram / r), np.float64) for r in RIDGES}
    best = min(RIDGES, key=lambda ridge: _left_out(weights[ridge], z, outputs[:, rows]))
    others = np.stack([included[:, group].sum(axis=1) / best for group in groups])
    found, own = np.zeros((len(groups), total)), np.zeros(total)
    for start in range(0, total, COLUMNS):
        part = slice(start, start + COLUMNS)
        fitted = _fit(weights[best], included[:, part].astype(np.float64), outputs[:, part])
        found[:, part] -= others @ fitted[0]
        own[part] = fitted[1]
    for shift, group in zip(found, groups, strict=True):
        shift[group] -= own[group]
    # Shifts are in keys, and the last bits of a product depend on the number of threads.
    return found.round(DECIMALS).astype(np.float32)


def _fit(
    weight: NDArray[np.float64], z: NDArray[np.float64], y: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], ...]:
    """Fit c + a z + noise with the inverse covariance `weight` [M, M], per column of z and y.

    Returns:
        The weighted residuals [M, N], a [N], and the diagonal [M, N] of the matrices that take y to
        its residuals. a is 0 where z is constant.
    """
    one, wz, wy = weight.sum(axis=0), weight @ z, weight @ y
    total, cross, square = one.sum(), one @ z, (z * wz).sum(axis=0)
    determinant = total * square - cross**2
    known = determinant > 1e-9 * total * square
    determinant = np.where(known, determinant, 1.0)
    own = np.where(known, total * (z * wy).sum(axis=0) - cross * (one @ y), 0.0) / determinant
    constant = (one @ y - cross * own) / total
    residuals = wy - one[:, None] * constant - wz * own
    apart = total * wz - one[:, None] * cross
    fitted = one[:, None] ** 2 / total + np.where(known, apart**2 / (total * determinant), 0.0)
    return residuals, own, np.diag(weight)[:, None] - fitted


def _left_out(
    weight: NDArray[np.float64], z: NDArray[np.float64], y: NDArray[np.floating[Any]]
) -> float:
    """Return the mean squared error on each model of the fit to all others."""
    residuals, _, diagonal = _fit(weight, z, y)
    # The fit to the others is not unique if a model alone has an example, or alone lacks it.
    sound = diagonal > 1e-9 * np.diag(weight)[:, None]
    errors = residuals[sound] / diagonal[sound]
    return float(errors @ errors / max(1, len(errors)))
