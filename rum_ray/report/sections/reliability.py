"""The reliability of the results: scores, attacks, tests of claims, selections, warnings."""

from collections.abc import Sequence

from rum_ray.report.blocks import (
    Block,
    Bullets,
    Cell,
    Column,
    Paragraph,
    Range,
    Section,
    Table,
    TableRow,
    text_table,
)
from rum_ray.report.gallery import Gallery
from rum_ray.report.ranking import find, is_same, mean, metric, subject, verdict
from rum_ray.report.text import (
    DASH,
    finite,
    format_count,
    format_interval,
    format_metric,
    format_number,
    format_p,
    format_percent,
    label,
    labelled,
    metric_title,
    unit,
)
from rum_ray.report.verdicts import SCOPE, others, variants
from rum_ray.results.report import Report
from rum_ray.results.schema import Claim, PrecisionSummary, Row, ScoreSummary, Selection
from rum_ray.scores.reliability import CHANGED_GOAL, SPLIT_HALF_GOAL

NO_CLAIM = "No claim was tested: a test takes a search and"


def section(report: Report, _: Gallery) -> Section:
    """Return the reliability of scores and attacks, the claims, the selections, the warnings."""
    summary = report.summary
    known = reliability(summary.scores, summary.rows, len(summary.repeats))
    blocks: list[Block] = [Paragraph(text) for text in known]
    if summary.comparisons:
        title = claims_finding(summary.comparisons)
        blocks.append(claims_table(summary.comparisons, summary.rows, "Claims", title))
    else:
        blocks.append(Paragraph(f"{NO_CLAIM} 3 {unit(summary)}s.", "note"))
    if summary.variants:
        title = variants(summary).removesuffix(".")
        blocks.append(claims_table(summary.variants, summary.rows, "RUM^F against vanilla", title))
    elif told := variants(summary):
        blocks.append(Paragraph(told, "note"))
    if summary.selected_on:
        blocks.append(_selections(summary.selected_on))
    blocks.append(Bullets("Warnings", summary.warnings, "There are no warnings."))
    return Section("reliability", "How reliable are these results?", tuple(blocks))


def reliability(scores: ScoreSummary, rows: Sequence[Row], repeats: int = 0) -> list[str]:
    """Return the known limits of scores and attacks, one sentence each.

    Args:
        scores: of the report.
        rows: of the report.
        repeats: their number; 0 for a single study.
    """
    half, error = finite(scores.split_half), finite(scores.standard_error)
    changed, flipped = finite(scores.changed_share), finite(scores.auc_flipped)
    found = []
    if half is not None:
        goal = f"{_reaches(half >= SPLIT_HALF_GOAL)} the goal of {SPLIT_HALF_GOAL}"
        found.append(
            f"The split-half reliability of the scores is {format_number(half)}, which {goal}."
        )
    if error is not None:
        found.append(f"The mean standard error of a score is {format_number(error)}.")
    if scores.precision is not None:
        found.append(_precision(scores.precision, scores.models))
    if changed is not None:
        goal = f"{_reaches(changed <= CHANGED_GOAL)} the goal of at most"
        found.append(
            f"Scores from other models would put {format_percent(changed)} of this forget set "
            "into another subset (bootstrap over the pool), which "
            f"{goal} {format_percent(CHANGED_GOAL)}."
        )
    if flipped is not None:
        found.append(
            f"Wrong labels score above clean ones with an AUC of {format_number(flipped)}."
        )
    floor = find(rows, "retrained_again")
    if mean(floor, "mia_gap") is not None:
        svm, auc = (format_metric(metric(floor, name)) for name in ("mia_gap", "auc_gap"))
        found.append(
            f"The noise floor, between two retrained models, is a gap of {svm} for the SVM attack "
            f"and of {auc} for the AUC attack; a smaller gap means nothing."
        )
    found += _second_floor(rows)
    return [*found, _cover(repeats)]


def _cover(repeats: int) -> str:
    """Return the reach of the intervals, as a sentence."""
    if repeats:
        return (
            f"The intervals are over {repeats} repeats, each the mean over its seeds: they cover "
            "other splits, pools, forget sets and searches. Numbers of scores are means over the "
            "repeats."
        )
    return (
        "Forget set, retain set and scores are the same for every seed. The intervals cover other "
        "seeds and other non-members, but not other examples to forget."
    )


