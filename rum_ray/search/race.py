"""The race of a search: a plan is tried on one seed, and only the best go on to the next ones.

One (plan, seed) is one unit. Every decision is a function of the results of closed batches, in the
order of proposal. So it depends neither on the number of workers nor on who finishes first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

KEPT = 3
"""One of so many plans goes on to another seed."""


@dataclass(frozen=True)
class Unit:
    """One plan on one seed.

    Attributes:
        trial: number of the plan, in the order of proposal.
        seed: number of the search seed.
    """

    trial: int
    seed: int


def promoted(results: Sequence[Sequence[float]], seeds: int) -> list[Unit]:
    """Return the units that are due after a batch: the best plans on their next seeds.

    A plan goes on while the mean over its seeds so far is among the best third of all plans, up to
    the last seed. On equal means, the earlier plan goes first.

    Args:
        results: J by seed, of each plan, in the order of proposal.
        seeds: number of search seeds.

    Example:
        >>> from rum_ray.search.race import promoted
        >>> promoted([[0.8], [0.9, 0.7], [0.85]], seeds=3)
        [Unit(trial=2, seed=1)]
    """
    best = ranking(results)[: math.ceil(len(results) / KEPT)]
    return [Unit(trial, len(results[trial])) for trial in best if len(results[trial]) < seeds]


def ranking(results: Sequence[Sequence[float]]) -> list[int]:
    """Return the numbers of the plans by falling mean of J; on equal means, the earlier first."""
    means = [float(np.mean(by_seed)) for by_seed in results]
    return sorted(range(len(results)), key=lambda trial: -means[trial])


def finalists(results: Sequence[Sequence[float]], seeds: int, count: int) -> list[int]:
    """Return the numbers of the best plans, best first.

    Plans that were tried on all seeds come before others: a mean over fewer seeds is more often
    high by luck.
    """
    order = ranking(results)
    return sorted(order, key=lambda trial: len(results[trial]) < seeds)[:count]


def collapses(by_seed: Sequence[float]) -> bool:
    """Return True if a plan fails on some seed: J is below the mean by more than half of it."""
    mean = float(np.mean(by_seed))
    return min(by_seed) < mean - abs(mean) / 2
