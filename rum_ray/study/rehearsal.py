"""A rehearsal: the study that follows if scores, distances and trials are drawn at random.

The jobs of later stages depend on results of earlier ones. The jobs of a rehearsal have typical
numbers and sizes, so a forecast takes its times from them. No result depends on a rehearsal.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from rum_ray.errors import RumRayError
from rum_ray.jobs import Context, EvaluatePlan, SearchJob
from rum_ray.jobs.job import Keyed
from rum_ray.jobs.ledger import Ledger, Result, Trial
from rum_ray.refinement import REFINERS
from rum_ray.rum import Plan
from rum_ray.scores.base import Scores
from rum_ray.search import race
from rum_ray.search.objective import Judgement
from rum_ray.seeding import Seed
from rum_ray.store import Artifact
from rum_ray.study.study import Study
from rum_ray.study.validation import placeholder_scores

MOST_PLANS = 64
"""Most plans that are drawn per search; the trials of a longer search repeat them."""
MOST_UNITS = 10_000
"""Most units of a search with a budget."""
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
            return Artifact(value=_drawn_result(0).plain())
        if job not in self._drawn:
            trials, found = dict.fromkeys(drawn_units(job, self)), Ledger()
            for number, plan in enumerate(trials):
                cost = min(job.plan_cost(plan, len(self.bundle.train)), job.config.cost_limit)
                answers = job.space.answers(plan)
                results = (_drawn_result(number),) * job.config.seeds
                found.trials.append(Trial(answers, plan, cost, results=results))
            self._drawn[job] = found.plain()
        return Artifact(value=self._drawn[job])

    @cached_property
    def _drawn(self) -> dict[SearchJob, dict[str, Any]]:
        """The ledgers that were drawn so far."""
        return {}


def _drawn_result(number: int) -> Result:
    """Return a result that is the better, the higher its number."""
    return Result(Judgement(tow=1 - 1 / (2 + number), auc_gap=0.0, svm_gap=0.0, examples=1.0))


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
    # Cached properties keep these values. The digest of D takes seconds.
    vars(ours.context)["train_fingerprint"] = context.train_fingerprint
    if not scored:
        unknown = placeholder_scores(study).values
        drawn = np.where(np.isnan(unknown), np.nan, (SEED / "scores").uniform(len(unknown)))
        vars(ours.scoring)["scores"] = Scores(drawn, name=study.experiment.score.name)
        distances = Scores((SEED / "distances").uniform(len(unknown)), name="distance")
        vars(ours)["distances"] = distances if study.distance_jobs else None
        included = np.array([[True], [False]]).repeat(len(unknown), axis=1)
        vars(ours.scoring)["outputs"] = included, np.zeros(included.shape, dtype=np.float32)
    try:
        assert len(ours.partition)
    except RumRayError:
        return None
    return ours


def drawn_units(search: SearchJob, context: Context) -> list[Plan]:
    """Return the plans of the units that a search may run, a plan once per seed.

    The start plans come first, then draws within the cap on cost. A third of the plans is tried on
    all seeds.
    """
    config, found, spent = search.config, list[Plan](), 0.0
    plans = drawn_plans(search, len(context.bundle.train))
    priced = [(plan, search.unit_cost(plan, context)) for plan in plans]
    for number in range(config.trials or MOST_UNITS):
        plan, cost = priced[number % len(priced)]
        seeds = 1 if number % race.KEPT else config.seeds
        spent += seeds * cost
        if found and config.budget is not None and spent > config.budget:
            break
        found += [plan] * seeds
    return found


@cache
def drawn_plans(search: SearchJob, total: int) -> list[Plan]:
    """Return the start plans, then random plans within the cap on cost."""
    count = MOST_PLANS - len(search.starts)
    return [*search.starts, *(_draw(search, total, number) for number in range(count))]


def _draw(search: SearchJob, total: int, number: int) -> Plan:
    """Return the first draw within the cap on cost, or the last one."""
    for attempt in range(MOST_DRAWS):
        _, plan = search.space.draw(SEED / search.name / number / attempt)
        if search.plan_cost(plan, total) <= search.config.max_cost:
            break
    return plan
