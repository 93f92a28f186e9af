"""Searches of a small study: the same ledgers in one process and in two, and after a kill."""

from typing import Any

import pytest

from rum_ray import config
from rum_ray.data import load
from rum_ray.jobs import Context
from rum_ray.jobs.ledger import Result
from rum_ray.search.objective import Judgement
from rum_ray.store import Store
from rum_ray.study.executor import LocalExecutor
from rum_ray.study.searches import Searches
from rum_ray.study.study import Study
from rum_ray.study.validation import check_floor

TREE: dict[str, Any] = {
    "name": "small",
    "data": "digits",
    "recipe": {"model": "mlp", "epochs": 2, "lr": 0.1, "batch_size": 256},
    "score": {"name": "confidence"},
    "forget": {"size": 30},
    "compare": ["finetune"],
    "search": {
        "budget": 6,
        "spaces": ["V0", "V5"],
        "unlearners": [
            "nothing",
            {"name": "finetune", "lr": {"low": 0.01, "high": 0.1}, "epochs": [1, 2],
             "batch_size": 256},
        ],
        "max_cost": 2.0,
        "batch": 4,
        "finalists": 2,
        "fresh": 1,
        "rows": 3,
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def digits():
    return load("digits")


def study(digits, folder) -> Study:
    """A study with everything that its searches read."""
    ours = Study(config.parse(TREE), Context(digits, Store(folder)))
    for jobs in (lambda: ours.first_jobs, lambda: ours.reference_jobs):
        for job in jobs():
            ours.context.get_or_compute(job)
    return ours


@pytest.fixture(scope="module")
def searched(digits, tmp_path_factory):
    """A study whose searches are finished, in one process."""
    ours, states = study(digits, tmp_path_factory.mktemp("one")), []
    with LocalExecutor() as executor:
        executor.search("search", jobs(ours), ours.context, lambda s: states.append(s) or s)
    return ours, states


def jobs(ours):
    return [*ours.searches.values(), *ours.row_searches.values()]


def ledgers(ours):
    return [job.ledger(ours.context).plain() for job in jobs(ours)]


def test_the_chain_and_the_rows_of_a_study(searched):
    ours, states = searched
    assert [*ours.searches] == ["V0", "V5"]
    rival, joined = ours.searches.values()
    assert (rival.config.budget, joined.config.budget) == (12, 6)
    assert joined.parents == ((rival, 2),)
    assert [*ours.row_searches] == [("finetune", m) for m in ("vanilla", "shuffle", "rum_f")]
    spent = [job.ledger(ours.context).spent for job in (rival, joined)]
    assert spent[0] <= 12
    assert spent[1] <= 6
    for job in ours.row_searches.values():
        found = job.ledger(ours.context).trials
        assert len(found) == 3
        assert {type(step.unlearner).name for t in found for step in t.plan.steps} == {"finetune"}
    known = joined.ledger(ours.context).trials
    first = rival.first(ours.context, 2).trials
    assert [t.plan for t in known[: len(first)]] == [t.plan for t in first]
    assert states[-1].done == states[-1].total
    assert states[-1].before == 0
    assert sum(len(job.ledger(ours.context).units) for job in jobs(ours)) == states[-1].done


def test_two_processes_give_the_same_ledgers(searched, digits, tmp_path):
    ours = study(digits, tmp_path)
    with LocalExecutor(2) as executor:
        executor.search("search", jobs(ours), ours.context, lambda state: state)
    assert ledgers(ours) == ledgers(searched[0])


def test_a_search_that_was_interrupted_goes_on(searched, digits, tmp_path):
    ours, done = study(digits, tmp_path), []

    def stop(state):
        done.append(state.done)
        if state.done == 7:
            raise KeyboardInterrupt
        return state

    with LocalExecutor() as executor, pytest.raises(KeyboardInterrupt):
        executor.search("search", jobs(ours), ours.context, stop)
    assert ours.context.missing(jobs(ours))
    units = len([*(tmp_path / "trial").glob("*.safetensors")])
    again, states = Study(ours.experiment, Context(digits, Store(tmp_path))), []
    with LocalExecutor() as executor:
        executor.search("search", jobs(again), again.context, lambda s: states.append(s) or s)
    assert ledgers(again) == ledgers(searched[0])
    assert units >= 7
    # Units of two searches may be one result.
    assert states[-1].before >= units / 2


def fake(request, running):
    proposal = request.proposal
    share = len(str(proposal.answers)) % 7 / 7
    return Result(Judgement(share, 0.1 * proposal.unit.seed, 0.0, 1.0), {})


def test_a_search_waits_for_its_parents_and_others_do_not(searched, digits, tmp_path):
    ours = searched[0]
    where = Context(digits, Store(tmp_path))
    everything = jobs(ours)
    running, begun, open_at = Searches(everything, where), [], []
    assert not running.finished
    while not running.finished:
        batch = [*iter(running.propose, None)]
        assert batch
        for request in batch:
            if request.search not in begun:
                begun.append(request.search)
                open_at.append(where.has(everything[0]))
            assert running.job(request).plan.partition.rows.size == 30
            running.tell(request, fake(request, running))
    # All but the child begin at once; it begins once its parent is saved.
    assert begun[-1] == 1
    assert open_at == [False] * (len(everything) - 1) + [True]
    assert all(map(where.has, everything))
    assert Searches(everything, where).finished
    assert Searches(everything, where).propose() is None


def test_one_search_is_the_same_alone_and_among_others(searched, digits, tmp_path):
    ours = searched[0]
    found = []
    for name, some in (("all", jobs(ours)), ("row", [ours.row_searches["finetune", "rum_f"]])):
        where = Context(digits, Store(tmp_path / name))
        running = Searches(some, where)
        while not running.finished:
            for request in [*iter(running.propose, None)]:
                running.tell(request, fake(request, running))
        found.append(ours.row_searches["finetune", "rum_f"].ledger(where).plain())
    assert found[0] == found[1]


def test_a_noisy_objective_is_an_error_before_the_search(searched, monkeypatch):
    from rum_ray.errors import ConfigError
    from rum_ray.study import validation

    ours = searched[0]
    check_floor(ours)
    alike = Study(config.parse(TREE, ["search.objective=examples"]), ours.context)
    check_floor(alike)
    monkeypatch.setattr(validation, "LARGEST_FLOOR", 1e-4)
    for each, place in ((ours, "attack"), (alike, "objective")):
        with pytest.raises(ConfigError, match=rf"^search\.{place}: .* validation examples would"):
            check_floor(each)
