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
)
from rum_ray.report.figures import search as figures
from rum_ray.report.figures.style import draw
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import mean, metric, subject
from rum_ray.report.sections.picks import finalists, main, pareto, searches
from rum_ray.report.text import (
    format_count,
    format_number,
    format_percent,
    format_settings,
    format_share,
    label,
    objective_title,
    searched_title,
    unlearner_title,
)
from rum_ray.report.trials import (
    choices,
    comparable,
    complete,
    explained,
    freest_search,
    front,
    picked,
    trial_name,
)
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
        last = main(summary.searches)[-1]
        if last.finalists:
            blocks.append(finalists(last))
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
    name = searched_title(summary.searches[0])
    svg = draw("progress", title, lambda: figures.progress(trials, name))
    return Figure("progress", title, caption, svg)


def progress_finding(searches: Sequence[SearchSummary], found: pd.DataFrame) -> str:
    """Return the best of the complete trials, and its relation to the pick."""
    best = found.loc[found["objective"] == found["objective"].max()].iloc[0]
    value, search = format_number(float(best["objective"])), main(searches)[-1]
    name = trial_name(str(best["search"]), int(best["trial"]))
    text = f"The best trial is {name}, with {value} on search seeds"
    fresh = format_number(search.best.validated)
    if json.loads(best["plan"]) == to_json(search.best.plan):
        return f"{text}; its plan was picked, with {fresh} on fresh seeds"
    return f"{text}; the picked plan is another one, of {search.space}, with {fresh} on fresh seeds"


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
    pick = main(summary.searches)[-1].best.plan
    star = picked(trials, search, pick, [subset.name for subset in summary.subsets])
    shown = (
        "the star is the plan that was picked"
        if star
        else "there is no star, since the picked plan is a trial of another search"
    )
    caption = (
        f"Each dot is a trial of the search {search}, drawn in each panel at the unlearner of that "
        f"subset; strokes are medians, {shown}. Unless they are drawn at random, "
        "later trials depend on earlier ones, so this describes the search; it is no evidence "
        f"about the unlearners. n = {format_count(total, 'trial')}."
    )
    name = searched_title(main(summary.searches)[-1])
    svg = draw("choices", title, lambda: figures.choice_panels(found, star, name))
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
    reported = objective_title(summary.attack)
    name = searched_title(summary.searches[0]) if summary.searches else reported
    svg = draw("cost", title, lambda: figures.cost(trials, rows, cap, name, reported))
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
