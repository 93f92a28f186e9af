"""The difficulty scores: their distribution, examples, proxies, and entanglement."""

from collections.abc import Sequence

import pandas as pd

from rum_ray.report.blocks import (
    Block,
    Figure,
    Paragraph,
    PictureGroup,
    Pictures,
    Section,
    Table,
    text_table,
)
from rum_ray.report.figures import scores as figures
from rum_ray.report.figures.scores import mislabelled
from rum_ray.report.figures.style import draw
from rum_ray.report.gallery import Gallery
from rum_ray.report.text import (
    finite,
    format_count,
    format_interval,
    format_metric,
    format_number,
    format_percent,
    format_share,
)
from rum_ray.results.report import Report
from rum_ray.results.schema import Metric, ProxySummary, ScoreSummary, SubsetSummary, Summary

PROXIES = (
    "Spearman: rank correlation with the score, ± half of the 95 % interval over runs; then its "
    "95 % interval over examples (bootstrap). Same subset: the share of the forget set that the "
    "proxy puts into the same subset as the score."
)

PUBLIC = "Pictures, and figures of single examples, are left out of a public report."


def section(report: Report, gallery: Gallery) -> Section:
    """Return the figures of scores, proxies and entanglement, with their tables."""
    summary, scores = report.summary, report.scores
    blocks: list[Block] = (
        [_note(PUBLIC)]
        if summary.public
        else [
            _histogram(summary, scores) or _note("No example has a score."),
            _pictures(summary.scores, gallery) or _note("The data have no pictures to show."),
            _density(summary.scores, scores)
            or _note("There is no comparison with a proxy to draw."),
        ]
    )
    if summary.scores.proxies:
        blocks.append(proxies(summary.scores))
    blocks.append(_entanglement(summary) or _note("No entanglement scores were computed."))
    if summary.subsets:
        blocks.append(subsets(summary.subsets))
    return Section("scores", "Which examples are hard to forget?", tuple(blocks))


def _note(text: str) -> Paragraph:
    return Paragraph(text, "note")


def score_title(scores: ScoreSummary) -> str:
    """Return the name of the score in sentences and on axes."""
    return scores.name.replace("_", " ")


def _column(summary: ScoreSummary, scores: pd.DataFrame) -> str | None:
    """Return the column that holds the report's score; None where no score is known."""
    names = (summary.name, "memorization")
    return next((n for n in names if n in scores and scores[n].notna().any()), None)


def _histogram(summary: Summary, scores: pd.DataFrame) -> Figure | None:
    """Return the distribution of the scores."""
    key, name = _column(summary.scores, scores), score_title(summary.scores)
    if key is None:
        return None
    wrong, auc = mislabelled(scores), finite(summary.scores.auc_flipped)
    title = f"{format_percent(float((scores[key] > 0.5).mean()))} of the examples have a {name} "
    title += "above one half"
    caption = "Distribution of the score. "
    if wrong is not None and auc is not None:
        strength = "are" if auc >= 0.8 else "tend to be" if auc >= 0.6 else "are not"
        hard = "memorized ones" if name == "memorization" else "ones with a high score"
        area = format_number(auc, 2)
        title = f"Examples with wrong labels {strength} the {hard} (AUC {area})"
        caption = (
            "Distribution of the score for clean and for wrong labels, each as shares of its own "
            f"group. AUC {area}: the probability that a wrong label scores above a clean one. "
        )
    if summary.subsets:
        caption += "Below the axis: the range of each subset of the forget set. "
    caption += f"n = {format_count(int(scores[key].notna().sum()), 'example')}"
    if summary.scores.models:
        caption += f", {format_count(summary.scores.models, 'model')}"
    svg = draw("histogram", title, lambda: figures.histogram(scores, key, name, summary.subsets))
    return Figure("histogram", title, f"{caption}.", svg)


def _pictures(summary: ScoreSummary, gallery: Gallery) -> Pictures | None:
    """Return the pictures of the hardest examples, and some for comparison."""
    most, count = gallery.group("most"), len(gallery.pictures)
    if not count:
        return None
    hard = "most memorized" if summary.name == "memorization" else "highest-scoring"
    title = f"The {len(most)} {hard} examples"
    if any(picture.true_label is not None for picture in most):
        wrong = sum(picture.is_mislabelled for picture in most)
        title = f"{wrong} of the {len(most)} {hard} examples have a wrong label"
    framed = ""
    if any(picture.is_mislabelled for picture in gallery.pictures):
        framed = "; where that label is wrong, the picture is framed and the true label follows"
    caption = (
        "The training images as the model saw them, enlarged without smoothing. In bold: the label "
        f"in training{framed}. The number is the score. n = {format_count(count, 'image')}."
    )
    groups = (
        PictureGroup("", most),
        PictureGroup(f"For comparison: medium {score_title(summary)}", gallery.group("medium")),
        PictureGroup(f"For comparison: low {score_title(summary)}", gallery.group("low")),
    )
    return Pictures(title, caption, tuple(group for group in groups if group.pictures))


