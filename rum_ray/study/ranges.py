"""Range tests: how high a learning rate each unlearner bears, before the searches begin.

A domain that reaches to where every plan diverges wastes trials. So each candidate runs with three
learning rates from the upper end of its domain, and the domain ends at the highest one that works.
All searches share the result.
"""

from collections.abc import Mapping, Sequence

from rum_ray.experiment import Experiment
from rum_ray.jobs import Context, EvaluatePlan, PoolReference, RetrainedReference, TrainModel
from rum_ray.partition import whole
from rum_ray.rum import Plan
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import LogUniform, Rate, contains

FACTOR = 3.0
"""Ratio of neighbouring learning rates of a test."""
RATES = 3
"""Number of learning rates per unlearner."""


def range_tests(
    experiment: Experiment,
    original: TrainModel,
    reference: RetrainedReference | PoolReference,
) -> dict[str, list[tuple[float, EvaluatePlan]]]:
    """Return the learning rates to test, falling, and their jobs, by unlearner.

    A learning rate that the file narrows is not tested.

    Args:
        experiment: an experiment with a search.
        original: the model of the first search seed.
        reference: of the searches.
    """
    assert experiment.search is not None
    found, partition = {}, whole(reference.partition)
    for candidate in experiment.search.unlearners:
        if not isinstance(candidate.domains.get("lr"), Rate):
            continue
        scaled = candidate.at_rate(experiment.recipe.lr)
        domain = scaled.domains["lr"]
        assert isinstance(domain, LogUniform)
        tests = []
        for number in range(RATES):
            rate = domain.high / FACTOR**number
            unlearner = scaled.unlearner({**scaled.defaults, "lr": rate})
            plan = Plan.assign(partition, {"all": unlearner}, experiment.retain)
            tests.append((rate, EvaluatePlan(plan, original, reference)))
        found[candidate.name] = tests
    return found


def tested_candidates(
    experiment: Experiment,
    tests: Mapping[str, Sequence[tuple[float, EvaluatePlan]]],
    context: Context,
    plans: Sequence[Plan],
) -> tuple[Candidate, ...]:
    """Return the candidates of the searches, with domains that end at a rate that works.

    If each tested rate diverges, the domain ends below the lowest of them. A domain reaches at
    least to the rates of `search.start`, so that no start plan drops out.

    Args:
        experiment: an experiment with a search.
        tests: the result of `range_tests`; the jobs must be finished.
        context: has their results.
        plans: the start plans.
    """
    assert experiment.search is not None
    found = []
    for candidate in experiment.search.unlearners:
        scaled = candidate.at_rate(experiment.recipe.lr)
        if candidate.name in tests:
            rates = [rate for rate, _ in tests[candidate.name]]
            works = [
                rate
                for rate, job in tests[candidate.name]
                if context.load(job).value["status"] == "complete"
            ]
            domain = scaled.domains["lr"]
            given = (s.unlearner for plan in plans for s in plan.steps)
            starts: list[float] = [vars(u)["lr"] for u in given if type(u) is scaled.kind]
            works += [rate for rate in starts if contains(domain, rate)]
            scaled = scaled.below("lr", max(works, default=min(rates) / FACTOR))
        found.append(scaled)
    return tuple(found)
