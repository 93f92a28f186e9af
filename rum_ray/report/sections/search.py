"""The search: the plan, the progress, the choices, quality against cost, and the picks."""

import json
from collections.abc import Sequence

import pandas as pd

from rum_ray.report.blocks import (
    Block,
    Command,
    Figure,
    Paragraph,
    PlanBox,
    PlanSteps,
    Section,
    Table,
    text_table,
)
from rum_ray.report.figures import search as figures
from rum_ray.report.figures.style import draw
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import mean, metric, subject
from rum_ray.report.text import (
    OBJECTIVE,
    format_count,
    format_duration,
    format_number,
    format_percent,
    format_plan,
    format_settings,
    format_share,
    label,
    space_title,
    unlearner_title,
)
from rum_ray.report.trials import choices, comparable, complete, explained, freest_search, front
from rum_ray.results.report import Report
from rum_ray.results.schema import PlanStep, Row, SearchSummary, Summary, to_json

PICK = Command(
    'rum-ray tune FILE --pick "cost<=0.2"',
    "picks among the trials that cost at most 20 % of a retraining.",
)


def section(report: Report, _: Gallery) -> Section:
    """Return the plan, the figures of the search, the Pareto front and the picks."""
    summary, trials = report.summary, comparable(report.trials)
    blocks: list[Block] = [_plan(summary) or _note("There is no plan.")]
    if summary.searches:
        blocks += [
            _progress(summary, trials)
            or _note("No trial was completed, so there is no progress to show."),
            _choices(summary, trials) or _note("There are too few choices to compare."),
        ]
    else:
        blocks.append(
            _note("No search ran: plans and hyperparameters are from the file, or defaults.")
        )
    blocks.append(_cost(summary, trials) or _note("No costs are known."))
    widest = freest(summary.searches)
    if widest is not None:
        blocks += [pareto(widest), PICK]
    if summary.searches:
        blocks.append(searches(summary.searches))
    return Section("search", "How the plan was found", tuple(blocks))


def _note(text: str) -> Paragraph:
    return Paragraph(text, "note")


def _plan(summary: Summary) -> PlanSteps | None:
    """Return the steps of the report's plan."""
    row = subject(summary.rows)
    if row is None or not row.plan:
        return None
    steps = tuple(_box(summary, step) for step in row.plan)
    caption = "The subsets in the order of unlearning, each with its unlearner."
    return PlanSteps(plan_finding(row), caption, steps, format_share(metric(row, "cost")))


def plan_finding(row: Row) -> str:
    """Return the number of steps of a row's plan and its cost."""
    steps, cost = format_count(len(row.plan), "step"), format_share(metric(row, "cost"))
    picked = ", the plan of the search" if (row.method, row.source) == ("rum", "search") else ""
    return f"{label(row)}{picked}: {steps} for {cost} of the cost of one retraining"


def _box(summary: Summary, step: PlanStep) -> PlanBox:
    subset = next((subset for subset in summary.subsets if subset.name == step.subset), None)
    note = ""
    if subset is not None:
        score = format_number(subset.score, 2)
        note = f"{format_count(subset.size, 'example')}, mean score {score}"
    return PlanBox(step.subset, note, unlearner_title(step.name), tuple(format_settings(step)))


def main(searches: Sequence[SearchSummary]) -> list[SearchSummary]:
    """Return the searches by the main reference; the last one's pick is RUM's plan."""
    return [each for each in searches if each.reference == searches[0].reference]


def freest(searches: Sequence[SearchSummary]) -> SearchSummary | None:
    """Return the main search of the largest space, if its Pareto front is known."""
    known = [search for search in main(searches) if search.front]
    return max(known, key=lambda search: search.space, default=None)


def _progress(summary: Summary, trials: pd.DataFrame) -> Figure | None:
    """Return the best objective so far of each search."""
    found = complete(trials)
    if found.empty:
        return None
    title = progress_finding(summary.searches, found)
    total = format_count(len(trials), "trial")
    caption = (
        "Lines: the best trial so far; dots: the trials. Every search has the same cap on cost. "
        "Trials without a dot are above the cap, diverged, or lie below the frame. "
        f"n = {format_count(len(found))} complete of {total}."
    )
    svg = draw("progress", title, lambda: figures.progress(trials))
    return Figure("progress", title, caption, svg)


def progress_finding(searches: Sequence[SearchSummary], found: pd.DataFrame) -> str:
    """Return the best of the complete trials, and its relation to the pick."""
    best = found.loc[found["objective"] == found["objective"].max()].iloc[0]
    value, search = format_number(float(best["objective"])), main(searches)[-1]
    text = f"The best trial is number {int(best['trial'])} of {best['search']}, with {value}"
    if json.loads(best["plan"]) == to_json(search.best.plan):
        return f"{text}; its plan was picked"
    picked = format_number(search.best.objective)
    return f"{text}; the picked plan is another one, of {search.space}, with {picked}"


def _choices(summary: Summary, trials: pd.DataFrame) -> Figure | None:
    """Return the objective by unlearner and subset, in the search of the largest space."""
    if complete(trials).empty:
        return None
    search = freest_search(trials)
    found = choices(trials, search, [subset.name for subset in summary.subsets])
    if not found or max(len(groups) for groups in found.values()) < 2:
        return None
    title = _choice_finding(found)
    total = sum(len(values) for values in next(iter(found.values())).values())
    caption = (
        f"Each dot is a trial of the search {search}, drawn in each panel at the unlearner of that "
        "subset; strokes are medians, the star is the best trial. Unless they are drawn at random, "
        "later trials depend on earlier ones, so this describes the search; it is no evidence "
        f"about the unlearners. n = {format_count(total, 'trial')}."
    )
    svg = draw("choices", title, lambda: figures.choice_panels(found))
    return Figure("choices", title, caption, svg)


