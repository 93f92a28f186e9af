"""What is left of the forget set in the embeddings of unlearned models."""

import functools
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TypeAlias

from rum_ray.evaluation.residual import representation_residual
from rum_ray.evaluation.statistics import Mean
from rum_ray.results.entries import Entry, missing
from rum_ray.scores.entanglement import Moments
from rum_ray.study.methods import Row, embedding_job
from rum_ray.study.study import Study

Clouds: TypeAlias = Mapping[str, Moments]
"""Moments of "retain" and of each subset."""


@dataclass(frozen=True, eq=False)
class Residuals:
    """The representation residuals of a report; what they need must be in the store.

    Attributes:
        study: whose forget set it is.
        rows: of the report, the retrained models first.
    """

    study: Study
    rows: tuple[Row, ...]

    def entries(self, row: Row) -> dict[str, Entry]:
        """Return the row's metrics `residual_forget` and `residual_<subset>`.

        Models whose weights are not kept have none, nor have such that embed all of the retain set
        at one point.
        """
        if not self.study.experiment.evaluate.residual:
            return {}
        ours, names = _clouds(self.study, row), ("forget", *self.study.partition.names)
        return {f"residual_{name}": self._entry(ours, name) for name in names}

    def _entry(self, ours: Sequence[Clouds], name: str) -> Entry:
        """Return the residual of the forget set or of a subset."""
        if not ours:
            return missing("its weights are not kept")
        if not all(clouds["retain"].scatter > 0 for clouds in (*ours, *self._retrained)):
            return missing("a model embeds the retain set at one point")
        pairs = zip(ours, self._retrained, strict=True)
        values = [representation_residual(_pair(a, name), _pair(b, name)) for a, b in pairs]
        return asdict(Mean.of(values))

    @cached_property
    def _retrained(self) -> list[Clouds]:
        """The retrained models' moments, by seed."""
        return _clouds(self.study, self.rows[0])


def _clouds(study: Study, row: Row) -> list[Clouds]:
    """Return the moments of a row's models, by seed; none if they are not kept."""
    jobs = [embedding_job(study, evaluation) for evaluation in row.jobs]
    return [job.moments(study.context) for job in jobs if job is not None]


def _pair(clouds: Clouds, name: str) -> tuple[Moments, Moments]:
    """Return the moments of the retain set, and of a subset or of the whole forget set."""
    if name != "forget":
        return clouds["retain"], clouds[name]
    subsets = [moments for subset, moments in clouds.items() if subset != "retain"]
    return clouds["retain"], functools.reduce(operator.add, subsets)
