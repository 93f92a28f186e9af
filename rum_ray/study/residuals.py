"""What is left of the forget set in the embeddings of unlearned models."""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

from rum_ray.evaluation.residual import representation_residual
from rum_ray.evaluation.statistics import Mean
from rum_ray.scores.entanglement import Moments
from rum_ray.study.attacks import missing
from rum_ray.study.study import Study
from rum_ray.study.table import Row
from rum_ray.work import EmbeddingMoments, SubsetMoments, UnlearnedModel

Clouds: TypeAlias = Mapping[str, Moments]
"""Moments of "retain" and of each subset."""


def residual_jobs(study: Study, rows: Sequence[Row]) -> list[EmbeddingMoments | SubsetMoments]:
    """Return what the residuals of these rows need; nothing if none is asked for."""
    if not study.experiment.evaluate.residual:
        return []
    return [job for row in rows for job in _jobs(study, row)]


def residuals(study: Study, row: Row, retrained: Row) -> dict[str, Any]:
    """Return the row's metrics `residual_forget` and `residual_<subset>`, by seed and their mean.

    Only models whose weights are kept have them: those that are measured as they are, and those of
    a plan "rum".
    """
    if not study.experiment.evaluate.residual:
        return {}
    names = ("forget", *study.partition.names)
    pairs = list(zip(_clouds(study, row), _clouds(study, retrained), strict=False))
    if not pairs:
        return {f"residual_{name}": missing("its weights are not kept") for name in names}
    return {
        f"residual_{name}": asdict(
            Mean.of([representation_residual(*(_pair(c, name) for c in pair)) for pair in pairs])
        )
        for name in names
    }


def _jobs(study: Study, row: Row) -> list[EmbeddingMoments | SubsetMoments]:
    """Return what measures the embeddings of a row's models; nothing if they are not kept."""
    if row.method == "original":
        return list(study.moments)
    layer, partition = study.experiment.embedding, study.partition
    models = [UnlearnedModel(job) if job.plan is not None else job.model for job in row.jobs]
    kept = all(job.plan is None or job.keep for job in row.jobs)
    return [SubsetMoments(model, partition, layer) for model in models] if kept else []


def _clouds(study: Study, row: Row) -> list[Clouds]:
    """Return the moments of the retain set and of the subsets, by seed."""
    return [job.moments(study.context) for job in _jobs(study, row)]


def _pair(clouds: Clouds, name: str) -> tuple[Moments, Moments]:
    """Return the moments of the retain set, and of a subset or of the whole forget set."""
    if name != "forget":
        return clouds["retain"], clouds[name]
    subsets = [moments for subset, moments in clouds.items() if subset != "retain"]
    return clouds["retain"], functools.reduce(operator.add, subsets)