def _choice_finding(found: dict[str, dict[str, list[float]]]) -> str:
    value, name = max((explained(groups) or 0.0, name) for name, groups in found.items())
    if value < 0.1:
        return "No single choice of an unlearner explains much of a trial's quality"
    part = f"it explains {format_percent(value)} of the variance between trials"
    return f"The choice for “{name}” mattered most: {part}"


def _cost(summary: Summary, trials: pd.DataFrame) -> Figure | None:
    """Return quality against cost, of trials and of methods."""
    rows = summary.rows
    if not [row for row in rows if None not in (mean(row, "cost"), mean(row, "objective"))]:
        return None
    title, found = cost_finding(trials), complete(trials)
    cap = next((search.max_cost for search in summary.searches if search.max_cost), None)
    caption = "Cost counts examples passed forward and backward, as a share of one retraining. "
    if not found.empty:
        line = ", and the dashed line the cap on cost" if cap else ""
        caption += (
            "Left: the trials; the line is the Pareto front, on which no cheaper trial is as good"
            f"{line}. Right: the methods of the table, with 95 % intervals; shapes as in the first "
            "figure. "
        )
    seeds = max((len(row.seeds) for row in rows), default=0)
    caption += f"n = {format_count(len(found), 'trial')}, {format_count(seeds, 'seed')}."
    svg = draw("cost", title, lambda: figures.cost(trials, rows, cap))
    return Figure("cost", title, caption, svg)


def cost_finding(trials: pd.DataFrame) -> str:
    """Return the cost of the best trial, and of the cheapest one close to it."""
    edge = front(trials)
    if edge.empty:
        return "Quality against cost of each method"
    best = edge.iloc[-1]
    near = edge[edge["objective"] >= best["objective"] - 0.02].iloc[0]
    text = f"The best trial costs {format_percent(float(best['cost']))} of a retraining"
    if near["cost"] >= best["cost"]:
        return f"{text}; no cheaper one comes within 0.02 of it"
    return f"{text}; one for {format_percent(float(near['cost']))} comes within 0.02 of it"


def pareto(search: SearchSummary) -> Table:
    """Return the Pareto front of a search, by rising cost."""
    cells = [
        (
            format_count(point.trial) + (", picked" if point.plan == search.best.plan else ""),
            format_percent(point.cost),
            format_number(point.objective),
            format_plan(point.plan),
        )
        for point in search.front
    ]
    caption = f"Trials of the search {search.space}, with the objective on validation data."
    if search.pick:
        caption += f" The plan of this report was picked among trials of {search.pick}."
    return text_table(
        "Pareto front",
        ("trial", "cost", OBJECTIVE, "plan"),
        cells,
        words=(0, 3),
        title=_pareto_finding(search),
        caption=caption,
        style="compact",
    )


def _pareto_finding(search: SearchSummary) -> str:
    first, last = search.front[0], search.front[-1]
    if first is last:
        cost = format_percent(last.cost)
        return f"One trial is both the best and the cheapest, for {cost} of a retraining"
    ends = [f"{format_number(p.objective)} for {format_percent(p.cost)}" for p in (first, last)]
    return f"The Pareto front of trials leads from {ends[0]} of a retraining to {ends[1]}"


def searches(searches: Sequence[SearchSummary]) -> Table:
    """Return the budget, the counts and the pick of each search."""
    columns = (
        "space",
        "trials",
        "drawn again",
        "infeasible",
        "diverged",
        "J of its pick",
        "on fresh seeds",
        "cost",
        "time",
        "its pick",
    )
    cells = [
        (
            space_title(each.space) + _reference(searches, each),
            *map(format_count, (each.trials, each.drawn_again, each.infeasible, each.diverged)),
            format_number(each.best.objective),
            format_number(each.best.validated),
            format_percent(each.best.cost),
            format_duration(each.seconds),
            format_plan(each.best.plan),
        )
        for each in searches
    ]
    caption = (
        "Its pick: the best trials of a search are run again on fresh seeds, and the plan with the "
        f"best mean over all seeds is picked. The pick of {main(searches)[-1].space} is the plan "
        "of this report. J is on validation data: first on the seeds of the search, where the best "
        "of many trials is partly luck, then on the fresh ones. J is measured on the forget set "
        "or, where the table says so, on the matched set: examples that stay, on which the "
        "surrogate tries its plans. J on one set is not comparable with J on the other."
    )
    title = "The pick of each search"
    return text_table("Searches", columns, cells, words=(0, 9), title=title, caption=caption)


def _reference(searches: Sequence[SearchSummary], search: SearchSummary) -> str:
    """Return the reference of a search if it is not the main one's, and its matched set."""
    matched = " on its matched set" if search.reference == "surrogate" else ""
    if search.reference == searches[0].reference:
        return matched
    return f", by the {search.reference}{matched}"


def outdone(searches: Sequence[SearchSummary]) -> list[str]:
    """Return a line per main search whose pick is better on fresh seeds than RUM's plan."""
    *others, last = main(searches)
    return [
        f"On fresh seeds the pick of {other.space} is better: "
        f"{format_number(other.best.validated)}, against {format_number(last.best.validated)} for "
        f"{last.space}."
        for other in others
        if other.best.validated > last.best.validated
    ]