def _second_floor(rows: Sequence[Row]) -> list[str]:
    """Return the accuracies on R and T beside their noise floor; empty without one."""
    floor, row = find(rows, "retrained_reordered"), subject(rows)
    if mean(floor, "accuracy_gap_retain") is None:
        return []
    names = ("accuracy_gap_retain", "accuracy_gap_test")
    retain, test = (format_metric(metric(floor, name)) for name in names)
    text = (
        "An unlearned model and its reference share their initial weights. Retrained from these "
        f"weights in another order, accuracy differs by {retain} on the retain set and by {test} "
        "on test data."
    )
    if row is None:
        return [text]
    retain, test = (format_metric(metric(row, name)) for name in names)
    return [f"{text} Of {label(row)}, it differs by {retain} and {test}."]


def _reaches(goal: bool) -> str:
    return "reaches" if goal else "misses"


def _precision(asked: PrecisionSummary, models: int | None) -> str:
    """Return the requested precision of the scores, and the models it took."""
    goal = f"The requested {asked.rule.replace('_', ' ')} is at most {asked.goal:g}"
    pool, value = format_count(models, "model"), format_number(asked.value)
    if asked.reached:
        return f"{goal}: {pool} of at most {format_count(asked.max)} reach it, with {value}."
    return f"{goal}: {pool}, the allowed maximum, miss it, with {value}."


def claims_finding(claims: Sequence[Claim]) -> str:
    """Return the number of claims that are shown."""
    shown, total = sum(claim.shown for claim in claims), format_count(len(claims), "claim")
    return f"{shown} of {total} {'is' if shown == 1 else 'are'} shown"


def claims_table(claims: Sequence[Claim], rows: Sequence[Row], name: str, title: str) -> Table:
    """Return each claim with its interval and verdict."""
    first = claims[0].metric
    known_leads = dict.fromkeys(lead.metric for claim in claims for lead in claim.by)
    beside = [name for name in known_leads if name != first]
    columns = (
        Column("claim", words=True),
        Column("difference"),
        Column("95 % interval"),
        Column("", medium="page"),
        Column("p"),
        Column("p, Holm"),
        *(Column(metric_title(name), medium="text") for name in beside),
        Column("other metrics", words=True),
        Column("verdict", words=True),
    )
    ends = [0.0, *(end for claim in claims for end in (claim.low, claim.high))]
    known = [end for end in ends if finite(end) is not None]
    cells = [_claim(claim, min(known), max(known), beside) for claim in labelled(claims, rows)]
    row, noun = subject(rows), "seed" if claims[0].repeats == 1 else "repeat"
    seeds = format_count(len(row.seeds) if row else 0, noun)
    caption = (
        f"Differences in {metric_title(first)}, paired by {noun}, with 95 % intervals. A claim is "
        "shown if its interval lies above zero and p stays below 0.05 after Holm's correction over "
        "all claims of the table, and if no other co-primary metric is shown against it. Other "
        "metrics: those that are shown for the claim or against it, by the same rule. (finds x): "
        f"a test of this claim alone finds x with a probability of 80 %. {_reach(claims)}"
        f"n = {seeds}."
    )
    legend = "The dashed line is no difference."
    return Table(name, columns, tuple(cells), title, caption, legend)


def _reach(claims: Sequence[Claim]) -> str:
    """Return the sentence about the forget sets that the claims are about."""
    repeats = claims[0].repeats
    if repeats > 1:
        return f"The claims are about {repeats} forget sets. "
    return f"The claims hold {SCOPE}. "


def _claim(claim: Claim, left: float, right: float, beside: Sequence[str]) -> TableRow:
    same = is_same(claim)
    texts = (
        f"{claim.a} better than {claim.b}",
        DASH if same else format_number(claim.mean, sign=True),
        DASH if same else format_interval(claim.low, claim.high),
    )
    tests = (DASH if same else format_p(claim.p), DASH if same else format_p(claim.p_holm))
    known = None not in map(finite, (claim.low, claim.mean, claim.high))
    drawing = Range(claim.low, claim.mean, claim.high, left, right) if known else None
    leads = {lead.metric: format_number(lead.mean, sign=True) for lead in claim.by}
    told = verdict(claim)
    if told == "not shown" and claim.detectable is not None:
        told = f"{told} (finds {format_number(claim.detectable)})"
    by_others = (leads.get(name, DASH) for name in beside)
    cells = (*texts, "", *tests, *by_others, others(claim), told)
    drawn = [
        Cell(text, drawing=None if place != 3 else drawing) for place, text in enumerate(cells)
    ]
    return TableRow(tuple(drawn), "shown" if claim.shown else "")


def _selections(selections: Sequence[Selection]) -> Table:
    """Return the choices that were made, with their split and seeds."""
    cells = [(each.what, each.split, each.seeds) for each in selections]
    title = "Selections, and the data they were made on"
    columns = ("selection", "on", "seeds")
    return text_table("Selections", columns, cells, words=(0, 1, 2), title=title, style="compact")
