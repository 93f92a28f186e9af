"""Statistics over seeds as metrics of report.json."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rum_ray.evaluation.statistics import Mean, PairedGap
from rum_ray.results.schema import Metric, Numbers


def metric(mean: Mean, errors: Iterable[float] | None = None) -> Metric:
    """Return a mean, or a paired gap, as a metric.

    Args:
        mean: over seeds.
        errors: standard errors of an estimate, one per seed.
    """
    return Metric(
        mean=finite(mean.mean),
        ci95=finite(mean.ci95),
        values=numbers(mean.values),
        mean_absolute=finite(mean.mean_absolute) if isinstance(mean, PairedGap) else None,
        errors=None if errors is None else numbers(errors),
    )


def metric_or_reason(values: Sequence[float], reason: str, kind: type[Mean] = Mean) -> Metric:
    """Return the mean, or the paired gap, of one value per seed; a reason if one is not finite."""
    if np.isfinite(values).all():
        return metric(kind.of(values))
    return Metric.missing(reason, numbers(values))


def by_seed(metric: Metric) -> NDArray[np.float64]:
    """Return the values of a metric; NaN for those that are None."""
    return np.array([math.nan if value is None else value for value in metric.values])


def numbers(values: Iterable[float]) -> Numbers:
    """Return the values; None for each that is not finite."""
    return tuple(map(finite, values))


def finite(value: float | None) -> float | None:
    """Return the number; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else float(value)
