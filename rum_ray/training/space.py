"""Search domains as plain values: what a hyperparameter may be."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Uniform:
    """A number in [low, high]."""

    low: float
    high: float


@dataclass(frozen=True)
class LogUniform:
    """A positive number in [low, high], uniform in its logarithm."""

    low: float
    high: float


@dataclass(frozen=True)
class Integers:
    """An integer in low .. high."""

    low: int
    high: int


@dataclass(frozen=True)
class Choice:
    """One of the options."""

    options: tuple[str | int | float, ...]


Domain: TypeAlias = Uniform | LogUniform | Integers | Choice
