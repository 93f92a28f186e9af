"""What the search and its cost show, in words."""

import json

import pandas as pd

from rum_ray.report import figure_search
from rum_ray.report.ranking import LEVEL, metric, same, subject
from rum_ray.report.text import (
    Json,
    count,
    duration,
    interval,
    label,
    number,
    percent,
    share,
    span,
)

PICK = 'rum-ray tune FILE --pick "cost<=0.2"'
PICKS = "picks among the trials that cost at most 20 % of a retraining."
"""How to choose from the front: a command, and what it does."""
REFERENCES = (
    "Main: the search that the rest of this report is about. Trainings: how many models were "
    "trained to know the reference, in trainings of the original. "
    "Regret: what the plan loses against the oracle's on test data, paired by seed; lower is "
    "better. The oracle knows models retrained without the forget set, and who has those need not "
    "unlearn: it is a bound for the others. A user can deploy the surrogate, tuned on a matched "
    "set of examples that stay, and applied to the forget set unchanged. The pool needs no "
    "retraining; its expected accuracies are too low as levels, but rank plans."
)
"""How the table of references is read."""


def plan(report: Json) -> str:
    """Return the finding of the boxes."""
    row = subject(report["rows"])
    if row is None or not row.get("plan"):
        return "There is no plan"
    steps = count(len(row["plan"]), "step")
    picked = (row["method"], row.get("source")) == ("rum", "search")
    name = f"{label(row)}, the plan that was picked" if picked else label(row)
    return f"{name}: {steps} for {share(metric(row, 'cost'))} of the cost of one retraining"


def main(report: Json) -> list[Json]:
    """Return the searches by the reference that counts; the last one's pick is RUM's plan."""
    searches = report["searches"]
    return [each for each in searches if each["reference"] == searches[0]["reference"]]


def progress(report: Json, trials: pd.DataFrame) -> str:
    """Return the finding of the search curves: the best trial, and whether it was picked."""
    found = figure_search.complete(trials)
    best = found.loc[found["objective"] == found["objective"].max()].iloc[0]
    value = number(float(best["objective"]))
    text = f"The best trial is number {int(best['trial'])} of {best['search']}, with {value}"
    search = main(report)[-1]
    if json.loads(best["plan"]) == search["best"]["plan"]:
        return f"{text}; its plan was picked"
    picked = number(search["best"]["objective"])
    return f"{text}; the plan that was picked is another one, of {search['space']}, with {picked}"


def outdone(report: Json) -> list[str]:
    """Return which other searches' picks did better on fresh seeds than the plan, a line each."""
    *others, last = main(report)
    return [
        f"On fresh seeds the pick of {other['space']} did better: "
        f"{number(other['best']['validated'])}, and {last['space']}'s {number(own)}."
        for other in others
        if other["best"]["validated"] > (own := last["best"]["validated"])
    ]


def picks(report: Json) -> str:
    """Return how the table of searches is read."""
    return (
        "Its pick: the best trials of a search run again on fresh seeds, and the plan that is best "
        f"over all seeds is picked. That of {main(report)[-1]['space']} is the plan of this "
        "report. J is on validation data: first on the seeds of the search, where the best of many "
        "trials is partly luck, then on the fresh ones. It is about the forget set, or, where "
        "that is said, about the matched set: examples that stay, on which the surrogate tries its "
        "plans. J on one set is not compared with J on the other."
    )


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


def freest(report: Json) -> Json | None:
    """Return the main search that leaves most to choose, if its Pareto front is known."""
    searches = [search for search in main(report) if search.get("front")]
    return max(searches, key=lambda search: str(search["space"]), default=None)


def front(search: Json) -> str:
    """Return the finding of a search's Pareto front."""
    first, last = search["front"][0], search["front"][-1]
    if first is last:
        return (
            f"One trial is the best and the cheapest, for {percent(last['cost'])} of a retraining"
        )
    ends = [f"{number(p['objective'])} for {percent(p['cost'])}" for p in (first, last)]
    return f"From {ends[0]} of a retraining to {ends[1]}: the trials that no cheaper one matches"


def reading(search: Json) -> str:
    """Return how the table of the front is read."""
    text = (
        f"Trials of the search {search['space']}, by rising cost, with what each reached on "
        "validation data."
    )
    if not search.get("pick"):
        return text
    return f"{text} The plan of this report was picked among trials of {search['pick']}."


def references(report: Json) -> str:
    """Return what tuning without knowing models retrained without the forget set loses."""
    entries = {entry["reference"]: entry for entry in report["references"]}
    if "oracle" not in entries:
        return "Regret is unknown: no search knew the oracle"
    regret = entries.get("surrogate", {}).get("regret")
    if regret is None:
        return f"The plan of the oracle reaches {interval(entries['oracle']['objective'])}"
    if same(regret):
        return "What a user can deploy, the surrogate's plan, is the oracle's plan"
    far = f"{number(regret['mean'])} {span(regret['low'], regret['high'])}"
    if regret["low"] > 0 and regret["p"] < LEVEL:
        return f"What a user can deploy, the surrogate's plan, loses {far} against the oracle's"
    who = "What a user can deploy, the surrogate's plan, is not shown to lose"
    return f"{who} against the oracle's: {far}"


def stages(report: Json) -> str:
    """Return the finding of the stage times."""
    timed = [(stage.get("seconds") or 0.0, stage["name"]) for stage in report["stages"]]
    total = sum(seconds for seconds, _ in timed)
    if not total:
        return "No time was measured"
    longest, name = max(timed)
    return f"It took {duration(total)}; {percent(longest / total)} of that went into {name}"
