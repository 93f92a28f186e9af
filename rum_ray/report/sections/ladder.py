"""The ladder: the worth of each freedom of a plan, from one unlearner to one per subset."""

from dataclasses import replace
from itertools import pairwise

from rum_ray.report.blocks import Block, Figure, Section, Table, text_table
from rum_ray.report.figures.ladder import ladder as draw_ladder
from rum_ray.report.figures.style import draw
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import find, is_same, is_worse, mean, verdict
from rum_ray.report.sections.picks import main
from rum_ray.report.sections.reliability import claims_table
from rum_ray.report.text import (
    DASH,
    finite,
    format_count,
    format_interval,
    format_metric,
    format_number,
    format_share,
    join_words,
    metric_title,
    objective_title,
    space_title,
)
from rum_ray.report.verdicts import titles
from rum_ray.results.report import Report
from rum_ray.results.schema import Claim, Ladder, Metric, Rung, Summary

CONTROL = "shuffled"
"""The method that is not a rung: the plan of V1 on random subsets."""
KNOWN = ("shown", "worse", "the same", "not shown")
NO_LADDER = Ladder((), ())


def section(report: Report, _: Gallery) -> Section | None:
    """Return the figure of the rungs, their table, and the claims about them."""
    summary = report.summary
    ladder = summary.ladder or NO_LADDER
    if not climbed(ladder):
        return None
    blocks: list[Block] = [rungs(ladder, summary.attack)]
    if all(finite(measured(rung).mean) is not None for rung in climbed(ladder)):
        blocks = [_figure(summary, ladder), replace(rungs(ladder, summary.attack), title="")]
    if ladder.claims:
        title = subsets(ladder)
        blocks.append(claims_table(ladder.claims, summary.rows, "Claims of the ladder", title))
    return Section("ladder", "The ladder", tuple(blocks))


def climbed(ladder: Ladder) -> list[Rung]:
    """Return the rungs without the control, V0 first; none for a single rung."""
    rungs = [rung for rung in ladder.rungs if rung.method != CONTROL]
    return rungs if len(rungs) > 1 else []


def control(ladder: Ladder) -> Rung | None:
    """Return the plan on random subsets, if it was measured."""
    return next((rung for rung in ladder.rungs if rung.method == CONTROL), None)


def finding(ladder: Ladder) -> str:
    """Return the worth of the ladder from end to end, and of each rung."""
    names = [rung.space for rung in climbed(ladder)]
    whole = _claim(ladder, names[-1], names[0])
    if whole is None:
        seeds = format_count(len(climbed(ladder)[0].objective.values), "seed")
        return f"{seeds} cannot show a difference between the rungs of the ladder"
    text = f"{names[-1]} is {_worth(whole)} over {names[0]}"
    steps = [step for a, b in pairwise(names) if (step := _claim(ladder, b, a)) is not None]
    shown = [s for s in steps if verdict(s) == "shown"]
    added = [f"{step.a} adds {format_number(step.mean)}" for step in shown]
    alone = [
        f"{step.a} adds {format_number(step.mean)}, {verdict(step)} (not by {titles(step.against)})"
        for step in steps
        if verdict(step) not in KNOWN
    ]
    worse = [f"{s.a} is worse than {s.b} by {format_number(-s.mean)}" for s in steps if is_worse(s)]
    same = [f"{s.a} found the plan of {s.b}" for s in steps if is_same(s)]
    others = [step.a for step in steps if verdict(step) == "not shown"]
    parts = [join_words(found) for found in (added, alone, worse, same) if found]
    if others:
        parts.append(f"no gain is shown for {join_words(others)}")
    return f"{text}: {'; '.join(parts)}" if len(names) > 2 and parts else text


def subsets(ladder: Ladder) -> str:
    """Return the worth of refined subsets over random ones."""
    random = control(ladder)
    claim = None if random is None else _claim(ladder, "V1", random.space)
    if claim is None:
        return "Refined subsets were not compared with random ones"
    ends = format_interval(claim.low, claim.high)
    return f"Refined subsets are {_worth(claim)} over random ones: {ends}"


