"""The figures of a report with the finding above and the way to read them below.

A plate is None where the report has nothing to draw; the page then says so in a sentence.
"""

from dataclasses import dataclass

import pandas as pd

from rum_ray.report import (
    figure_ladder,
    figure_result,
    figure_scores,
    figure_search,
    findings,
    findings_scores,
    findings_search,
)
from rum_ray.report import ladder as rungs
from rum_ray.report.drawing import draw
from rum_ray.report.ranking import find, gap, mean
from rum_ray.report.text import Json, count, number


@dataclass(frozen=True)
class Plate:
    """A figure in the page.

    Attributes:
        name: unique in the page.
        title: what the figure shows, as a sentence.
        caption: how to read it, and of how many.
        picture: markup, SVG for light and for dark paper.
    """

    name: str
    title: str
    caption: str
    picture: str


def result(report: Json) -> Plate | None:
    """Return the picture of the result."""
    rows = report["rows"]
    measured = [row for row in rows if None not in (mean(row, "tow"), mean(row, gap(report)))]
    if not [row for row in measured if row["method"] != "retrained"]:
        return None
    title = findings.result(report)
    seeds = max(len(row["seeds"]) for row in measured)
    caption = (
        "Each mark is a method; bars are 95 % intervals over seeds. The best place is the upper "
        "left. Retraining a second time, from other initial weights, is as near to retraining as "
        "can be: the shaded corner is better than that, and nothing should be in it. A line joins "
        "the relatives of one unlearner: ● vanilla (the whole forget set at once), ▲ shuffle (in "
        f"random parts), ■ RUM^F (in parts by score). n = {count(seeds, 'seed')}, "
        f"{count(report['forget'].get('size'))} forgotten examples, "
        f"{count(report['data'].get('test'))} test examples."
    )
    picture = draw("result", title, lambda theme: figure_result.result(rows, gap(report), theme))
    return Plate("result", title, caption, picture)


def histogram(report: Json, scores: pd.DataFrame) -> Plate | None:
    """Return the histogram of the scores."""
    key, name = figure_scores.column(report, scores), figure_scores.score_name(report)
    if key is None:
        return None
    title, subsets = findings_scores.memorization(report, scores[key], scores), report["subsets"]
    auc = report["scores"].get("auc_flipped")
    wrong = figure_scores.mislabelled(scores)
    caption = "How the score is distributed. "
    if wrong is not None and auc is not None:
        caption = (
            "How the score is distributed among examples with clean and with wrong labels, each as "
            f"shares of its own group. AUC {number(auc, 2)}: the chance that a wrong label scores "
            "above a clean one. "
        )
    if subsets:
        caption += "Below the axis: the range of each subset of the forget set. "
    caption += f"n = {count(int(scores[key].notna().sum()), 'example')}"
    if report["scores"].get("models"):
        caption += f", {count(report['scores']['models'], 'model')}"
    picture = draw(
        "histogram",
        title,
        lambda theme: figure_scores.histogram(scores, key, name, subsets, theme),
    )
    return Plate("histogram", title, f"{caption}.", picture)


def density(report: Json, scores: pd.DataFrame) -> Plate | None:
    """Return the score against the first proxy that both the report and the table know."""
    proxies = report["scores"].get("proxies") or {}
    name = next((key for key in proxies if key in scores and scores[key].notna().any()), None)
    if name is None or report["scores"].get("name") != "memorization":
        return None
    title = findings_scores.proxy(report, name)
    repeats = max(len(entry.get("values") or []) for entry in proxies.values())
    runs = f" ({count(repeats, 'run')})" if repeats > 1 else ""
    models = count(report["scores"].get("models"))
    pairs = len(scores[[name, "memorization"]].dropna())
    caption = (
        "Left: how many examples have which pair of scores. "
        "Right: rank correlation of each proxy with memorization, with 95 % intervals: thin over "
        f"examples, thick over seeds{runs}. {findings_scores.same_subset(report, name)}"
        f"A proxy takes about one training, where memorization took {models}. "
        f"n = {count(pairs, 'example')}."
    )
    picture = draw("proxy", title, lambda theme: figure_scores.proxy(scores, name, proxies, theme))
    return Plate("proxy", title, caption, picture)


def entanglement(report: Json) -> Plate | None:
    """Return the entanglement score by subset."""
    known = [
        s for s in report["subsets"] if (s.get("entanglement_score") or {}).get("mean") is not None
    ]
    if not known:
        return None
    title = findings_scores.entanglement(known)
    seeds = max(len(s["entanglement_score"].get("values") or []) for s in known)
    caption = (
        "How close the embeddings of a subset are to those of all examples that stay: mean "
        "and 95 % interval, and below it one stroke a seed. Where there is a right half, it has "
        "the AUC of a linear probe between the two, on examples that it was not fitted to. "
        f"{_ranked_alike(report)}n = {count(seeds, 'original model')}."
    )
    picture = draw("entanglement", title, lambda theme: figure_scores.entanglement(known, theme))
    return Plate("entanglement", title, caption, picture)


