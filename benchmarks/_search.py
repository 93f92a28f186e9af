"""A search as its benchmarks share it: three subsets of the digits, an MLP, a store."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from rum_ray.data import load
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import Context, Evaluate, RetrainedReference, SearchJob, TrainModel
from rum_ray.refinement import forget_set, refine
from rum_ray.scores import Scores
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.training import Recipe

RECIPE = Recipe("mlp", epochs=20, batch_size=64)
SEEDS = 3
"""Search seeds, and models of the reference."""

Answers: TypeAlias = dict[str, Any]


def digits(folder: Path) -> Context:
    """Return the digits, with a store."""
    return Context(load("digits"), Store(folder))


def prepared(
    context: Context,
    unlearners: tuple[Candidate, ...],
    trials: int,
    sampler: str = "tpe",
    **narrowed: Any,
) -> SearchJob:
    """Return a search of V4 whose originals and references are trained.

    Its 120 examples in three subsets have scores that are drawn, since only sizes matter here.

    Args:
        context: the digits.
        unlearners: that may be chosen.
        trials: of the search.
        sampler: as `SearchConfig` has it.
        narrowed: of the space: its `grid`, or that it is `ordered`.
    """
    scores = Scores((Seed(0) / "scores").uniform(len(context.bundle.train)))
    partition = refine(forget_set(scores, 120), scores)
    roots = [Seed(0) / "search" / number for number in range(SEEDS)]
    retrained = [TrainModel(RECIPE, root, partition.rows) for root in roots]
    references = tuple(Evaluate(m, partition, m.seed, "valid") for m in retrained)
    originals = tuple(TrainModel(RECIPE, root) for root in roots)
    for job in (*originals, *references):
        context.get_or_compute(job)
    settings: Any = {"sampler": sampler, "max_cost": 99.0}
    config = SearchConfig(trials=trials, finalists=1, unlearners=unlearners, **settings)
    space = Space("V4", unlearners, partition, **narrowed)
    return SearchJob(space, config, originals, RetrainedReference(references))


def propose(
    search: SearchJob, context: Context, judge: Callable[[Answers, int], Mapping[str, Any]]
) -> list[tuple[Answers, int]]:
    """Return the units of a search, answers and seed, in the order of proposal.

    Args:
        search: to run.
        context: the digits.
        judge: returns the stored result of a unit; each batch learns from those before it.
    """
    from rum_ray.jobs.ledger import Result
    from rum_ray.jobs.proposals import Proposals

    proposer, found = Proposals(search, context), []
    while not proposer.finished:
        for proposal in [*iter(proposer.propose, None)]:
            answers, unit = dict(proposal.answers), proposal.unit
            found.append((answers, unit.seed))
            proposer.tell(unit, Result.read(judge(answers, unit.seed)))
    return found
