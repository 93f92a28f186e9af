"""What the search and its cost show, in words."""

import pandas as pd

from rum_ray.report import figure_search
from rum_ray.report.ranking import metric, subject
from rum_ray.report.text import Json, count, duration, label, number, percent, share


def plan(report: Json) -> str:
    """Return the finding of the boxes."""
    row = subject(report["rows"])
    if row is None or not row.get("plan"):
        return "There is no plan"
    steps = count(len(row["plan"]), "step")
    return f"{label(row)}: {steps} for {share(metric(row, 'cost'))} of the cost of one retraining"


def progress(trials: pd.DataFrame) -> str:
    """Return the finding of the search curves."""
    found = figure_search.complete(trials)
    best = found.loc[found["objective"] == found["objective"].max()].iloc[0]
    total = int((trials["search"] == best["search"]).sum())
    which = f"{best['search']}, number {int(best['trial']) + 1} of {total}"
    return f"The best trial came from {which}, with {number(float(best['objective']))}"


def choice(found: dict[str, dict[str, list[float]]]) -> str:
    """Return the finding of the panels of choices."""
    value, name = max(
        (figure_search.explained(groups) or 0.0, name) for name, groups in found.items()
    )
    if value < 0.1:
        return "No single choice of an unlearner explains much of a trial's quality"
    part = f"it explains {percent(value)} of the variance between trials"
    return f"The choice for “{name}” mattered most: {part}"


def cost(trials: pd.DataFrame) -> str:
    """Return the finding of quality against cost."""
    edge = figure_search.front(trials)
    if edge.empty:
        return "Quality against cost of each method"
    best = edge.iloc[-1]
    near = edge[edge["objective"] >= best["objective"] - 0.02].iloc[0]
    text = f"The best trial costs {percent(float(best['cost']))} of a retraining"
    if near["cost"] >= best["cost"]:
        return f"{text}; no cheaper one comes within 0.02 of it"
    return f"{text}; one for {percent(float(near['cost']))} comes within 0.02 of it"


def stages(report: Json) -> str:
    """Return the finding of the stage times."""
    timed = [(stage.get("seconds") or 0.0, stage["name"]) for stage in report["stages"]]
    total = sum(seconds for seconds, _ in timed)
    if not total:
        return "No time was measured"
    longest, name = max(timed)
    return f"It took {duration(total)}; {percent(longest / total)} of that went into {name}"
