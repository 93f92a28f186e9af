"""The searches of an experiment: spaces, references and start plans, and their validation."""

import dataclasses
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
    evaluation_cost,
    relative_cost,
    retraining_cost,
)
from rum_ray.partition import JOINT, Partition, regroup
from rum_ray.refinement.matched import matched
from rum_ray.rum import Plan
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import FREE, Space, SpaceName
from rum_ray.study.scoring import Scoring
from rum_ray.unlearning import UNLEARNERS, Unlearner


def make_reference(
    experiment: Experiment,
    name: ReferenceName,
    partition: Partition,
    originals: Sequence[TrainModel],
    scoring: Scoring,
) -> RetrainedReference | PoolReference:
    """Return the reference against which a search judges plans.

    Args:
        experiment: an experiment with a search.
        name: "oracle", "surrogate" or "pool".
        partition: the forget set.
        originals: one per search seed, then one per fresh seed.
        scoring: has the pool, and the scores by which a surrogate is matched.
    """
    assert experiment.search is not None
    searched, members = originals[: experiment.search.seeds], experiment.evaluate.members
    if name == "surrogate":
        labels = scoring.context.bundle.train.y.numpy()
        surrogate = matched(partition, scoring.scores, labels, originals[0].seed / "surrogate")
        partition = scoring.foreseen(surrogate)

    def on_valid(model: TrainModel) -> Evaluate:
        return Evaluate(model, partition, model.seed, "valid", members=members)

    if name == "pool":
        return PoolReference(partition, tuple(map(on_valid, searched)), scoring.reference_half)
    retrained = (TrainModel(o.recipe, o.seed, partition.rows) for o in searched)
    return RetrainedReference(tuple(map(on_valid, retrained)))


def picked_plan(search: SearchJob, context: Context, forget: Partition) -> Plan:
    """Return the pick of a finished search as a plan for the subsets of the forget set."""
    return moved_plan(search.pick(context), forget)


def moved_plan(plan: Plan, forget: Partition) -> Plan:
    """Return a plan for the subsets of another forget set with the same names."""
    assignment = {step.subset.name: step.unlearner for step in plan.steps}
    return Plan.assign(regroup(forget, [*assignment]), assignment, plan.retain)


def search_spaces(
    experiment: Experiment, partition: Partition, candidates: Sequence[Candidate] | None = None
) -> tuple[Space, ...]:
    """Return the spaces of the searches, in the order of the ladder; none without a search.

    Args:
        experiment: has the search.
        partition: the subsets.
        candidates: the unlearners, with domains that a range test has narrowed; None before it.
    """
    search = experiment.search
    if search is None:
        return ()
    if candidates is None:
        candidates = [each.at_rate(experiment.recipe.lr) for each in search.unlearners]
    return tuple(
        Space(
            name,
            tuple(candidates),
            partition,
            experiment.retain,
            ordered=experiment.order is not None,
            steps=search.steps,
            grid=search.grid,
        )
        for name in FREE
        if name in search.spaces
    )


def is_tuned(unlearner: Unlearner) -> bool:
    """Return True if rows of an unlearner are searched: it declares domains, and has its defaults.

    An unlearner with required hyperparameters has no defaults.
    """
    fields = [each for each in dataclasses.fields(unlearner) if each.init]  # type: ignore[arg-type]
    required = any(
        dataclasses.MISSING is each.default and dataclasses.MISSING is each.default_factory
        for each in fields
    )
    return hasattr(unlearner, "space") and not required and unlearner == type(unlearner)()


def row_space(
    experiment: Experiment,
    unlearner: Unlearner,
    method: str,
    partition: Partition,
    candidates: Sequence[Candidate],
) -> Space:
    """Return the space in which one row of `compare` is tuned.

    Args:
        experiment: an experiment with a search.
        unlearner: the only candidate.
        method: "vanilla" for the whole forget set, else subsets in their order.
        partition: the subsets.
        candidates: of the searches; their restrictions of its domains hold.
    """
    kind = type(unlearner)
    given = (each for each in candidates if each.kind is kind)
    name = next((name for name, known in UNLEARNERS.items() if known is kind), None)
    candidate = next(given, None) or Candidate(name or f"{kind.__module__}:{kind.__qualname__}")
    space: SpaceName = "V0" if method == "vanilla" else "V1"
    scaled = candidate.at_rate(experiment.recipe.lr)
    return Space(space, (scaled,), partition, experiment.retain)


