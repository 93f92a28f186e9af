"""The head of the page: what was forgotten, by which plan, and how well, in a few numbers."""

from collections.abc import Sequence

from rum_ray.report import verdicts
from rum_ray.report.blocks import KeyNumber, KeyNumbers, Paragraph, Section
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import (
    find,
    gap_name,
    is_same,
    is_worse,
    mean,
    metric,
    paired_p,
    subject,
    verdict,
)
from rum_ray.report.text import (
    DASH,
    finite,
    format_count,
    format_interval,
    format_number,
    format_p,
    format_percent,
    format_share,
    join_words,
    label,
    metric_title,
    objective_title,
    unit,
    unlearner_title,
)
from rum_ray.report.verdicts import (
    SINGLE,
    bill,
    expected,
    headline_claim,
    shares_best_single,
    titles,
)
from rum_ray.results.claims import LEVEL
from rum_ray.results.report import Report
from rum_ray.results.schema import ForgetSummary, Row, SearchSummary, Summary

PICKS = {
    "spread": "a third each of low, medium and high {score}",
    "high": "those with the highest {score}",
    "medium": "those of medium {score}",
    "low": "those with the lowest {score}",
    "random": "drawn at random",
    "class": "a whole class",
}


def section(report: Report, _: Gallery) -> Section:
    """Return the title, one sentence, four numbers, and the conditions of the experiment."""
    summary = report.summary
    data, size = summary.data, format_count(summary.forget.size)
    title = f"Forgetting {size} of {format_count(data.train)} examples of {data.name}"
    price = " ".join(filter(None, (expected(summary), bill(summary.bill))))
    blocks = (
        Paragraph(lead(summary), "lead"),
        KeyNumbers(tuple(numbers(summary))),
        *((Paragraph(price),) if price else ()),
        Paragraph(conditions(summary), "conditions"),
    )
    eyebrow = f"Experiment {summary.experiment.name} · unlearning with RUM"
    if summary.repeats:
        eyebrow += f" · {format_count(len(summary.repeats), 'repeat')}"
    return Section("top", title, blocks, eyebrow)


def lead(summary: Summary) -> str:
    """Return the forget set, the plan, its cost and its quality, and the verdict on it."""
    row = subject(summary.rows)
    picked = _picked(summary.forget, summary.scores.name)
    examples = f"{format_count(summary.forget.size, 'example')} ({picked})"
    if row is None or mean(row, "objective") is None:
        return f"{examples} are to be forgotten; no method has a result."
    source = "from the experiment file" if row.source == "file" else "found by the search"
    method = f"the plan {source}" if row.method == "rum" else label(row)
    steps = [f"{unlearner_title(step.name)} on {step.subset}" for step in row.plan]
    listed = f" {DASH} {join_words(steps)} {DASH}" if steps else ""
    cost = f"{format_share(metric(row, 'cost'))} of the cost of one retraining"
    quality = distance(summary.rows, row, unit(summary))
    told = (
        f"{examples} are forgotten by {method}{listed} for {cost}. In "
        f"{objective_title(summary.attack)} it {quality}."
    )
    return " ".join(filter(None, (told, verdicts.headline(summary))))


def _picked(forget: ForgetSummary, score: str) -> str:
    """Return the rule that chose the forget set, in words."""
    if forget.pick not in PICKS:
        return "as listed"
    return PICKS[forget.pick].format(score="distance" if forget.by == "entanglement" else score)


def distance(rows: Sequence[Row], row: Row, noun: str = "seed") -> str:
    """Return the distance of a row from the noise floor, as the end of a sentence.

    Args:
        rows: of the report.
        row: one of them.
        noun: "seed" or "repeat"; a row has a value for each.
    """
    again = find(rows, "retrained_again")
    floor, value = mean(again, "objective"), mean(row, "objective")
    if floor is None or value is None:
        return f"reaches {format_number(value)} of 1; the noise floor is unknown"
    ours, theirs = format_number(value), format_number(floor)
    p = paired_p(row, again)
    if p is None:
        return f"reaches {ours}, and retraining again {theirs}"
    if value >= floor or p >= LEVEL:
        over = format_count(len(row.seeds), noun)
        return (
            f"does not differ significantly from retraining again over {over}: {ours} and {theirs}"
        )
    nothing = mean(find(rows, "original"), "objective")
    worst = "" if nothing is None else f"; doing nothing is {format_number(floor - nothing)} below"
    return f"is {format_number(floor - value)} below retraining again{worst}"


