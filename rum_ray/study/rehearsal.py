"""A rehearsal: the study that follows if scores, distances and trials are drawn at random.

The jobs of later stages depend on results of earlier ones. The jobs of a rehearsal have typical
numbers and sizes, so a forecast takes its times from them. No result depends on a rehearsal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rum_ray.errors import RumRayError
from rum_ray.experiment import plan_as_dicts
from rum_ray.jobs import Context, EvaluatePlan, SearchJob
from rum_ray.jobs.job import Keyed
from rum_ray.refinement import REFINERS
from rum_ray.rum import Plan
from rum_ray.scores.base import Scores
from rum_ray.seeding import Seed
from rum_ray.store import Artifact
from rum_ray.study.study import Study
from rum_ray.study.validation import placeholder_scores
from rum_ray.training.domains import Choice, Domain, Integers, LogUniform

MOST_PLANS = 64
"""Most plans that are drawn per search; the trials of a longer search repeat them."""
MOST_DRAWS = 100
"""Most draws per plan; the last one counts even above the cap on cost."""
SEED = Seed(0) / "rehearsal"


@dataclass(frozen=True, eq=False)
class Rehearsal(Context):
    """A context in which every search is finished, with drawn trials where the store has none."""

    def load(self, job: Keyed) -> Artifact:
        """Return the result of a job, or drawn trials of a search."""
        if not isinstance(job, SearchJob | EvaluatePlan) or self.has(job):
            return super().load(job)
        if isinstance(job, EvaluatePlan):
            return Artifact(value={"objective": 0.0, "by_seed": [0.0]})
        if job not in self._drawn:
            total = len(self.bundle.train)
            self._drawn[job] = [
                {
                    "answers": answers,
                    "plan": plan_as_dicts(plan),
                    "status": "complete",
                    "objective": number,
                    "cost": min(job.plan_cost(plan, total), job.config.budget),
                }
                for number, (answers, plan) in enumerate(drawn_trials(job, total))
            ]
        return Artifact(value={"trials": self._drawn[job]})

    @cached_property
    def _drawn(self) -> dict[SearchJob, list[dict[str, Any]]]:
        """The trials that were drawn so far."""
        return {}


def rehearse(study: Study, *, scored: bool) -> Study | None:
    """Return a study with drawn results; None if its subsets cannot be known.

    Args:
        study: the experiment and its data.
        scored: True if the scores and distances are in the store; then they are not drawn.
    """
    if type(study.experiment.refine) not in REFINERS.values():
        return None
    context = study.context
    ours = Study(
        study.experiment,
        Rehearsal(context.bundle, context.store, context.device),
        study.plan_only,
    )
    if not scored:
        # Cached properties keep the drawn values.
        unknown = placeholder_scores(study).values
        drawn = np.where(np.isnan(unknown), np.nan, (SEED / "scores").uniform(len(unknown)))
        vars(ours.scoring)["scores"] = Scores(drawn, name=study.experiment.score.name)
        distances = Scores((SEED / "distances").uniform(len(unknown)), name="distance")
        vars(ours)["distances"] = distances if study.distance_jobs else None
    try:
        assert len(ours.partition)
    except RumRayError:
        return None
    return ours


def drawn_trials(search: SearchJob, total: int) -> list[tuple[Mapping[str, Any], Plan]]:
    """Return the answers and the plan of trials: the start plans, then draws within the cap."""
    given = [(search.space.answers(plan), plan) for plan in search.starts]
    count = min(search.config.trials, MOST_PLANS)
    return [*given, *(_draw(search, total, number) for number in range(len(given), count))]


def _draw(search: SearchJob, total: int, number: int) -> tuple[Mapping[str, Any], Plan]:
    """Return the first draw within the cap on cost, or the last one."""
    for attempt in range(MOST_DRAWS):
        answers = _Answers(SEED / search.name / number / attempt, {})
        plan = search.space.plan(answers)
        if search.plan_cost(plan, total) <= search.config.max_cost:
            break
    return answers.given, plan


@dataclass(frozen=True)
class _Answers:
    """Answers questions of a space at random, and remembers them."""

    seed: Seed
    given: dict[str, Any]

    def __call__(self, name: str, domain: Domain) -> Any:
        """Return the answer to a question."""
        self.given[name] = _value(domain, float((self.seed / name).uniform(1)[0]))
        return self.given[name]


def _value(domain: Domain, share: float) -> Any:
    """Return the value of a domain at a share in [0, 1) of its length."""
    if isinstance(domain, Choice):
        return domain.options[int(share * len(domain.options))]
    if isinstance(domain, Integers):
        return domain.low + int(share * (domain.high - domain.low + 1))
    if isinstance(domain, LogUniform):
        return domain.low * (domain.high / domain.low) ** share
    return domain.low + share * (domain.high - domain.low)
