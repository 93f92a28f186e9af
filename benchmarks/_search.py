"""A search as its benchmarks share it: three subsets of the digits, an MLP, a store."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from rum_ray.data import load
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import Context, Evaluate, RetrainedReference, SearchJob, TrainModel
from rum_ray.jobs.search import FRESH_SEEDS
from rum_ray.refinement import forget_set, refine
from rum_ray.scores import Scores
from rum_ray.search.candidates import Candidate
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.training import Recipe

RECIPE = Recipe("mlp", epochs=20, batch_size=64)
REFERENCES = 3
TOTAL = 1200
"""Training examples of the digits."""

Answers: TypeAlias = dict[str, Any]


def digits(folder: Path) -> Context:
    """Return the digits, with a store."""
    return Context(load("digits"), Store(folder))


def prepared(
    context: Context,
    unlearners: tuple[Candidate, ...],
    trials: int,
    seeds: int,
    sampler: str = "tpe",
    **narrowed: Any,
) -> SearchJob:
    """Return a search of V4 whose originals and references are trained.

    Its 120 examples in three subsets have scores that are drawn, since only sizes matter here.

    Args:
        context: the digits.
        unlearners: that may be chosen.
        trials: of the search.
        seeds: search seeds, at most as many as there are references.
        sampler: as `SearchConfig` has it.
        narrowed: of the space: its `grid`, or that it is `ordered`.
    """
    scores = Scores((Seed(0) / "scores").uniform(len(context.bundle.train)))
    partition = refine(forget_set(scores, 120), scores)
    roots = [Seed(0) / "search" / number for number in range(REFERENCES)]
    retrained = [TrainModel(RECIPE, root, partition.rows) for root in roots]
    references = tuple(Evaluate(m, partition, m.seed, "valid") for m in retrained)
    originals = tuple(TrainModel(RECIPE, root) for root in roots[:seeds])
    for job in (*originals, *references):
        context.get_or_compute(job)
    config = SearchConfig(trials=trials, unlearners=unlearners, sampler=sampler, max_cost=99.0)
    space = Space("V4", unlearners, partition, **narrowed)
    fresh = originals[:1] * FRESH_SEEDS
    return SearchJob(space, config, (*originals, *fresh), RetrainedReference(references))


def propose(search: SearchJob, judge: Callable[[Answers], float]) -> list[Answers]:
    """Return the proposals of a search; each batch learns from those before it."""
    from rum_ray.jobs.proposals import Judged, Proposals

    proposer, found = Proposals(search, TOTAL), []
    for _ in range(0, search.config.trials, search.config.batch):
        batch = [proposer.propose() for _ in range(search.config.batch)]
        for proposal in batch:
            assert proposal is not None
            answers = dict(proposal.answers)
            proposer.tell(proposal.number, Judged(judge(answers), 0.0))
            found.append(answers)
    return found