def _density(summary: ScoreSummary, scores: pd.DataFrame) -> Figure | None:
    """Return memorization against the first proxy with values in both report and table."""
    if summary.name != "memorization" or "memorization" not in scores:
        return None
    names = [name for name in summary.proxies if name in scores]
    pairs = {name: len(scores[[name, "memorization"]].dropna()) for name in names}
    name = next((name for name in names if pairs[name]), None)
    if name is None:
        return None
    title = _proxy_finding(name, summary.proxies[name])
    repeats = max(len(entry.values) for entry in summary.proxies.values())
    runs = f" ({format_count(repeats, 'run')})" if repeats > 1 else ""
    caption = (
        "Left: the number of examples with each pair of scores. "
        "Right: rank correlation of each proxy with memorization, with 95 % intervals: thin over "
        f"examples, thick over seeds{runs}. {_same_subset(name, summary.proxies[name])}"
        f"A proxy costs about one training, memorization {format_count(summary.models)}. "
        f"n = {format_count(pairs[name], 'example')}."
    )
    svg = draw("proxy", title, lambda: figures.proxy(scores, name, summary.proxies))
    return Figure("proxy", title, caption, svg)


def _proxy_finding(name: str, proxy: ProxySummary) -> str:
    value, words = finite(proxy.spearman), name.replace("_", " ").capitalize()
    if value is None:
        return f"Memorization against {words.lower()}"
    how = "says little about"
    if value >= 0.4:
        how = f"ranks examples {'much' if value >= 0.7 else 'somewhat'} like"
    return f"{words} {how} memorization (Spearman {format_number(value, 2)})"


def _same_subset(name: str, proxy: ProxySummary) -> str:
    """Return the share of the forget set in the same subset, as a sentence; empty if unknown."""
    if finite(proxy.same_subset.mean) is None:
        return ""
    words = name.replace("_", " ").capitalize()
    return (
        f"{words} puts {format_share(proxy.same_subset)} of the forget set into the same subset. "
    )


def proxies(scores: ScoreSummary) -> Table:
    """Return the agreement of each proxy with the score."""
    cells = [
        (
            name.replace("_", " "),
            format_metric(Metric(proxy.spearman, proxy.ci95, reason=proxy.reason)),
            format_interval(proxy.low, proxy.high),
            format_share(proxy.same_subset),
            format_count(len(proxy.values)),
        )
        for name, proxy in scores.proxies.items()
    ]
    columns = ("proxy", "Spearman", "over examples", "same subset", "runs")
    return text_table("Proxies of the score", columns, cells, caption=PROXIES)


def _entanglement(summary: Summary) -> Figure | None:
    """Return the entanglement score by subset."""
    known = [s for s in summary.subsets if finite(s.entanglement_score.mean) is not None]
    if not known:
        return None
    title = entanglement_finding(known)
    seeds = max(len(subset.entanglement_score.values) for subset in known)
    caption = (
        "How close the embeddings of a subset are to those of the retain set: mean and 95 % "
        "interval, and below it one stroke per seed. Right, where it is known: the AUC of a linear "
        "probe that separates the two, on examples held out from its fit. "
        f"{_rank_correlation(summary)}n = {format_count(seeds, 'original model')}."
    )
    svg = draw("entanglement", title, lambda: figures.entanglement(known))
    return Figure("entanglement", title, caption, svg)


def entanglement_finding(subsets: Sequence[SubsetSummary]) -> str:
    """Return the most entangled subset, or the first two if their intervals overlap."""
    found = [
        (finite(s.entanglement_score.mean) or 0.0, s.entanglement_score.ci95, s.name)
        for s in subsets
    ]
    found.sort(key=lambda entry: -entry[0])
    first, half, name = found[0]
    if len(found) < 2:
        return f"The entanglement score of “{name}” is {format_number(first, 2)}"
    second, other_half, other = found[1]
    if half is None or other_half is None or first - half <= second + other_half:
        return (
            f"“{name}” and “{other}” are the most entangled with the retain set, without a clear "
            "difference"
        )
    values = f"{format_number(first, 2)}, before “{other}” with {format_number(second, 2)}"
    return f"“{name}” is the most entangled with the retain set: {values}"


def _rank_correlation(summary: Summary) -> str:
    """Return the rank correlation of MMD, as a sentence; empty if it is unknown."""
    known = summary.entanglement.spearman_with_entanglement_score or {}
    value = finite(known["mmd_median"].mean) if "mmd_median" in known else None
    if value is None:
        return ""
    spearman = format_number(value, 2)
    return f"Spearman of MMD with the entanglement score over the subsets: {spearman}. "


def subsets(subsets: Sequence[SubsetSummary]) -> Table:
    """Return the subsets of the forget set."""
    columns = (
        "subset",
        "examples",
        "mean score",
        "from",
        "to",
        "wrong labels",
        "entanglement score",
        "MMD (median)",
        "probe AUC",
    )
    cells = [
        (
            subset.name,
            format_count(subset.size),
            *map(format_number, (subset.score, subset.score_low, subset.score_high)),
            format_count(subset.flipped),
            format_metric(subset.entanglement_score, 2),
            format_metric(subset.mmd_median),
            format_metric(subset.two_sample_auc, 2),
        )
        for subset in subsets
    ]
    return text_table("Subsets of the forget set", columns, cells)