def rungs(ladder: Ladder, attack: str) -> Table:
    """Return each rung with its quality and cost, and its worth over the one before it.

    Args:
        ladder: the rungs and the claims about them.
        attack: the one that J is measured by.
    """
    below = {above.space: rung.space for rung, above in pairwise(climbed(ladder))}
    random = control(ladder)
    cells = [
        (
            space_title(rung.space),
            format_metric(measured(rung)),
            format_share(rung.cost),
            format_number(rung.whole, 1),
            _gain(ladder, rung.space, below[rung.space]) if rung.space in below else DASH,
        )
        for rung in (*climbed(ladder), *([random] if random else []))
    ]
    columns = (
        "rung",
        metric(ladder, attack),
        "cost",
        "trainings of its search",
        "worth over the one before",
    )
    return text_table("Rungs of the ladder", columns, cells, title=finding(ladder), style="compact")


def measured(rung: Rung) -> Metric:
    """Return the metric of a rung that decides the claims about it."""
    return rung.objective if rung.searched is None else rung.searched


def metric(ladder: Ladder, attack: str) -> str:
    """Return the name of the metric that decides; without claims, that of J by an attack."""
    return metric_title(ladder.claims[0].metric) if ladder.claims else objective_title(attack)


def _gain(ladder: Ladder, space: str, below: str) -> str:
    """Return the difference between two rungs, and the verdict where no gain is shown."""
    claim = _claim(ladder, space, below)
    if claim is None:
        return DASH
    if is_same(claim):
        return "the same plan"
    difference = format_number(claim.mean, sign=True)
    told = "" if verdict(claim) == "shown" else f", {verdict(claim)}"
    return f"{difference} {format_interval(claim.low, claim.high)}{told}"


def curves(summary: Summary, ladder: Ladder) -> dict[str, list[float]]:
    """Return the expected best of 1, 2, ... trials, by the space of a rung."""
    names = [rung.space for rung in climbed(ladder)]
    found = {}
    for search in main(summary.searches):
        values = [known for value in search.expected_best if (known := finite(value)) is not None]
        if search.space in names and values and len(values) == len(search.expected_best):
            found[search.space] = values
    return found


def _figure(summary: Summary, ladder: Ladder) -> Figure:
    """Return the figure of the rungs and of the expected best."""
    shown, random, lines = climbed(ladder), control(ladder), curves(summary, ladder)
    if random is not None and finite(measured(random).mean) is None:
        random = None
    title = finding(ladder)
    decides = ladder.claims[0].metric if ladder.claims else "objective"
    floor = mean(find(summary.rows, "retrained_again"), decides)
    caption = (
        "Each rung is a space of plans, named by its free choices, and searched with the same "
        "budget under the same cap; V0, the rival of all, with the budget of all. Dots: its plan, "
        "with the 95 % interval over seeds. The dashed line is the noise floor. "
    )
    if random is not None:
        caption += "Grey, at the end: the plan of V1 on random subsets. "
    if lines:
        caption += (
            "Right: the expected best objective of n trials of a search (Dodge et al., 2019). It "
            "assumes independent trials. Those of TPE depend on earlier ones: the curves describe "
            "the space, not the speed of its search. "
        )
    seeds, trials = len(shown[0].objective.values), max(rung.trials for rung in shown)
    caption += (
        f"n = {format_count(seeds, 'seed')}, at most {format_count(trials, 'trial')} per rung."
    )
    drawn = [replace(rung, objective=measured(rung)) for rung in shown]
    last = None if random is None else replace(random, objective=measured(random))
    name = metric(ladder, summary.attack)
    svg = draw("ladder", title, lambda: draw_ladder(drawn, last, floor, lines, name))
    return Figure("ladder", title, caption, svg)


def _claim(ladder: Ladder, a: str, b: str) -> Claim | None:
    """Return the claim that the plan of space `a` is better than that of space `b`."""
    found = (c for c in ladder.claims if (a, b) in ((c.a, c.b), *c.also))
    return next(found, None)


def _worth(claim: Claim) -> str:
    if is_same(claim):
        return "worth nothing"
    if verdict(claim) == "not shown":
        return "not shown to be worth anything"
    only = "" if verdict(claim) in KNOWN else f" ({verdict(claim)})"
    return f"worth {format_number(claim.mean)}{only}"
