"""Upper bounds on the jobs of a stage, from the experiment alone.

The jobs of most stages depend on results: the forget set on scores, for example. A dry run reports
these bounds until such results are in the store.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rum_ray.study.costs import job_cost
from rum_ray.study.ranges import RATES
from rum_ray.study.spaces import is_tuned
from rum_ray.study.study import Study
from rum_ray.unlearning.base import FORWARD_ONLY


@dataclass(frozen=True)
class Bound:
    """An upper bound on one part of a stage.

    Attributes:
        name: name of the part in progress reports.
        jobs: number of jobs; for the searches, their number.
        trainings: cost in trainings of the original.
    """

    name: str
    jobs: int
    trainings: float


def train(study: Study) -> list[Bound]:
    """Return the bound of the stage "train", whose jobs are always known."""
    jobs = study.context.distinct(study.first_jobs)
    return [Bound("train", len(jobs), sum(job_cost(study, job) for job in jobs))]


def distances(study: Study) -> list[Bound]:
    """Return the bound of the stage "distances", whose jobs are always known."""
    jobs = study.distance_jobs
    return [Bound("distances", len(jobs), sum(job_cost(study, job) for job in jobs))]


def embed(study: Study) -> list[Bound]:
    """Return the bound of the stage "embed": one pass per original."""
    return [_streamed("embed", study, len(study.originals))]


def retrain(study: Study) -> list[Bound]:
    """Return the bound of the stage "retrain": 3 per seed, and the searches' references.

    Given references are 2 per seed, and cost nothing.
    """
    models, trainings = _references(study)
    given, seeds = study.experiment.evaluate.retrained is not None, len(study.originals)
    own, trained = (2 * seeds, 0) if given else (3 * seeds, 3 * seeds)
    return [Bound("retrain", own + models, trained + trainings)]


def references(study: Study) -> list[Bound]:
    """Return the bound of the stage "references"."""
    return [Bound("references", *_references(study))]


def ranges(study: Study) -> list[Bound]:
    """Return the bound of the stage "ranges": some learning rates of each candidate."""
    jobs = RATES * len(study.require_search().unlearners)
    return [Bound("ranges", jobs, jobs * _cap(study))]


def search(study: Study) -> list[Bound]:
    """Return the bound of the stage "search": its budgets, or every trial at the cap on cost."""
    config, names = study.require_search(), study.search_names
    # V0 with the main reference gets the budget of the whole chain.
    parts = len(names) + ("V0" in names) * (len(study.rung_names) - 1)
    tuned = 3 * sum(map(is_tuned, study.experiment.compare))
    searches, rows = len(names) + tuned, tuned * config.rows
    each = config.seeds * config.max_cost
    if config.budget is not None:
        return [Bound("search", searches, config.budget * parts + rows * each)]
    assert config.trials is not None
    return [Bound("search", searches, (config.trials * parts + rows) * each)]


def validate(study: Study) -> list[Bound]:
    """Return the bound of the stage "validate": the finalists on the fresh seeds."""
    config = study.require_search()
    # A search compares its finalists with those of smaller spaces, and with doing nothing.
    chains = len(config.references)
    rungs = len(study.rung_names)
    finalists = chains * config.finalists * rungs * (rungs + 1) // 2
    units = (finalists + chains) * config.fresh
    return [Bound("validate", units, finalists * config.fresh * config.max_cost)]


def rows(study: Study) -> list[Bound]:
    """Return the bound of the stage "rows": every method on every seed."""
    seeds, relearn = len(study.originals), study.experiment.evaluate.relearn
    plans, pool = _plans(study) * seeds, len(study.scoring.pool) * study.asks_pool
    total = plans + (4 if study.experiment.evaluate.retrained is None else 3) * seeds
    again = total * relearn.epochs / study.experiment.recipe.epochs if relearn else 0.0
    return [Bound("rows", total + pool, plans * _cap(study) + again)]


def residuals(study: Study) -> list[Bound]:
    """Return the bound of the stage "residuals": models whose weights are kept."""
    return [_streamed("residuals", study, (3 + _kept(study)) * len(study.originals))]


def shadows(study: Study) -> list[Bound]:
    """Return the bound of the stage "shadows": each reported plan on each model of the pool."""
    jobs = _kept(study) * len(study.scoring.pool)
    return [Bound("shadows", jobs, jobs * _cap(study) * study.experiment.score.fraction)]


def pool(study: Study) -> list[Bound]:
    """Return the bound of the stage "pool": one pass over D per model."""
    return [_streamed("pool", study, len(study.scoring.pool))]


def unlearn(study: Study) -> list[Bound]:
    """Return the bound of the stage "unlearn": the plan of the file on every original."""
    seeds = len(study.originals)
    return [Bound("unlearn", seeds, seeds * _cap(study))]


def _streamed(name: str, study: Study, passes: int) -> Bound:
    """Return the bound of a stage that embeds D `passes` times."""
    return Bound(name, passes, passes * FORWARD_ONLY / study.experiment.recipe.epochs)


def _references(study: Study) -> tuple[int, float]:
    """Return the number of models in the references of the searches, and of their trainings."""
    config = study.experiment.search
    if config is None or study.plan_only:
        return 0, 0.0
    total = config.seeds * len(config.references)
    return total, total - config.seeds * ("pool" in config.references)


def _plans(study: Study) -> int:
    """Return the number of rows that run a plan."""
    experiment = study.experiment
    own = int(experiment.plan is not None)
    if study.plan_only:
        return own
    control = int("V1" in study.search_names)
    rungs, names = len(study.rung_names), len(study.search_names)
    searched = rungs + names // max(1, rungs) - bool(names)
    return own + 3 * len(experiment.compare) + searched + control


def _kept(study: Study) -> int:
    """Return the number of plans whose unlearned weights are kept."""
    searched: Sequence[str] = study.search_names
    picks = int(bool(searched)) + int("V0" in searched)
    return picks + int(study.experiment.plan is not None)


def _cap(study: Study) -> float:
    """Return the cap on the cost of a plan, as a share of retraining; 0.5 without a search."""
    config = study.experiment.search
    return config.max_cost if config is not None else 0.5
