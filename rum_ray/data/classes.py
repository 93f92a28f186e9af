"""Classes of labelled sources: their names in order, and labels as indices of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.ids import canonical
from rum_ray.errors import DataError, first_ten

LAYOUTS = "a Parquet file, a folder of .parquet files, or a folder with a sub-folder per class"


@dataclass(frozen=True)
class Classes:
    """Classes that are decided elsewhere: by the training source, or by an earlier reading.

    Attributes:
        names: [K] names, in order.
        decided: the place of the decision, for messages.
        numbered: True if labels were integers there; None if they are what they are here.
        advice: end of the message about a class that is not among them.
    """

    names: tuple[str, ...]
    decided: str
    numbered: bool | None = None
    advice: str = "Correct the labels, or remove the images."

    @classmethod
    def of_model(cls, names: Sequence[str]) -> "Classes | None":
        """Return the classes that a model has outputs for; None without names."""
        advice = (
            "The model has no output for another class. Correct the labels or remove the images, "
            "or train a new model on all classes and name another --out."
        )
        return cls(tuple(names), "the model of the first request", advice=advice) if names else None


def indices(
    values: NDArray[Any], own: tuple[str, ...], root: Path, like: Classes | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return labels as indices of classes, and the names of the classes.

    Args:
        values: [N] names of classes, or integers.
        own: names of the classes of this source; empty for integers without names.
        root: file or folder, for messages.
        like: the classes, if they are decided elsewhere.
    """
    is_text = values.dtype == object
    if like is None:
        names = own or tuple(map(str, range(len(np.unique(values)))))
        y = _by_name(values, names) if is_text else values.astype(np.int64)
        check_labels(y, names, root)
        return y, names
    names = like.names
    if not len(values):
        raise DataError(f"{root} has no images. Give the path of {LAYOUTS}.")
    numbered = not is_text if like.numbered is None else like.numbered
    if not is_text and numbered and not own and any(map(str.isdecimal, names)):
        # A label could mean the index or the name of a class.
        own = tuple(map(str, range(len(names))))
    if not is_text and own and own != names:
        only = sorted({*own} ^ {*names})
        raise DataError(
            f"the classes of {root} are not those of {like.decided}; they differ in "
            f"{first_ten(only) if only else 'their order'}. Integer labels need the same names in "
            f"the same order."
        )
    if not is_text and (own or numbered):
        check_range(values, names, root)
        return values.astype(np.int64), names
    # Texts stay objects: an array of fixed width needs the longest text's bytes in each row.
    texts = values if is_text else values.astype(str)
    y = _by_name(texts, names)
    if (y < 0).any():
        unknown = np.unique(texts[y < 0])
        count = "1 class" if len(unknown) == 1 else f"{len(unknown)} classes"
        raise DataError(
            f"{root} has {count} that {like.decided} lacks: {first_ten(unknown)}. Its classes are "
            f"{first_ten(names)}. {like.advice}"
        )
    return y, names


def _by_name(values: NDArray[Any], names: Sequence[str]) -> NDArray[np.int64]:
    """Return the index of each name; -1 for a name that no class has."""
    exact = {name: at for at, name in enumerate(names)}
    alike = {canonical(name): at for at, name in enumerate(names)}
    places: Mapping[str, int] = {
        name: exact.get(name, alike.get(canonical(name), -1)) for name in np.unique(values)
    }
    return np.array([places[name] for name in values], dtype=np.int64)


def check_alike(names: Sequence[str], root: Path) -> None:
    """Refuse two classes whose names look alike and differ in the encoding of accents."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(canonical(name), name)
        if other != name:
            raise DataError(
                f"{root} has two classes whose names look alike: {other!a} and {name!a}. "
                f"Rename one of them, or join them."
            )


def check_labels(y: NDArray[np.int64], names: tuple[str, ...], where: Path) -> None:
    """Refuse labels outside 0 .. K - 1, classes without images, and a single class."""
    if len(names) < 2:
        raise DataError(
            f"{where} has {len(y)} images in {len(names)} classes; at least 2 classes are "
            f"required. Add images of another class."
        )
    check_range(y, names, where)
    missing = np.setdiff1d(np.arange(len(names)), y)
    if len(missing):
        raise DataError(
            f"class {missing[0]} ('{names[missing[0]]}') of {where} has no images. "
            f"Add images, or remove the class."
        )


def check_range(y: NDArray[np.int64], names: tuple[str, ...], where: Path) -> None:
    """Refuse labels outside 0 .. K - 1."""
    wrong = np.flatnonzero((y < 0) | (y >= len(names)))
    if len(wrong):
        raise DataError(
            f"row {wrong[0]} of {where} has label {y[wrong[0]]}; with {len(names)} classes, labels "
            f"must be 0 .. {len(names) - 1}. Renumber them."
        )
