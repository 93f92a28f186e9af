"""Representation residuals: traces of the forget set in the embeddings of unlearned models."""

import functools
import operator
from collections.abc import Mapping
from typing import TypeAlias

from rum_ray.evaluation.residual import representation_residual
from rum_ray.evaluation.statistics import Mean
from rum_ray.results.metrics import metric
from rum_ray.results.outcome import Measured, Method
from rum_ray.results.schema import Metric
from rum_ray.scores.entanglement import Moments

Clouds: TypeAlias = Mapping[str, Moments]
"""Moments of "retain" and of each subset."""


def residual_metrics(measured: Measured) -> list[dict[str, Metric]]:
    """Return the metrics `residual_forget` and `residual_<subset>` for each method.

    They are missing for models whose weights are not kept, and where a model embeds the retain set
    at one point.
    """
    if not measured.config.residual:
        return [{} for _ in measured.methods]
    names, retrained = ("forget", *measured.subsets), measured.methods[0]
    return [
        {f"residual_{name}": _residual(method, retrained, name) for name in names}
        for method in measured.methods
    ]


def _residual(method: Method, retrained: Method, name: str) -> Metric:
    """Return the residual of the forget set or of a subset."""
    if not method.moments:
        return Metric.missing("its weights are not kept")
    if not all(clouds["retain"].scatter > 0 for clouds in (*method.moments, *retrained.moments)):
        return Metric.missing("a model embeds the retain set at one point")
    pairs = zip(method.moments, retrained.moments, strict=True)
    return metric(
        Mean.of([representation_residual(_pair(a, name), _pair(b, name)) for a, b in pairs])
    )


def _pair(clouds: Clouds, name: str) -> tuple[Moments, Moments]:
    """Return the moments of the retain set, and of a subset or of the whole forget set."""
    if name != "forget":
        return clouds["retain"], clouds[name]
    subsets = [moments for subset, moments in clouds.items() if subset != "retain"]
    return clouds["retain"], functools.reduce(operator.add, subsets)