def numbers(summary: Summary) -> list[KeyNumber]:
    """Return the four numbers at the top."""
    row, floor = subject(summary.rows), find(summary.rows, "retrained_again")
    name = label(row) if row else "no method"
    return [
        KeyNumber(
            objective_title(summary.attack),
            format_number(mean(row, "objective")),
            f"{_half(row)}{name}",
            strong=True,
        ),
        KeyNumber(
            "Noise floor",
            format_number(mean(floor, "objective")),
            f"{_half(floor)}retrained again",
        ),
        KeyNumber("Cost", format_percent(mean(row, "cost")), "of one retraining"),
        _margin(summary),
    ]


def budget(search: SearchSummary) -> str:
    """Return the budget of a search: trainings of the original, or trials."""
    if search.budget is None:
        return format_count(search.trials, "trial")
    return format_count(search.budget, "training")


def _half(row: Row | None) -> str:
    half = finite(metric(row, "objective").ci95)
    return "" if half is None else f"± {format_number(half)} · "


def _margin(summary: Summary) -> KeyNumber:
    """Return the margin over the best single unlearner: the first of the claims."""
    if shares_best_single(subject(summary.rows)):
        return KeyNumber(f"Better than {SINGLE}", "the same", "one plan")
    claim = headline_claim(summary)
    if claim is None:
        return KeyNumber(f"Better than {SINGLE}", DASH, "not tested")
    name = SINGLE if "best single" in claim.b else claim.b
    ends = f"{format_interval(claim.low, claim.high)} in {metric_title(claim.metric)}"
    if is_same(claim):
        return KeyNumber(f"Better than {name}", "the same", f"on every {unit(summary)}")
    if verdict(claim).startswith("shown by"):
        note = f"{verdict(claim)}; against it: {titles(claim.against)}"
        return KeyNumber(f"Better than {name}", f"by {format_number(claim.mean)}", note)
    if claim.shown or is_worse(claim):
        note = f"{ends} · p = {format_p(claim.p_holm)}".replace("= <", "<")
        which, by = ("Worse", -claim.mean) if is_worse(claim) else ("Better", claim.mean)
        return KeyNumber(f"{which} than {name}", f"by {format_number(by)}", note)
    note = f"{format_number(claim.mean, sign=True)} {ends}"
    return KeyNumber(f"Better than {name}", "not shown", note)


def conditions(summary: Summary) -> str:
    """Return the line below the numbers: seeds, budget, reference, attack, split."""
    row = subject(summary.rows)
    parts = [format_count(len(row.seeds), unit(summary))] if row else []
    attack = "AUC" if gap_name(summary.attack) == "auc_gap" else "SVM"
    if summary.repeats:
        each = "each with a split, a pool and a forget set of its own"
        seeds = format_count(len(summary.repeats[0].seeds), "seed")
        return " · ".join([*parts, each, f"{seeds} per repeat", f"attack: {attack}", "on test"])
    if not summary.searches:
        return " · ".join([*parts, "no search", f"attack: {attack}", "reported on test"])
    search = [s for s in summary.searches if s.reference == summary.searches[0].reference][-1]
    drawn = " at random" if search.sampler == "random" else ""
    cap = f", each at most {format_percent(search.max_cost)} of a retraining"
    parts += [
        f"{budget(search)} per search{drawn}{cap if search.max_cost else ''}",
        f"reference: {search.reference}",
        f"attack: {search.attack.upper()} in the search, {attack} in the report",
        f"tuned on {search.split}, reported on test",
    ]
    if search.pick:
        parts.append(f"picked among trials of {search.pick}")
    return " · ".join(parts)
