"""Labelled examples, and a data set with its training, validation and test part."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from rum_ray.data.ids import KnownIds, Names, canonical
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
        ids: [N] row numbers of the examples in their source, int64; 0 .. N - 1 by default.
        num_classes: number of classes; the largest label plus one by default.
        mean: mean of inputs in [0, 1], per channel; the model subtracts it.
        std: standard deviation of inputs in [0, 1], per channel; the model divides by it.
        names: [N] names of the examples in their source; None if they have row numbers only. Names
            are no part of a key.

    Raises:
        DataError: shapes differ, labels are not integers or are out of range, or an id is negative.

    Example:
        >>> data = LabeledData(x=[[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], y=[0, 1, 1])
        >>> len(data), data.shape, data.num_classes
        (3, (2,), 2)
        >>> data.take([2, 0]).ids
        array([2, 0])
        >>> data.without([1]).y.tolist()
        [0, 1]
    """

    x: Tensor
    y: Tensor
    ids: Indices = None  # type: ignore[assignment]
    num_classes: int = 0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    names: Names | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        x, labels = _tensor(self.x), _tensor(self.y)
        y = labels.long()
        ids = np.arange(len(x)) if self.ids is None else checked_rows(self.ids, what="ids")
        if x.dtype != torch.uint8:
            x = x.float()
        if y.ndim != 1 or len(x) != len(y) or len(x) != len(ids):
            raise DataError(
                f"inputs, labels and ids must have one row per example; "
                f"got shapes {tuple(x.shape)}, {tuple(y.shape)} and {ids.shape}."
            )
        if labels.is_floating_point() and not torch.equal(labels, y.to(labels.dtype)):
            raise DataError("labels must be integers; some have a fractional part or are NaN.")
        largest = int(y.max()) if len(y) else -1
        classes = self.num_classes or largest + 1
        if len(y) and (int(y.min()) < 0 or largest >= classes):
            raise DataError(
                f"labels must be in 0 .. {classes - 1}; got {int(y.min())} .. {largest}."
            )
        for name, value in (("x", x), ("y", y), ("ids", ids), ("num_classes", classes)):
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.y)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle tensors as arrays, which processes of one machine can share."""
        return {**self.__dict__, "x": self.x.numpy(), "y": self.y.numpy()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Wrap arrays in shared memory without a copy; they are read-only, and never written."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            tensors = {name: torch.from_numpy(state[name]) for name in ("x", "y")}
        self.__dict__.update(state, **tensors)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x.shape[1:])

    def take(self, rows: ArrayLike) -> "LabeledData":
        """Return the examples at `rows`, in that order; DataError if a row does not exist."""
        rows = checked_rows(rows, len(self))
        index = torch.from_numpy(rows)
        names = None if self.names is None else self.names.take(rows)
        return replace(self, x=self.x[index], y=self.y[index], ids=self.ids[rows], names=names)

    @property
    def known_ids(self) -> KnownIds:
        """The ids of the examples; `known_ids.rows(list)` finds the rows of a list."""
        return KnownIds(self.ids, self.names)

    def without(self, rows: ArrayLike) -> "LabeledData":
        """Return all examples except those at `rows`; DataError if a row does not exist."""
        return self.take(complement(rows, len(self)))

    def relabeled(self, y: ArrayLike) -> "LabeledData":
        """Return the same inputs with other labels."""
        return replace(self, y=torch.as_tensor(np.asarray(y)))


def complement(rows: ArrayLike, total: int) -> Indices:
    """Return the sorted rows in 0 .. total - 1 that are not in `rows`."""
    keep = np.ones(total, dtype=bool)
    keep[checked_rows(rows, total)] = False
    return np.flatnonzero(keep)


@dataclass(frozen=True)
class LabelNoise:
    """Label noise: a share of the labels is replaced by another class, drawn uniformly.

    Attributes:
        fraction: share of flipped labels, in [0, 1).
        seed: seed of the draws.
    """

    fraction: float
    seed: Seed

    def __call__(self, y: Tensor, num_classes: int, split: str) -> Tensor:
        """Return `y` [N] with floor(fraction * N) labels flipped; each `split` has its own draw."""
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
        name: name in reports.
        train: D, the training set of the original model, with the labels it was trained on.
        valid: V, disjoint from D; searches evaluate plans on it.
        test: T, disjoint from both; only reports use it.
        class_names: [K] names of the classes.
        label_noise: the noise process applied to D's labels, if known.
        true_labels: [N] D's labels before that process.
        reserved: half of V, used by held-out retraining alone and in no other part; None where
            held-out retraining may use all of V.

    Raises:
        DataError: two examples of D have the same id, so that a list of ids would be ambiguous.

    Example:
        >>> from rum_ray.data import load
        >>> bundle = load("digits")
        >>> bundle.num_classes, bundle.train.shape
        (10, (1, 8, 8))
        >>> int(bundle.flipped.sum())  # wrong training labels: 10 % of 1,200
        120
        >>> DataBundle("mine", bundle.train, bundle.valid, bundle.test).flipped is None
        True
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
                f"ids of training examples must be unique, but {counts.max()} training examples "
                f"of {self.name} have id {ids[counts.argmax()]}."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.train.num_classes

    @property
    def flipped(self) -> NDArray[np.bool_] | None:
        """[N] True where a label of D is known to be wrong; None if true labels are unknown."""
        if self.true_labels is None:
            return None
        wrong: NDArray[np.bool_] = (self.train.y != self.true_labels).numpy()
        return wrong

    @property
    def heldout(self) -> LabeledData:
        """Training set of held-out retraining: V or its reserved half, with D's label noise."""
        return self.nonmembers("valid" if self.reserved is None else "reserved")

    def with_trained(self, entries: Sequence[str]) -> "DataBundle":
        """Return the data with listed examples of V moved to D.

        A request to forget an example implies that it was a training example. Entries that V does
        not have are left alone.
        """
        found = self.valid.known_ids.find(entries)
        return self.with_train_ids(self.valid.ids[row] for rows in found for row in rows)

    def with_train_ids(self, ids: Iterable[int]) -> "DataBundle":
        """Return the data with these examples of V moved to D; D is sorted by id."""
        requested = set(map(int, ids))
        listed = np.array([int(number) in requested for number in self.valid.ids], dtype=bool)
        if not listed.any():
            return self
        train, moved = self.train, self.valid.take(np.flatnonzero(listed))
        both = replace(
            train,
            x=torch.cat([train.x, moved.x]),
            y=torch.cat([train.y, moved.y]),
            ids=np.concatenate([train.ids, moved.ids]),
            names=None if train.names is None else train.names.join(moved.names),
        )
        order = np.argsort(both.ids, kind="stable")
        truth = self.true_labels
        return replace(
            self,
            train=both.take(order),
            valid=self.valid.without(np.flatnonzero(listed)),
            true_labels=None if truth is None else torch.cat([truth, moved.y])[order],
        )

    def halved(self) -> "DataBundle":
        """Return the data with half of V reserved: a stratified split with a fixed seed."""
        count = len(self.valid)
        sizes = (count - count // 2, count // 2)
        valid, reserved = stratified_split(self.valid.y, sizes, Seed(0) / "halves")
        return replace(self, valid=self.valid.take(valid), reserved=self.valid.take(reserved))

    def class_index(self, label: int | str) -> int:
        """Return the index of a class from its name or its index.

        A number is a name where a class has a number as its name: with class folders 0 .. 11, whose
        sorted order is 0, 1, 10, 11, 2 and so on, the class 2 is the folder 2.

        Raises:
            ConfigError: the class does not exist, or two classes could be meant.
        """
        numbered = {at: int(name) for at, name in enumerate(self.class_names) if name.isdecimal()}
        if isinstance(label, str):
            found = [at for at, name in enumerate(self.class_names) if name == label]
            alike = canonical(label)
            found = found or [at for at, n in enumerate(self.class_names) if canonical(n) == alike]
        elif numbered:
            found = [at for at, name in enumerate(self.class_names) if name == str(label)]
            found = found or [at for at, number in numbered.items() if number == label]
        else:
            found = [label] if 0 <= label < self.num_classes else []
        if len(found) == 1:
            return found[0]
        numbers = tuple(map(str, range(self.num_classes)))
        if not isinstance(label, str) and (self.class_names or numbers) == numbers:
            allowed = f"0 .. {self.num_classes - 1}"
            raise ConfigError(f"{self.name} has classes {allowed}, got {label}.")
        known = did_you_mean(str(label), self.class_names)
        what = "several classes" if found else "no class"
        raise ConfigError(f"{self.name} has {what} '{label}'. {known}")

    def nonmembers(self, split: str) -> LabeledData:
        """Return V or T with the label noise of D.

        Attacks compare members with these nonmembers. With clean labels, an attack would detect
        the label noise, not membership (docs/protocol.md 4). Accuracies use the clean split.
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
