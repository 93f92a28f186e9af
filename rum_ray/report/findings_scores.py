"""What the pictures of scores show, in words."""

from collections.abc import Sequence

import pandas as pd

from rum_ray.report.figure_scores import mislabelled, score_name
from rum_ray.report.gallery import Gallery
from rum_ray.report.text import Json, number, percent, share


def memorization(report: Json, values: pd.Series, scores: pd.DataFrame) -> str:
    """Return the finding of the histogram of `values`, a column of `scores`."""
    name = score_name(report)
    wrong, auc = mislabelled(scores), report["scores"].get("auc_flipped")
    if wrong is not None and auc is not None:
        strength = "are" if auc >= 0.8 else "tend to be" if auc >= 0.6 else "are not"
        hard = "memorized ones" if name == "memorization" else "ones with a high score"
        return f"Examples with wrong labels {strength} the {hard} (AUC {number(auc, 2)})"
    return f"{percent(float((values > 0.5).mean()))} of the examples have a {name} above one half"


def gallery(report: Json, pictures: Gallery) -> str:
    """Return the finding of the gallery."""
    hard = "most memorized" if score_name(report) == "memorization" else "highest"
    most = pictures.group("most")
    if any(picture.true_label is not None for picture in most):
        wrong = sum(picture.is_mislabelled for picture in most)
        return f"{wrong} of the {len(most)} {hard} examples carry a wrong label"
    return f"The {len(most)} {hard} examples"


def proxy(report: Json, name: str) -> str:
    """Return the finding of the density."""
    value = report["scores"]["proxies"].get(name, {}).get("spearman")
    words = name.replace("_", " ").capitalize()
    if value is None:
        return f"Memorization against {words.lower()}"
    close = "ranks examples much like" if value >= 0.7 else "ranks examples somewhat like"
    how = close if value >= 0.4 else "says little about"
    return f"{words} {how} memorization (Spearman {number(value, 2)})"


def same_subset(report: Json, name: str) -> str:
    """Return what a proxy would have changed in the split of the forget set; empty if unknown."""
    metric = report["scores"]["proxies"].get(name, {}).get("same_subset")
    if not metric or metric.get("mean") is None:
        return ""
    words = name.replace("_", " ").capitalize()
    return f"{words} would have put {share(metric)} of the forget set in the same subset. "


def entanglement(subsets: Sequence[Json]) -> str:
    """Return the finding of the entanglement scores."""
    scores = [(subset["entanglement_score"], f"“{subset['name']}”") for subset in subsets]
    scores.sort(key=lambda entry: -entry[0]["mean"])
    if len(scores) < 2:
        score, name = scores[0]
        return f"The entanglement score of {name} is {number(score['mean'], 2)}"
    (first, name), (second, other) = scores[:2]
    halves = (first.get("ci95"), second.get("ci95"))
    if None in halves or first["mean"] - halves[0] <= second["mean"] + halves[1]:
        return f"{name} and {other} are the most entangled with what stays, and not clearly apart"
    values = f"{number(first['mean'], 2)}, before {other} with {number(second['mean'], 2)}"
    return f"{name} is the most entangled with what stays: {values}"
