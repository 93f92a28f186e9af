"""Search domains of hyperparameters, as plain values."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

from rum_ray.seeding import Seed


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
class Rate(LogUniform):
    """A learning rate in [low, high] at a recipe with rate `AT`; other recipes scale the range."""

    AT: ClassVar[float] = 0.1

    def scaled(self, rate: float) -> LogUniform:
        """Return the range for a recipe with another learning rate."""
        return LogUniform(self.low * (rate / self.AT), self.high * (rate / self.AT))


@dataclass(frozen=True)
class Integers:
    """An integer in low .. high."""

    low: int
    high: int


@dataclass(frozen=True)
class Choice:
    """One of the options."""

    options: tuple[str | int | float, ...]


Range: TypeAlias = Uniform | LogUniform | Integers
Domain: TypeAlias = Range | Choice


@dataclass(frozen=True)
class Cell:
    """The part of each continuous range from which one of several plans is drawn.

    Each range has as many equal parts as there are plans, and each plan draws from another part: a
    Latin hypercube (McKay, Beckman and Conover, 1979). Which part is random for each question.

    Attributes:
        seed: root of the draws; the same for all plans.
        number: number of the plan, from 0.
        count: number of plans.
    """

    seed: Seed
    number: int
    count: int

    def share(self, question: str, share: float) -> float:
        """Return the place in the whole range, in [0, 1), of a place in this part of it."""
        part = (self.seed / question).permutation(self.count)[self.number]
        return (int(part) + share) / self.count


def describe(domain: Domain) -> str:
    """Return a domain as text, such as "0.001 to 0.2, logarithmic"."""
    if isinstance(domain, Choice):
        return ", ".join(map(str, domain.options))
    if isinstance(domain, Rate):
        low, high = domain.low / domain.AT, domain.high / domain.AT
        return f"{low:g} to {high:g} times the recipe's lr, logarithmic"
    logarithmic = ", logarithmic" if isinstance(domain, LogUniform) else ""
    return f"{domain.low:g} to {domain.high:g}{logarithmic}"


def contains(domain: Domain, value: Any) -> bool:
    """Return True if a value is in a domain."""
    if isinstance(domain, Choice):
        return value in domain.options
    number = int if isinstance(domain, Integers) else (int, float)
    has_type = isinstance(value, number) and not isinstance(value, bool)
    return has_type and domain.low <= value <= domain.high


def bounds(domain: Domain) -> tuple[Any, ...]:
    """Return the lower and the upper bound of a range, or every option of a choice."""
    return domain.options if isinstance(domain, Choice) else (domain.low, domain.high)


def nearest(domain: Domain, value: Any) -> Any:
    """Return the value of a domain nearest to `value`.

    In a choice with text options, the result is `value` if it is an option, else the first option.
    """
    if not isinstance(domain, Choice):
        return min(max(value, domain.low), domain.high)
    if value in domain.options or any(isinstance(option, str) for option in domain.options):
        return value if value in domain.options else domain.options[0]
    return min(domain.options, key=lambda option: abs(float(option) - value))


def at_share(domain: Domain, share: float) -> Any:
    """Return the value of a domain at a share in [0, 1) of its length."""
    if isinstance(domain, Choice):
        return domain.options[int(share * len(domain.options))]
    if isinstance(domain, Integers):
        return domain.low + int(share * (domain.high - domain.low + 1))
    if isinstance(domain, LogUniform):
        return domain.low * (domain.high / domain.low) ** share
    return domain.low + share * (domain.high - domain.low)


def snap_to_grid(domain: Domain, value: Any, count: int) -> Any:
    """Return the midpoint of the grid cell of a value; a range has `count` equal cells.

    Cells of a logarithmic range are equal in the logarithm, and midpoints of integers are integers.
    A value of a choice, or of a range of at most `count` integers, stays unchanged.
    """
    if isinstance(domain, Choice):
        return value
    if isinstance(domain, Integers):
        size = domain.high - domain.low + 1
        if size <= count:
            return value
        cell = (value - domain.low) * count // size
        first, after = (math.ceil(end * size / count) for end in (cell, cell + 1))
        return domain.low + (first + after - 1) // 2
    scaled = math.log if isinstance(domain, LogUniform) else float
    low, high = scaled(domain.low), scaled(domain.high)
    cell = min(count - 1, int((scaled(value) - low) / (high - low) * count))
    middle = low + (cell + 0.5) / count * (high - low)
    return math.exp(middle) if isinstance(domain, LogUniform) else middle
