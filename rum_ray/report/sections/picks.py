"""Tables of the searches: the picks, the finalists, and the Pareto front."""

from collections.abc import Sequence

from rum_ray.report.blocks import Table, text_table
from rum_ray.report.text import (
    format_count,
    format_duration,
    format_number,
    format_percent,
    format_plan,
    join_words,
    searched_title,
    space_title,
)
from rum_ray.report.trials import trial_name
from rum_ray.results.schema import SearchSummary


def main(searches: Sequence[SearchSummary]) -> list[SearchSummary]:
    """Return the searches by the main reference; the last one's pick is RUM's plan."""
    return [each for each in searches if each.reference == searches[0].reference]


def pareto(search: SearchSummary) -> Table:
    """Return the Pareto front of a search, by rising cost."""
    cells = [
        (
            trial_name(search.space, point.trial)
            + (", picked" if point.plan == search.best.plan else ""),
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
        ("trial", "cost", searched_title(search), "plan"),
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
        "trainings",
        "trials",
        "drawn again",
        "diverged",
        "expected J",
        "cost",
        "time",
        "its pick",
    )
    cells = [
        (
            space_title(each.space) + _reference(searches, each),
            format_number(each.whole, 1),
            *map(format_count, (each.trials, each.drawn_again, each.diverged)),
            format_number(each.best.validated),
            format_percent(each.best.cost),
            format_duration(each.seconds),
            format_plan(each.best.plan),
        )
        for each in searches
    ]
    caption = (
        "Its pick: the best trials of a search are run again on fresh seeds, and the plan that is "
        f"best there is picked. The pick of {main(searches)[-1].space} is the plan of this report. "
        "Trainings: cost of the search and of the parts of smaller ones from which it started. "
        f"Expected J: {searched_title(searches[0])} of the pick on the fresh seeds and on "
        "validation data. J on the seeds of the search is no estimate: the best of many trials is "
        "partly luck. J is measured on the forget set "
        "or, where the table says so, on the matched set: examples that stay, on which the "
        "surrogate tries its plans. J on one set is not comparable with J on the other."
    )
    title = "The pick of each search"
    return text_table("Searches", columns, cells, words=(0, 8), title=title, caption=caption)


def finalists(search: SearchSummary) -> Table:
    """Return the plans that a search compared on fresh seeds, best first."""
    columns = (
        *("plan", "cost", "J searched", "J fresh", "worst fresh", "AUC gap", "SVM gap"),
        *("agreement", "outcome"),
    )
    cells = [
        (
            format_plan(each.plan),
            format_percent(each.cost),
            *map(format_number, (each.objective, each.validated, each.worst)),
            *map(format_number, (each.auc_gap, each.svm_gap, each.examples)),
            each.dropped or ("picked" if each.plan == search.best.plan else ""),
        )
        for each in search.finalists
    ]
    caption = (
        f"J: {searched_title(search)} on validation data, first on the seeds of the search, then "
        "on fresh ones. The pick is the best one by ToW less the mean of both gaps, or by "
        "agreement if that was searched. Agreement: with the models of the reference, example by "
        "example; 1 is as alike as they are among themselves."
    )
    title = dropped(search)
    return text_table("Finalists", columns, cells, words=(0, 8), title=title, caption=caption)


def dropped(search: SearchSummary) -> str:
    """Return the number of finalists of a search, and of those that could not be picked."""
    count = sum(each.dropped is not None for each in search.finalists)
    total = format_count(len(search.finalists), "finalist")
    if not count:
        return f"{total} of {search.space}; none was dropped"
    reasons = dict.fromkeys(each.dropped for each in search.finalists if each.dropped)
    return f"{total} of {search.space}; {count} dropped: {join_words([*reasons])}"


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
