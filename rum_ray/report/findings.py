"""The sentences of a report: what a reader should take from it, said in words.

Each is computed from the numbers and says less where they show less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rum_ray.evaluation.statistics import LEAST_SEEDS
from rum_ray.report.ranking import (
    LEVEL,
    contestants,
    find,
    gap,
    mean,
    metric,
    paired_p,
    same,
    subject,
    tied,
    worse,
)
from rum_ray.report.text import (
    DASH,
    OBJECTIVE,
    Json,
    count,
    interval,
    label,
    listed,
    number,
    p_value,
    percent,
    share,
    span,
    unlearner,
)
from rum_ray.scores.reliability import CHANGED_GOAL, SPLIT_HALF_GOAL

PICKS = {
    "spread": "a third each of low, medium and high {score}",
    "high": "those with the highest {score}",
    "medium": "those of medium {score}",
    "low": "those with the lowest {score}",
    "random": "drawn at random",
    "class": "a whole class",
}


@dataclass(frozen=True)
class Figure:
    """One of the four numbers on top: what it is, its value, and what stands below it."""

    name: str
    value: str
    note: str
    strong: bool = False


def title(report: Json) -> str:
    """Return the heading: what was forgotten."""
    data, size = report["data"], report["forget"].get("size")
    return f"Forgetting {count(size)} of {count(data.get('train'))} examples of {data.get('name')}"


def lead(report: Json) -> str:
    """Return the one sentence: what was forgotten, by which plan, and how well."""
    forget, row = report["forget"], subject(report["rows"])
    pick = PICKS.get(str(forget.get("pick")), "as listed")
    distance = forget.get("by") == "entanglement"
    pick = pick.format(score="distance" if distance else report["scores"].get("name"))
    what = f"{count(forget.get('size'), 'example')} ({pick})"
    if row is None or mean(row, "objective") is None:
        return f"{what} are to be forgotten; no method has been measured yet."
    source = "given in the file" if row.get("source") == "file" else "that the search found"
    who = f"the plan {source}" if row["method"] == "rum" else label(row)
    steps = [f"{unlearner(s['unlearner']['name'])} on {s['subset']}" for s in row.get("plan") or []]
    means = f" {DASH} {listed(steps)} {DASH}" if steps else ""
    paid = f"{share(metric(row, 'cost'))} of the cost of one retraining"
    far = _distance(report["rows"], row)
    return f"{what} are forgotten by {who}{means} for {paid}. In {OBJECTIVE} it {far}."


def _distance(rows: Sequence[Json], row: Json) -> str:
    """Return how far a row is from the floor, as the end of a sentence."""
    floor, value = mean(find(rows, "retrained_again"), "objective"), mean(row, "objective")
    if floor is None or value is None:
        return f"reaches {number(value)} of 1, with no noise floor measured"
    p = paired_p(row, find(rows, "retrained_again") or {})
    if p is None:
        return f"reaches {number(value)} against {number(floor)} of retraining again"
    if value >= floor or (p is not None and p >= LEVEL):
        seeds = count(len(row["seeds"]), "seed")
        told = f"cannot be told from retraining again by {seeds}"
        return f"{told}: {number(value)} against {number(floor)}"
    nothing = mean(find(rows, "original"), "objective")
    far = f"; doing nothing ends {number(floor - nothing)} short" if nothing is not None else ""
    return f"ends {number(floor - value)} short of retraining again{far}"


def numbers(report: Json) -> list[Figure]:
    """Return the four numbers."""
    rows = report["rows"]
    row, floor = subject(rows), find(rows, "retrained_again")
    name = label(row) if row else "no method yet"
    return [
        Figure(OBJECTIVE, number(mean(row, "objective")), f"{_half(row)}{name}", strong=True),
        Figure("Noise floor", number(mean(floor, "objective")), f"{_half(floor)}retrained again"),
        Figure("Cost", percent(mean(row, "cost")), "of one retraining"),
        _margin(report),
    ]


def _half(row: Json | None) -> str:
    half = metric(row, "objective").get("ci95")
    return "" if half is None else f"± {number(half)} · "


def _margin(report: Json) -> Figure:
    """Return whether RUM beats the best single unlearner: the first of the comparisons."""
    if not report["comparisons"]:
        return Figure("Better than the best single unlearner", DASH, "no search for one ran")
    claim = report["comparisons"][0]
    other = str(claim["b"])
    name = "the best single unlearner" if other.startswith("best single") else other
    ends = span(claim.get("low"), claim.get("high"))
    if claim.get("shown") or worse(claim):
        note = f"{ends} · p = {p_value(claim.get('p_holm'))}".replace("= <", "<")
        which, by = ("Worse", -claim["mean"]) if worse(claim) else ("Better", claim["mean"])
        return Figure(f"{which} than {name}", f"by {number(by)}", note)
    if same(claim):
        return Figure(f"Better than {name}", "the same", "on every seed")
    return Figure(
        f"Better than {name}", "not shown", f"{number(claim.get('mean'), sign=True)} {ends}"
    )


def conditions(report: Json) -> str:
    """Return the line below the numbers: seeds, budget, reference level, attack, split."""
    row = subject(report["rows"])
    parts = [count(len(row["seeds"]), "seed")] if row else []
    attack = "AUC" if gap(report) == "auc_gap" else "SVM"
    if not report["searches"]:
        return " · ".join([*parts, "no search", f"attack: {attack}", "reported on test"])
    search = report["searches"][0]
    cap = f", each at most {percent(search['max_cost'])} of a retraining"
    drawn = " at random" if search.get("sampler") == "random" else ""
    budget = f"{count(search['trials'], 'trial')} a search{drawn}"
    parts += [
        f"{budget}{cap if search.get('max_cost') else ''}",
        f"reference: {search['reference']}",
        f"attack: {str(search['attack']).upper()} in the search, {attack} in the report",
        f"tuned on {search['split']}, reported on test",
    ]
    if search.get("pick"):
        parts.append(f"picked among trials of {search['pick']}")
    return " · ".join(parts)


def result(report: Json) -> str:
    """Return the finding of the main picture."""
    row = subject(report["rows"])
    if row is None:
        return "No method has been measured yet"
    return f"{label(row)} {_distance(report['rows'], row)}"


def table(report: Json) -> str:
    """Return the finding of the table."""
    ranked = [row for row in contestants(report["rows"]) if mean(row, "objective") is not None]
    if not ranked:
        return "No method has been measured yet"
    best = interval(metric(ranked[0], "objective"))
    name = label(ranked[0])
    first = f"{name[:1].upper()}{name[1:]} has the best {OBJECTIVE}, {best}"
    seeds = len(ranked[0]["seeds"])
    if seeds < LEAST_SEEDS:
        return f"{first}; {count(seeds, 'seed')} cannot tell methods apart"
    ties, others = len(tied(report["rows"])), len(ranked) - 1
    if ties == 0:
        return f"{first}, and all {others} others can be told apart from it"
    return f"{first}, and {ties} of the {others} others cannot be told apart from it"


def claims(report: Json) -> str:
    """Return how many claims are shown."""
    shown, total = (
        sum(bool(c.get("shown")) for c in report["comparisons"]),
        len(report["comparisons"]),
    )
    if not total:
        return "Without a search there is no claim of RUM to test"
    return f"{shown} of {count(total, 'claim')} {'is' if shown == 1 else 'are'} shown"


def _reaches(goal: bool) -> str:
    return "reaches" if goal else "misses"


def _precision(scores: Json) -> str:
    """Return how many models the asked precision took."""
    asked, models = scores["precision"], count(scores["models"], "model")
    what = f"{asked['rule'].replace('_', ' ')} of at most {asked['goal']:g}"
    value, most = number(asked["value"]), count(asked["max"])
    if asked["reached"]:
        return f"A {what} was asked for: {models} of at most {most} reach it, with {value}."
    return f"A {what} was asked for: {models}, all that there may be, miss it, with {value}."


def reliability(report: Json) -> list[str]:
    """Return what is known of how far scores and attacks can be trusted, a sentence each."""
    scores, floor = report["scores"], find(report["rows"], "retrained_again")
    half, error, changed = (
        scores.get(key) for key in ("split_half", "standard_error", "changed_share")
    )
    found = []
    if half is not None:
        goal = f"which {_reaches(half >= SPLIT_HALF_GOAL)} the goal of {SPLIT_HALF_GOAL}"
        found.append(
            f"Two halves of the pool rank the examples with reliability {number(half)}, {goal}."
        )
    if error is not None:
        found.append(f"The standard error of a score is {number(error)} on average.")
    if scores.get("precision") is not None:
        found.append(_precision(scores))
    if changed is not None:
        goal = f"which {_reaches(changed <= CHANGED_GOAL)} the goal of at most"
        found.append(
            f"Scores of other models would put {percent(changed)} of this forget set in another "
            f"subset (bootstrap over the pool), {goal} {percent(CHANGED_GOAL)}."
        )
    if mean(floor, "mia_gap") is not None:
        svm, auc = (interval(metric(floor, name)) for name in ("mia_gap", "auc_gap"))
        found.append(
            f"Between two retrained models the SVM attack sees a gap of {svm}, the ranking attack "
            f"one of {auc}: the floor, below which a gap means nothing."
        )
    found.append(
        "Forget set, retain set and scores are the same for every seed. The intervals speak of "
        "other seeds and other non-members, not of other examples to forget."
    )
    return found
