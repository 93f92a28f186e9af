"""The circumstances of reading a data set; they are no options of an experiment file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Part: TypeAlias = Literal["train", "valid", "test"]
"""A part of a data source: D, V or T."""


@dataclass(frozen=True)
class Reading:
    """The circumstances of reading a data set.

    A data set's function may have a parameter `reading`. It is not a key of experiment files.

    Attributes:
        trained: ids of examples that are in D whatever the split, such as those to forget.
        cache: folder for pixels that took long to decode; None for no cache. It may be deleted.
        part: returns the part of an example from its id, in place of a draw. With the parts of the
            first request, files that are gone since then move no other example between D and V.
            Ids are those of `KnownIds.texts`.
        classes: names of the classes, in the order of a model's outputs, if a model decides them:
            examples of some may be gone. Empty if the data decide them.
        channels: channels of a model's inputs, likewise; None if the data decide them.
    """

    trained: Sequence[str] = ()
    cache: Path | None = None
    part: Callable[[str], Part] | None = None
    classes: Sequence[str] = ()
    channels: int | None = None