def load_start_plans(experiment: Experiment, partition: Partition) -> dict[str, Plan]:
    """Return the plans of `search.start`: "plan" or a path, with its plan.

    Raises:
        ConfigError: a file is not valid.
        PlanError: a plan does not match the subsets.
    """
    plans = {}
    for name in experiment.search.start if experiment.search else ():
        if name == "plan":
            steps, order = experiment.plan or {}, None
        else:
            file = config.load_plan(name)
            steps, order = file.plan, file.order
        try:
            # Of a plan for other subsets, report the subsets before the order.
            plans[name] = Plan.assign(partition, steps, experiment.retain)
            if order is not None:
                plans[name] = Plan.assign(regroup(partition, order), steps, experiment.retain)
        except PlanError as error:
            raise PlanError(f"search.start: {name}: {error}") from error
    return plans


def plans_in(space: Space, plans: Sequence[Plan]) -> tuple[Plan, ...]:
    """Return the plans that lie in a space."""
    return tuple(plan for plan in plans if _mismatch(space, plan) is None)


def check_plans(experiment: Experiment, partition: Partition, total: int, unseen: int) -> None:
    """Validate the plan and the searches of an experiment, once the subsets are known.

    Args:
        experiment: has the plan and the search.
        partition: the subsets.
        total: number of training examples.
        unseen: number of validation examples.

    Raises:
        ConfigError: a fixed step has no subset, a start plan lies in no space or costs more than
            the cap, or every plan of a space costs more than the cap, the limit of the pick, or the
            budget.
        PlanError: a plan does not match the subsets, or subsets that may share a step have "+" in
            their names.
    """
    if experiment.plan is not None:
        Plan.assign(partition, experiment.plan, experiment.retain)
    search, spaces = experiment.search, search_spaces(experiment, partition)
    if search is None:
        return
    search.check_steps(partition.names)
    for name, plan in load_start_plans(experiment, partition).items():
        reasons = [_mismatch(space, plan) for space in spaces]
        if None not in reasons:
            raise ConfigError(
                f"search.start: {name} lies in none of the spaces {', '.join(search.spaces)}. "
                f"{spaces[-1].name}: {reasons[-1]}"
            )
        cost = relative_cost(plan, experiment.recipe, total)
        if cost > search.max_cost:
            raise ConfigError(
                f"search.start: {name} costs {cost:.3g} of retraining, more than "
                f"search.max_cost={search.max_cost:g}. Set a higher max_cost, or a cheaper plan."
            )
    if "V5" in search.spaces:
        check_names(partition)
    _check_costs(experiment, spaces, len(partition.rows), total, unseen)


def _check_costs(
    experiment: Experiment, spaces: Sequence[Space], forget: int, total: int, unseen: int
) -> None:
    """Raise ConfigError if every plan of a space costs more than the cap, the pick or the budget.

    The other arguments are numbers of examples, as in `check_plans`.
    """
    search = experiment.search
    assert search is not None
    retraining = retraining_cost(experiment.recipe, forget, total)
    evaluation = evaluation_cost(experiment.recipe, forget, total, unseen)
    for space in spaces:
        least = space.least_cost(total) / retraining
        if search.budget is not None and least + evaluation > search.budget:
            raise ConfigError(
                f"search.budget: the cheapest plan of {space.name} costs {least + evaluation:.3g} "
                f"trainings per seed, {evaluation:.3g} of them for its evaluation; the budget is "
                f"{search.budget:g}. Set a larger budget. The default is 22."
            )
        if least > search.cost_limit:
            key = "max_cost" if least > search.max_cost else "pick"
            raise ConfigError(
                f"search.{key}: the cheapest plan of {space.name} costs {least:.3g} of retraining, "
                f"more than the limit of {search.cost_limit:g}. Set a higher {key}, or add a "
                "cheaper unlearner; 'nothing' costs 0."
            )


def check_names(partition: Partition) -> None:
    """Raise PlanError if a subset has "+" in its name, which joins the names of subsets."""
    for name in partition.names:
        if JOINT in name:
            raise PlanError(
                f"refine: the subset '{name}' has '{JOINT}' in its name, which joins the names of "
                "subsets that share a step. Rename the subset, or search other spaces than V5 "
                "(joined)."
            )


def _mismatch(space: Space, plan: Plan) -> str | None:
    """Return the reason why a plan lies outside a space; None if it lies in the space."""
    try:
        space.answers(plan)
    except PlanError as error:
        return str(error)
    return None
