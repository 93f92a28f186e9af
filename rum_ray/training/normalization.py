"""Normalisation of inputs: named statistics, and those of the user."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Normalization:
    """Statistics that a model normalises its inputs with.

    Attributes:
        mean: mean of inputs in [0, 1], per channel or one for all; the model subtracts it.
        std: standard deviation, likewise; the model divides by it.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            sizes = f"{len(self.mean)} and {len(self.std)}"
            raise ValueError(f"mean and std must have one number per channel, got {sizes}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {min(self.std)}")
        if min(self.mean) < 0 or max(*self.mean, *self.std) > 1:
            raise ValueError(
                f"mean and std are those of inputs in [0, 1], got {self.mean} and {self.std}. "
                "Divide those of inputs in 0 .. 255 by 255"
            )


STATISTICS: Mapping[str, Normalization] = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "none": Normalization((0.0,), (1.0,)),
}
"""Normalisations by their names in experiment files."""
