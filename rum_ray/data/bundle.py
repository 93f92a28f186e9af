"""Labelled examples, and the data set they come in."""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from rum_ray.data.rows import checked_rows
from rum_ray.data.splits import stratified_split
from rum_ray.errors import ConfigError, DataError, did_you_mean
from rum_ray.seeding import Seed

Indices: TypeAlias = NDArray[np.int64]
"""Rows of a training set: int64, sorted, unique."""


@dataclass(frozen=True, eq=False)
class LabeledData:
    """Inputs and labels; row i is example i everywhere.

    Attributes:
        x: [N, ...] inputs, float32, or uint8 images [N, C, H, W] (0 to 255).
        y: [N] labels, int64, in 0 .. num_classes - 1.
        ids: [N] the examples' row numbers in their source, int64; 0 .. N - 1 by default.
        num_classes: number of classes; one more than the largest label by default.
        mean: per channel, of inputs in [0, 1]; subtracted inside the model.
        std: per channel; divided by inside the model.

    Raises:
        DataError: shapes do not fit, labels are no whole numbers or out of range, or ids negative.
    """

    x: Tensor
    y: Tensor
    ids: Indices = None  # type: ignore[assignment]
    num_classes: int = 0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        x, given = _tensor(self.x), _tensor(self.y)
        y = given.long()
        ids = np.arange(len(x)) if self.ids is None else checked_rows(self.ids, what="ids")
        if x.dtype != torch.uint8:
            x = x.float()
        if y.ndim != 1 or len(x) != len(y) or len(x) != len(ids):
            raise DataError(
                f"inputs, labels and ids must have one row an example; "
                f"their shapes are {tuple(x.shape)}, {tuple(y.shape)} and {ids.shape}."
            )
        if given.is_floating_point() and not torch.equal(given, y.to(given.dtype)):
            raise DataError("labels must be whole numbers; some have a fraction, or are NaN.")
        largest = int(y.max()) if len(y) else -1
        classes = self.num_classes or largest + 1
        if len(y) and (int(y.min()) < 0 or largest >= classes):
            raise DataError(
                f"labels must be in 0 .. {classes - 1}; found {int(y.min())} .. {largest}."
            )
        for name, value in (("x", x), ("y", y), ("ids", ids), ("num_classes", classes)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.y)

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled: arrays, which the processes of a machine can share."""
        return {**self.__dict__, "x": self.x.numpy(), "y": self.y.numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take arrays as they lie in shared memory, which cannot be written; nothing here does."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            tensors = {name: torch.from_numpy(state[name]) for name in ("x", "y")}
        self.__dict__.update(state, **tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    def take(self, rows: ArrayLike) -> "LabeledData":
        """Return the examples at `rows`, in that order; DataError if there is no such row."""
        rows = checked_rows(rows, len(self))
        index = torch.from_numpy(rows)
        return replace(self, x=self.x[index], y=self.y[index], ids=self.ids[rows])

    def without(self, rows: ArrayLike) -> "LabeledData":
        """Return all examples but those at `rows`; DataError if there is no such row."""
        return self.take(complement(rows, len(self)))

    def relabeled(self, y: ArrayLike) -> "LabeledData":
        """Return the same inputs with other labels."""
        return replace(self, y=torch.as_tensor(np.asarray(y)))


def complement(rows: ArrayLike, total: int) -> Indices:
    """Return the sorted rows of 0 .. total - 1 that are not in `rows`, which are such rows too."""
    keep = np.ones(total, dtype=bool)
    keep[checked_rows(rows, total)] = False
    return np.flatnonzero(keep)


@dataclass(frozen=True)
class LabelNoise:
    """A process that gives a share of the labels another class, drawn uniformly.

    Attributes:
        fraction: share of labels that are flipped, in [0, 1).
        seed: where the draws come from.
    """

    fraction: float
    seed: Seed

    def __call__(self, y: Tensor, num_classes: int, split: str) -> Tensor:
        """Return `y` [N] with floor(fraction * N) labels flipped; the draw belongs to `split`."""
        seed = self.seed / "label_noise" / split
        rows = (seed / "rows").choice(len(y), int(self.fraction * len(y)))
        shift = 1 + (seed / "labels").integers(len(rows), num_classes - 1)
        flipped = y.clone()
        flipped[rows] = (y[rows] + torch.from_numpy(shift)) % num_classes
        return flipped


@dataclass(frozen=True, eq=False)
class DataBundle:
    """A data set: D, V and T of the paper.

    Attributes:
        name: what reports call it.
        train: D, what the original model learned; with its labels as they were learned.
        valid: V, disjoint from D; searches are judged on it.
        test: T, disjoint from both; only reports read it.
        class_names: [K].
        label_noise: the process that D's labels went through, if it is known.
        true_labels: [N] D's labels before that process.
        reserved: a half of V that only held-out retraining learns, in no other part; None where it
            may have V.

    Raises:
        DataError: two examples of D have one id, so that a list of ids could not tell them apart.
    """

    name: str
    train: LabeledData
    valid: LabeledData
    test: LabeledData
    class_names: tuple[str, ...] = ()
    label_noise: LabelNoise | None = None
    true_labels: Tensor | None = None
    reserved: LabeledData | None = None

    def __post_init__(self) -> None:
        ids, counts = np.unique(self.train.ids, return_counts=True)
        if len(ids) < len(self.train):
            raise DataError(
                f"each example of {self.name} needs an id of its own; {ids[counts.argmax()]} is "
                f"that of {counts.max()} training examples."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.train.num_classes

    @property
    def flipped(self) -> NDArray[np.bool_] | None:
        """[N] which of D's labels are known to be wrong; None where the truth is unknown."""
        if self.true_labels is None:
            return None
        wrong: NDArray[np.bool_] = (self.train.y != self.true_labels).numpy()
        return wrong

    @property
    def heldout(self) -> LabeledData:
        """What held-out retraining learns: V or its reserved half, labelled as D was."""
        return self.nonmembers("valid" if self.reserved is None else "reserved")

    def with_train_ids(self, ids: Iterable[int]) -> "DataBundle":
        """Return the data with these examples of V in D, in the order of their ids.

        Who asks to forget an example says that it was learned.
        """
        wanted = set(ids)
        asked = np.array([int(number) in wanted for number in self.valid.ids], dtype=bool)
        if not asked.any():
            return self
        train, moved = self.train, self.valid.take(np.flatnonzero(asked))
        both = replace(
            train,
            x=torch.cat([train.x, moved.x]),
            y=torch.cat([train.y, moved.y]),
            ids=np.concatenate([train.ids, moved.ids]),
        )
        order = np.argsort(both.ids, kind="stable")
        truth = self.true_labels
        return replace(
            self,
            train=both.take(order),
            valid=self.valid.without(np.flatnonzero(asked)),
            true_labels=None if truth is None else torch.cat([truth, moved.y])[order],
        )

    def halved(self) -> "DataBundle":
        """Return the data with half of V reserved, the classes in proportion, always the same."""
        count = len(self.valid)
        sizes = (count - count // 2, count // 2)
        stay, go = stratified_split(self.valid.y, sizes, Seed(0) / "halves")
        return replace(self, valid=self.valid.take(stay), reserved=self.valid.take(go))

    def class_index(self, wanted: int | str) -> int:
        """Return the index of a class that is given by index or by name.

        Raises:
            ConfigError: there is no such class.
        """
        if isinstance(wanted, str):
            if wanted not in self.class_names:
                known = did_you_mean(wanted, self.class_names)
                raise ConfigError(f"{self.name} has no class '{wanted}'. {known}")
            return self.class_names.index(wanted)
        if not 0 <= wanted < self.num_classes:
            raise ConfigError(f"{self.name} has classes 0 .. {self.num_classes - 1}, got {wanted}.")
        return wanted

    def nonmembers(self, split: str) -> LabeledData:
        """Return V or T with labels that went through D's label process.

        An attack compares members with these; with clean labels it would tell the label process,
        not membership (docs/protocol.md 4). Accuracies use the clean split itself.
        """
        data: LabeledData = getattr(self, split)
        if self.label_noise is None:
            return data
        return data.relabeled(self.label_noise(data.y, data.num_classes, split))


def _tensor(values: object) -> Tensor:
    """Return `values` as a CPU tensor."""
    if isinstance(values, Tensor):
        return values.cpu()
    array = np.asarray(values)
    return torch.from_numpy(array if array.flags.writeable else array.copy())