def _ranked_alike(report: Json) -> str:
    """Return how MMD ranks the subsets, as a sentence; empty if nobody knows."""
    known = (report.get("entanglement") or {}).get("spearman_with_entanglement_score") or {}
    value = (known.get("mmd_median") or {}).get("mean")
    if value is None:
        return ""
    return f"Spearman of MMD with the entanglement score over the subsets: {number(value, 2)}. "


def progress(report: Json, trials: pd.DataFrame) -> Plate | None:
    """Return the best objective so far of each search."""
    found = figure_search.complete(trials)
    if found.empty:
        return None
    title = findings_search.progress(report, trials)
    caption = (
        "Lines: the best trial so far; dots: the trials. Every search has the same cap on cost. "
        "Trials that cost too much, diverged, or lie below "
        f"the frame have no dot. n = {count(len(found))} complete of {count(len(trials), 'trial')}."
    )
    return Plate(
        "progress",
        title,
        caption,
        draw("progress", title, lambda t: figure_search.progress(trials, t)),
    )


def choices(report: Json, trials: pd.DataFrame) -> Plate | None:
    """Return which unlearner did how well where, in the search that left most to choose."""
    if figure_search.complete(trials).empty:
        return None
    search = figure_search.freest_search(trials)
    subsets = [subset["name"] for subset in report["subsets"]]
    found = figure_search.choices(trials, search, subsets)
    if not found or max(len(groups) for groups in found.values()) < 2:
        return None
    title = findings_search.choice(found)
    total = sum(len(values) for values in next(iter(found.values())).values())
    caption = (
        f"Each dot is a trial of the search {search}, drawn in each panel at the unlearner that "
        "the subset got; strokes are medians, the star is the best trial. Unless they are drawn at "
        "random, later trials are proposed in the light of earlier ones, so this describes the "
        f"search, and proves nothing of the unlearners. n = {count(total, 'trial')}."
    )
    return Plate(
        "choices",
        title,
        caption,
        draw("choices", title, lambda t: figure_search.choice_panels(found, t)),
    )


def cost(report: Json, trials: pd.DataFrame) -> Plate | None:
    """Return quality against cost, of trials and of methods."""
    rows = report["rows"]
    if not [row for row in rows if None not in (mean(row, "cost"), mean(row, "objective"))]:
        return None
    title = findings_search.cost(trials)
    caps = [
        search["max_cost"] for search in report["searches"] if search.get("max_cost") is not None
    ]
    cap = caps[0] if caps else None
    caption = "Cost counts examples passed forward and backward, as a share of one retraining. "
    if not figure_search.complete(trials).empty:
        caption += (
            "Left: the trials; the line is the Pareto front, on which no cheaper trial is as good"
            f"{', and the dashed line the cap on cost' if cap else ''}. "
            "Right: the methods of the table, with 95 % intervals; shapes as in the first figure. "
        )
    seeds = max((len(row["seeds"]) for row in rows), default=0)
    caption += f"n = {count(len(figure_search.complete(trials)), 'trial')}, {count(seeds, 'seed')}."
    picture = draw("cost", title, lambda theme: figure_search.cost(trials, rows, cap, theme))
    return Plate("cost", title, caption, picture)


def ladder(report: Json) -> Plate | None:
    """Return what each rung of the ladder reaches, and after how many trials."""
    shown, control, curves = rungs.climbed(report), rungs.control(report), rungs.curves(report)
    if not shown:
        return None
    title, floor = rungs.finding(report), mean(find(report["rows"], "retrained_again"), "objective")
    caption = (
        "Each rung is a space of plans, named by what it leaves free, and searched with as many "
        "trials under the same cap. Dots: its plan, with the 95 % interval over seeds. The dashed "
        "line is retraining a second time. "
    )
    if control is not None:
        caption += "Grey, at the end: the plan of V1 on random subsets. "
    if curves:
        caption += (
            "Right: the best objective that n of a search's trials may be expected to reach "
            "(Dodge et al., 2019). That takes trials as independent draws. Those of TPE are not, "
            "since later ones are proposed in the light of earlier ones: read the curves as what "
            "a space holds, not as how fast its search was. "
        )
    seeds, trials = len(shown[0]["objective"]["values"]), max(rung["trials"] for rung in shown)
    caption += f"n = {count(seeds, 'seed')}, {count(trials, 'trial')} a rung."
    picture = draw(
        "ladder", title, lambda t: figure_ladder.ladder(shown, control, floor, curves, t)
    )
    return Plate("ladder", title, caption, picture)
