"""What an experiment searches: spaces, references, plans to start with, and whether they fit."""

from collections.abc import Sequence

from rum_ray import config
from rum_ray.errors import ConfigError, PlanError
from rum_ray.experiment import Experiment, ReferenceName
from rum_ray.jobs import (
    Context,
    Evaluate,
    PoolReference,
    RetrainedReference,
    SearchJob,
    TrainModel,
    relative_cost,
    retraining_cost,
)
from rum_ray.jobs.search import FRESH_SEEDS
from rum_ray.refinement.matched import matched
from rum_ray.rum import Partition, Plan
from rum_ray.search.spaces import FREE, Space, whole
from rum_ray.study.scoring import Scoring


def reference(
    experiment: Experiment,
    name: ReferenceName,
    partition: Partition,
    originals: Sequence[TrainModel],
    scoring: Scoring,
) -> RetrainedReference | PoolReference:
    """Return what plans are judged against.

    Args:
        experiment: with a search.
        name: what the search may know.
        partition: the forget set.
        originals: of the search seeds, the fresh ones at the end.
        scoring: whose pool is asked, and whose scores say which examples are alike.
    """
    searched, members = originals[:-FRESH_SEEDS], experiment.evaluate.members
    if name == "surrogate":
        labels = scoring.context.bundle.train.y.numpy()
        partition = matched(partition, scoring.scores, labels, originals[0].seed / "surrogate")

    def on_valid(model: TrainModel) -> Evaluate:
        return Evaluate(model, partition, model.seed, "valid", members=members)

    if name == "pool":
        return PoolReference(partition, tuple(map(on_valid, searched)), scoring.unused)
    retrained = (TrainModel(o.recipe, o.seed, partition.rows) for o in searched)
    return RetrainedReference(tuple(map(on_valid, retrained)))


def found(search: SearchJob, context: Context, forget: Partition) -> Plan:
    """Return the plan that a finished search has found, for the forget set itself."""
    plan = search.pick(context)
    assignment = {step.subset.name: step.unlearner for step in plan.steps}
    subsets = whole(forget) if search.name == "V0" else forget.ordered([*assignment])
    return Plan.assign(subsets, assignment, plan.retain)


def search_spaces(experiment: Experiment, partition: Partition) -> tuple[Space, ...]:
    """Return the spaces that are searched, in their order; none without a search."""
    search = experiment.search
    if search is None:
        return ()
    return tuple(
        Space(
            name,
            search.unlearners,
            partition,
            experiment.retain,
            ordered=experiment.order is not None,
            steps=search.steps,
            grid=search.grid,
        )
        for name in FREE
        if name in search.spaces
    )


def starting_plans(experiment: Experiment, partition: Partition) -> dict[str, Plan]:
    """Return the plans with which the searches start, by what the experiment calls them.

    Raises:
        ConfigError: a file is wrong.
        PlanError: a plan is not one of these subsets.
    """
    plans = {}
    for name in experiment.search.start if experiment.search else ():
        if name == "plan":
            steps, order = experiment.plan or {}, None
        else:
            file = config.load_plan(name)
            steps, order = file.plan, file.order
        try:
            # A plan of other subsets has another order, too; the subsets are what is wrong.
            plans[name] = Plan.assign(partition, steps, experiment.retain)
            if order is not None:
                plans[name] = Plan.assign(partition.ordered(order), steps, experiment.retain)
        except PlanError as error:
            raise PlanError(f"search.start: {name}: {error}") from error
    return plans


def those_in(space: Space, plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """Return the plans that a space has."""
    return tuple(plan for plan in plans if _why_not(space, plan) is None)


def check_plans(experiment: Experiment, partition: Partition, total: int) -> None:
    """Check the plans that the experiment gives or asks for, once the subsets are known.

    Args:
        experiment: whose plan and search.
        partition: its subsets.
        total: number of training examples.

    Raises:
        ConfigError: a fixed step has no subset, a plan to start with lies in no space or costs more
            than the cap, or no plan of a space is as cheap as that.
        PlanError: a plan is not one of these subsets.
    """
    if experiment.plan is not None:
        Plan.assign(partition, experiment.plan, experiment.retain)
    search, spaces = experiment.search, search_spaces(experiment, partition)
    if search is None:
        return
    search.check_steps(partition.names)
    for name, plan in starting_plans(experiment, partition).items():
        reasons = [_why_not(space, plan) for space in spaces]
        if None not in reasons:
            raise ConfigError(
                f"search.start: {name} lies outside of {', '.join(search.spaces)}; of "
                f"{spaces[-1].name}: {reasons[-1]}"
            )
        cost = relative_cost(plan, experiment.recipe, total)
        if cost > search.max_cost:
            raise ConfigError(
                f"search.start: {name} costs {cost:.3g} of retraining, and "
                f"search.max_cost={search.max_cost:g} is allowed. Give a higher max_cost, or a "
                "cheaper plan."
            )
    retraining = retraining_cost(experiment.recipe, len(partition.rows), total)
    for space in spaces:
        least = space.least_cost(total) / retraining
        if least > search.budget:
            key = "max_cost" if least > search.max_cost else "pick"
            raise ConfigError(
                f"search.{key}: no plan of {space.name} costs less than {least:.3g} of "
                f"retraining, and {search.budget:g} is allowed. Give a higher {key}, or an "
                "unlearner that costs less; 'nothing' costs nothing."
            )


def _why_not(space: Space, plan: Plan) -> str | None:
    """Return why a space does not have a plan; None if it has."""
    try:
        space.answers(plan)
    except PlanError as error:
        return str(error)
    return None
