"""A finished study without a cluster: every job is done in this process."""

from collections.abc import Iterable
from typing import Any

from reference.streaming import stream
from rum_ray.jobs import SearchJob
from rum_ray.jobs.pretrained import keep_weights
from rum_ray.seeding import Seed
from rum_ray.study.methods import measuring_jobs, residual_jobs, shadow_jobs, table
from rum_ray.study.study import Study
from rum_ray.training.domains import Choice, Domain, Integers


def finish(study: Study) -> Study:
    """Do all jobs of a study, stage by stage; the plans of a search are drawn at random."""
    context = study.context
    if study.experiment.recipe.weights is not None:
        keep_weights(study.experiment.recipe.weights, study.pretrained, context)
    make(study, study.first_jobs)
    stream(context, context.missing([job.centroid for job in study.distance_jobs]))
    stream(context, context.missing(study.distance_jobs))
    stream(context, context.missing(study.moments))
    make(study, study.retrain_jobs)
    for search in study.searches.values():
        _search(study, search)
    make(study, study.validations)
    rows = table(study)
    make(study, measuring_jobs(study, rows))
    stream(context, context.missing(residual_jobs(study, rows)))
    make(study, shadow_jobs(study, rows))
    return study


def make(study: Study, jobs: Iterable[Any]) -> None:
    """Do jobs."""
    for job in jobs:
        study.context.get_or_compute(job)


def _search(study: Study, search: SearchJob) -> None:
    """Judge as many random plans as there are trials, and keep the search."""
    proposals = [search.space.answers(plan) for plan in search.starts]
    left = range(len(proposals), search.config.trials)
    proposals += [_draw(search, Seed(0) / search.name / trial) for trial in left]
    make(study, map(search.proposed, proposals))
    search.save(study.context, proposals)


def _draw(search: SearchJob, seed: Seed) -> dict[str, Any]:
    """Return the answers of a plan whose every choice is drawn."""
    answers: dict[str, Any] = {}

    def choose(name: str, domain: Domain) -> Any:
        share = float((seed / name).uniform(1)[0])
        if isinstance(domain, Choice):
            value = domain.options[int(share * len(domain.options))]
        elif isinstance(domain, Integers):
            value = domain.low + int(share * (domain.high - domain.low))
        else:
            value = domain.low + share * (domain.high - domain.low)
        answers[name] = value
        return value

    search.space.plan(choose)
    return answers
