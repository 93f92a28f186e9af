"""The time of a job on one worker, from its counted work and measured rates."""

from rum_ray.evaluation.sets import Split
from rum_ray.jobs import (
    Evaluate,
    EvaluatePlan,
    PoolLogits,
    ScoreByProxy,
    TrainModel,
    TrainPoolModel,
    UnlearnShadow,
)
from rum_ray.jobs.job import Keyed
from rum_ray.jobs.pool import within
from rum_ray.rum import Plan
from rum_ray.study.calibration import Calibration
from rum_ray.study.costs import training_count
from rum_ray.study.study import Study
from rum_ray.training.recipe import Recipe

UNIT_SECONDS = 0.04
"""A unit of a search beyond its steps and its evaluation (benchmarks/trial_overhead.py)."""


def training_seconds(rates: Calibration, recipe: Recipe, rows: float) -> float:
    """Return the time of one training on `rows` examples."""
    return recipe.epochs * rates.models[recipe].training(rows, recipe.batch_size)


def job_seconds(study: Study, job: Keyed, rates: Calibration) -> float:
    """Return the time of a job that is no stream and no search."""
    bundle, total = study.context.bundle, len(study.context.bundle.train)
    if isinstance(job, TrainModel):
        rows = total if job.forget is None else total - len(job.forget)
        return 0.0 if job.weights is not None else training_seconds(rates, job.recipe, rows)
    if isinstance(job, TrainPoolModel):
        trained = training_seconds(rates, job.recipe, job.fraction * total)
        return trained + rates.models[job.recipe].forward * total
    if isinstance(job, ScoreByProxy):
        return job.cost(study.context) * _unit(rates, job.recipe)
    if isinstance(job, EvaluatePlan):
        made = _plan_seconds(rates, job.plan, job.recipe, total)
        return made + _evaluation_seconds(study, "valid", rates) + UNIT_SECONDS
    if isinstance(job, PoolLogits):
        return rates.models[job.recipe].forward * (total + len(bundle.test))
    if isinstance(job, UnlearnShadow):
        learned = job.learned(total)
        plan = within(job.plan, learned)
        return 0.0 if plan is None else _plan_seconds(rates, plan, job.recipe, len(learned))
    assert isinstance(job, Evaluate)
    seconds = _evaluation_seconds(study, job.split, rates)
    if job.plan is not None:
        seconds += _plan_seconds(rates, job.plan, job.recipe, total)
    if job.relearn is not None:
        retained = total - len(job.partition.rows)
        seconds += job.relearn.cost(len(job.partition.rows), retained) * _unit(rates, job.recipe)
    if training_count(job):
        # The model of a search's reference is retrained by the job that evaluates it.
        seconds += job_seconds(study, job.model, rates)
    return seconds


def _evaluation_seconds(study: Study, split: Split, rates: Calibration) -> float:
    """Return the time of one evaluation: the attacks, and the predictions that they need."""
    bundle = study.context.bundle
    predicted = len(bundle.train) + len(getattr(bundle, split))
    return rates.evaluation.get(split, 0.0) + rates.models[study.recipe].forward * predicted


def _plan_seconds(rates: Calibration, plan: Plan, recipe: Recipe, total: int) -> float:
    """Return the time of the steps of a plan."""
    unit = _unit(rates, recipe)
    return sum(
        plan.step_cost(index, total) * rates.unlearners.get(type(step.unlearner), unit)
        for index, step in enumerate(plan.steps)
    )


def _unit(rates: Calibration, recipe: Recipe) -> float:
    """Return the time of one example forward and backward in full batches of a recipe."""
    return rates.models[recipe].training(recipe.batch_size, recipe.batch_size) / recipe.batch_size
