"""What each freedom of a plan is worth: the ladder of spaces, in words and as a table."""

from itertools import pairwise

from rum_ray.report.facts import Table
from rum_ray.report.findings_search import main
from rum_ray.report.ranking import same, verdict, worse
from rum_ray.report.text import (
    DASH,
    OBJECTIVE,
    Json,
    count,
    interval,
    listed,
    number,
    share,
    space,
    span,
)

CONTROL = "shuffled"
"""The method that is no rung: the plan of V1 on random subsets."""


def climbed(report: Json) -> list[Json]:
    """Return the rungs without the control, V0 first; one alone is no ladder, and none."""
    rungs = [rung for rung in _all(report) if rung["method"] != CONTROL]
    return rungs if len(rungs) > 1 else []


def control(report: Json) -> Json | None:
    """Return what was measured on random subsets, if it was."""
    return next((rung for rung in _all(report) if rung["method"] == CONTROL), None)


def claims(report: Json) -> list[Json]:
    """Return the claims of the ladder."""
    found: list[Json] = (report.get("ladder") or {}).get("claims") or []
    return found


def finding(report: Json) -> str:
    """Return what the ladder is worth from end to end, and what each rung adds."""
    names = [rung["space"] for rung in climbed(report)]
    whole = _claim(report, names[-1], names[0])
    if whole is None:
        seeds = len(climbed(report)[0]["objective"]["values"])
        return f"{count(seeds, 'seed')} cannot tell the rungs of the ladder apart"
    text = f"{names[-1]} is {_worth(whole)} over {names[0]}"
    steps = [step for a, b in pairwise(names) if (step := _claim(report, b, a)) is not None]
    shown = [f"{step['a']} adds {number(step['mean'])}" for step in steps if step["shown"]]
    lost = [f"{s['a']} is worse than {s['b']} by {number(-s['mean'])}" for s in steps if worse(s)]
    others = [str(s["a"]) for s in steps if verdict(s) == "not shown"]
    alike = [f"{s['a']} found the plan of {s['b']}" for s in steps if same(s)]
    told = [listed(found) for found in (shown, lost, alike) if found]
    told += [f"what {listed(others)} {'add' if others[1:] else 'adds'} is not shown"] * any(others)
    return f"{text}: {'; '.join(told)}" if len(names) > 2 else text


def subsets(report: Json) -> str:
    """Return what refined subsets are worth over random ones, or that they were not compared."""
    random = control(report)
    claim = None if random is None else _claim(report, "V1", random["space"])
    if claim is None:
        return "Refined subsets were not compared with random ones"
    return (
        f"Refined subsets are {_worth(claim)} over random ones: {span(claim['low'], claim['high'])}"
    )


def rungs(report: Json) -> Table:
    """Return each rung with its quality and cost, and what it is worth over the one before it."""
    below = {above["space"]: rung["space"] for rung, above in pairwise(climbed(report))}
    random = control(report)
    cells = []
    for rung in (*climbed(report), *([random] if random else [])):
        claim = _claim(report, rung["space"], below.get(rung["space"], ""))
        told = "shown" if claim is None else verdict(claim)
        more = "" if told in ("shown", "the same") else f", {told}"
        cells.append(
            (
                space(rung["space"]),
                interval(rung["objective"]),
                share(rung["cost"]),
                DASH if claim is None else f"{_difference(claim)}{more}",
            )
        )
    columns = ("rung", OBJECTIVE, "cost", "worth over the one before")
    return Table(columns, tuple(cells))


def curves(report: Json) -> dict[str, list[float]]:
    """Return the best that 1, 2, ... trials may be expected to reach, by the space of a rung."""
    names = [rung["space"] for rung in climbed(report)]
    return {
        search["space"]: search["expected_best"]
        for search in main(report)
        if search["space"] in names and search.get("expected_best")
    }


def _all(report: Json) -> list[Json]:
    found: list[Json] = (report.get("ladder") or {}).get("rungs") or []
    return found


def _claim(report: Json, a: str, b: str) -> Json | None:
    """Return the claim that the plan of one space is better than that of another."""
    return next((each for each in claims(report) if (each["a"], each["b"]) == (a, b)), None)


def _worth(claim: Json) -> str:
    if same(claim):
        return "worth nothing"
    known = claim["shown"] or worse(claim)
    return f"worth {number(claim['mean'])}" if known else "not shown to be worth anything"


def _difference(claim: Json) -> str:
    if same(claim):
        return "the same plan"
    return f"{number(claim['mean'], sign=True)} {span(claim['low'], claim['high'])}"
