"""What the searches found, as report.json has it: each search, the ladder, and the references."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rum_ray.evaluation.statistics import LEAST_SEEDS, compare, expected_best
from rum_ray.experiment import plan_as_dicts
from rum_ray.jobs.search import Trial
from rum_ray.results.rows import claims
from rum_ray.search.objective import INFEASIBLE
from rum_ray.study.costs import trainings
from rum_ray.study.methods import METHODS, method_of
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock

Entry = dict[str, Any]


def search_entries(study: Study, clock: Clock) -> list[dict[str, Any]]:
    """Return what each search may do, did and found; nothing without a search."""
    return [_search(study, name, clock) for name in study.searches]


def _search(study: Study, name: str, clock: Clock) -> dict[str, Any]:
    """Return what a search may do, did and found."""
    context, search = study.context, study.searches[name]
    config = search.config
    trials, pick = search.load(context), search.pick(context)
    tried, fresh = (context.load(search.trial(pick, fresh)).value for fresh in (False, True))
    statuses = Counter(trial["status"] for trial in trials)
    objectives = drawn(trials, config.budget)
    return {
        "name": METHODS[search.name],
        "space": search.name,
        "sampler": config.sampler,
        "trials": len(trials),
        "starts": len(search.starts),
        "objective": "tow - mia_gap",
        "split": "validation",
        "attack": config.attack,
        "reference": config.reference,
        "max_cost": config.max_cost,
        "pick": config.pick,
        "seconds": _seconds(clock, f"search {name}"),
        "complete": statuses["complete"],
        "infeasible": statuses["infeasible"],
        "drawn_again": search.drawn_again(context),
        "diverged": statuses["diverged"],
        "best": {
            "plan": plan_as_dicts(pick),
            "objective": tried["objective"],
            "validated": fresh["objective"],
            "cost": tried["cost"],
        },
        "front": [
            {**{key: trial[key] for key in ("objective", "cost", "plan")}, "trial": trial["number"]}
            for trial in search.front(context)
        ],
        "expected_best": expected_best(objectives).tolist() if objectives else [],
    }


def drawn(trials: Sequence[Trial], budget: float) -> list[float]:
    """Return J of the trials that were drawn, not given; -1 for what costs more than a pick may."""
    return [
        trial["objective"] if trial["cost"] <= budget else INFEASIBLE
        for trial in trials
        if not trial["start"]
    ]


def _seconds(clock: Clock, stage: str) -> float | None:
    """Return what a stage took; None if it was made elsewhere."""
    known = clock.stages.get(stage)
    return None if known is None or not known.made else known.seconds


def ladder_entry(study: Study, rows: Sequence[Entry]) -> Entry | None:
    """Return what each space is worth, measured on the reported seeds and on test.

    Each rung is compared with the one before it, the first on subsets with its control on random
    subsets, and the last with the first; Holm corrects over these claims.

    Returns:
        None unless several spaces were searched.
    """
    if len(study.rungs) < 2:
        return None
    found: dict[str, Entry] = {s.name: _row(rows, method_of(study, s)) for s in study.rungs}
    first, *_, last = found
    pairs = list(zip(found, [*found][1:], strict=False))
    if any(row["method"] == "shuffled" for row in rows):
        found["shuffle"] = _row(rows, "shuffled")
        pairs.append(("shuffle", "V1"))
    if len(study.rungs) > 2:
        pairs.append((first, last))
    return {
        "rungs": [
            {
                "space": space,
                "method": row["method"],
                "trials": row["trials"],
                **{name: row["metrics"][name] for name in ("objective", "tow", "cost")},
            }
            for space, row in found.items()
        ],
        "claims": claims([((b, found[b]), (a, found[a])) for a, b in pairs]),
    }


def _row(rows: Sequence[Entry], method: str, source: str = "search") -> Entry:
    """Return the row of a search."""
    return next(row for row in rows if (row["method"], row["source"]) == (method, source))


def reference_entries(study: Study, rows: Sequence[Entry]) -> list[Entry]:
    """Return what each reference that a search knew cost, and what its plan is worth.

    Regret is J(oracle's plan) - J(this one's), both as reported: lower is better.
    """
    search = study.experiment.search
    if search is None or not search.also:
        return []
    found = {
        name: _row(rows, "rum", "search" if name == search.reference else name)
        for name in study.references
    }
    best = found.get("oracle")
    return [
        {
            "reference": name,
            "main": name == search.reference,
            "trials": row["trials"],
            "trainings": sum(map(trainings, study.references[name].models)),
            "objective": row["metrics"]["objective"],
            "regret": None if best is None or name == "oracle" else _regret(best, row),
        }
        for name, row in found.items()
    ]


def _regret(best: Entry, row: Entry) -> Entry | None:
    """Return how much worse a row is, paired by seed; None with too few seeds."""
    ours, theirs = (r["metrics"]["objective"]["values"] for r in (best, row))
    return asdict(compare(ours, theirs)) if len(ours) >= LEAST_SEEDS else None
