"""The count of a campaign: faults by kind, and results that are not the undisturbed ones."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass
class Verdict:
    """Results that are wrong; 0 is right.

    Attributes:
        lost: results that are missing, or that were there before a start and are not after it.
        doubled: results that are there and do not belong there, and counts that are too high.
        differing: results with other bits.
    """

    lost: int = 0
    doubled: int = 0
    differing: int = 0

    def __iadd__(self, other: "Verdict") -> "Verdict":
        self.lost += other.lost
        self.doubled += other.doubled
        self.differing += other.differing
        return self


@dataclass
class Outcome:
    """The count of a campaign.

    Attributes:
        faults: injected faults, by kind.
        verdict: the results that are wrong.
        wrong: descriptions of ends that are not right.
    """

    faults: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    wrong: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Outcome") -> "Outcome":
        self.faults += other.faults
        self.verdict += other.verdict
        self.wrong += other.wrong
        return self


Enough: TypeAlias = Callable[[Outcome], bool]
"""Returns True if no other fault is to be injected; it receives the count so far."""
