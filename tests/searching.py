"""Searches without models: results are drawn from the plan and the seed."""

import random
from collections.abc import Callable
from pathlib import Path

from rum_ray.data import DataBundle
from rum_ray.experiment import SearchConfig
from rum_ray.jobs import Context, Evaluate, RetrainedReference, SearchJob, TrainModel
from rum_ray.jobs.ledger import Ledger, Result
from rum_ray.jobs.proposals import Proposal, Proposals
from rum_ray.refinement import refine
from rum_ray.rum import Plan
from rum_ray.scores import Scores
from rum_ray.search.candidates import Candidate
from rum_ray.search.objective import Judgement
from rum_ray.search.race import Unit
from rum_ray.search.spaces import Space
from rum_ray.seeding import Seed
from rum_ray.store import Store
from rum_ray.training import Recipe
from rum_ray.training.domains import LogUniform

NAMES = ("low", "medium", "high")
RATES = {"lr": LogUniform(0.001, 0.2)}
SOME = (
    Candidate("nothing"),
    *(Candidate(name, RATES) for name in ("finetune", "neggrad+", "salun")),
)
PARTITION = refine(range(12), Scores([0.1] * 12), NAMES)
RECIPE = Recipe("mlp", epochs=20)
ORIGINALS = tuple(TrainModel(RECIPE, Seed(0) / k) for k in range(8))
REFERENCE = RetrainedReference(
    tuple(
        Evaluate(TrainModel(RECIPE, o.seed, PARTITION.rows), PARTITION, o.seed, "valid")
        for o in ORIGINALS[:3]
    )
)


def search(name, *, starts=(), parents=(), **changes) -> SearchJob:
    """A search; `changes` are fields of its space or of its configuration."""
    fields = ("candidates", "grid", "steps", "ordered")
    own = {key: changes.pop(key) for key in fields if key in changes}
    space = Space(name, **{"candidates": SOME, "partition": PARTITION, **own})
    if "budget" not in changes:
        changes = {"trials": 16, **changes}
    config = SearchConfig(**{"max_cost": 9.0, "finalists": 3, **changes})
    return SearchJob(space, config, ORIGINALS, REFERENCE, tuple(starts), tuple(parents))


def context(bundle: DataBundle, folder: Path) -> Context:
    return Context(bundle, Store(folder))


def drawn(plan: Plan, seed: int) -> Result:
    """A result that depends on the plan and the seed; some plans diverge."""
    steps = [(s.subset.name, repr(s.unlearner)) for s in plan.steps]
    share = float((Seed(7) / str(steps) / seed).uniform(1)[0])
    level = float((Seed(8) / str(steps)).uniform(1)[0])
    if level < 0.05:
        return Result(None)
    judged = Judgement(level * (0.8 + 0.2 * share), 0.1 * share, 0.05, 0.5 + level / 2)
    return Result(judged, dict.fromkeys(NAMES, share))


Judge = Callable[[Plan, int], Result]


def run(
    job: SearchJob,
    where: Context,
    *,
    workers: int = 1,
    chance: random.Random | None = None,
    judge: Judge = drawn,
    stop: int | None = None,
) -> tuple[Ledger, list[Proposal]]:
    """Run a search with a number of workers; return the ledger and the proposals in their order.

    Of the units that run at a time, a random one finishes next; after `stop` units the run is
    killed.
    """
    proposals, running, made = Proposals(job, where), list[Proposal](), list[Proposal]()
    chance, done = chance or random.Random(0), 0
    while not proposals.finished and done != stop:
        while len(running) < workers and (found := proposals.propose()) is not None:
            running.append(found)
            made.append(found)
        each = running.pop(chance.randrange(len(running)))
        plan = proposals.ledger.trials[each.unit.trial].plan
        proposals.tell(each.unit, judge(plan, each.unit.seed))
        done += 1
    if stop is None:
        assert proposals.propose() is None
        assert not running
    return proposals.ledger, made


def units(made: list[Proposal]) -> list[tuple[Unit, dict]]:
    return [(each.unit, dict(each.answers)) for each in made]
