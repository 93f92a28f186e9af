"""The wording of numbers and names: one form each, for every output."""

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from rum_ray.results.schema import Claim, Metric, PlanStep, Row, RowName, SearchSummary, Summary
from rum_ray.unlearning import UNLEARNERS

T = TypeVar("T")

DASH = "\u2013"
MINUS = "\u2212"
METRICS = {
    "objective_svm": f"ToW {MINUS} MIA gap",
    "objective_auc": f"ToW {MINUS} AUC gap",
    "tow_examples": "example-level ToW",
    "js_forget": "JS divergence",
    "u_lira_gap": "U-LiRA gap",
    "pool_lira_gap": "pool LiRA gap",
    "pool_rmia_gap": "pool RMIA gap",
}

# Escape sequences, other control characters, and marks that change the direction of text.
_UNPRINTABLE = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)

SPACES = {
    "V0": "one unlearner",
    "V1": "one, by subsets",
    "V2": "one, and the order",
    "V3": "one per subset, untuned",
    "V4": "one per subset, tuned",
    "V5": "steps may be shared",
    "shuffle": "random subsets",
}
KNOWLEDGE = {
    "oracle": "models retrained without the forget set",
    "surrogate": "models retrained without a matched set of examples that stay",
    "pool": "pool models, for each example those trained without it",
}
VARIANTS = {"vanilla": "vanilla", "shuffle": "shuffle", "rum_f": "RUM^F"}
METHODS = {
    "retrained_again": "retrained again",
    "retrained_reordered": "retrained, reordered",
    "original": "doing nothing",
    "refined": "best single, refined",
    "ordered": "best single, ordered",
    "shuffled": "best single, shuffled",
    "untuned": "RUM, untuned",
    "unjoined": "RUM, no shared step",
}


def printable(value: T) -> T:
    """Return a value with `clean` applied to every text in its dataclasses and containers."""
    return _printable(value)  # type: ignore[return-value]


def _printable(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return dataclasses.replace(value, **{n: _printable(getattr(value, n)) for n in names})
    if isinstance(value, Mapping):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return tuple(map(_printable, value)) if isinstance(value, list | tuple) else value


def clean(text: str) -> str:
    """Remove the characters that control a terminal or a browser."""
    return _UNPRINTABLE.sub("", text)


def finite(value: float | None) -> float | None:
    """Return a number, or None where it is unknown or not finite."""
    return None if value is None or not math.isfinite(value) else value


def format_number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """Format a number with a true minus, or as a dash where it is unknown."""
    if value is None or not math.isfinite(value):
        return DASH
    if round(value, digits) == 0:
        value = 0.0
    return f"{value:{'+' if sign and value else ''}.{digits}f}".replace("-", MINUS)


def format_metric(metric: Metric | None, digits: int = 3) -> str:
    """Format `mean ± half-width`.

    The mean stands alone if it is exact or of one seed. Without a mean, the reason is given.
    """
    if metric is None or finite(metric.mean) is None:
        return f"{DASH} ({metric.reason})" if metric and metric.reason else DASH
    mean, half = format_number(metric.mean, digits), finite(metric.ci95)
    return f"{mean} ± {format_number(half, digits)}" if half and half > 1e-9 else mean


def format_interval(low: float | None, high: float | None) -> str:
    """Format an interval by its ends."""
    if finite(low) is None or finite(high) is None:
        return DASH
    return f"[{format_number(low)}, {format_number(high)}]"


def format_percent(value: float | None) -> str:
    """Format a fraction as a percentage, with one decimal below ten."""
    if value is None or not math.isfinite(value):
        return DASH
    digits = 0 if value == 0 or abs(value) >= 0.0995 else 1
    return f"{format_number(100 * value, digits)} %"


def format_share(metric: Metric | None) -> str:
    """Format a fraction with its interval in percent; an interval that rounds to 0 is left out."""
    if metric is None or finite(metric.mean) is None:
        return format_metric(metric)
    half, text = finite(metric.ci95) or 0.0, format_percent(metric.mean)
    return text if half < 0.0005 else f"{text[:-2]} ± {format_number(100 * half, 1)} %"


def format_p(value: float | None) -> str:
    """Format a p-value; small ones as a bound."""
    return "< 0.001" if value is not None and value < 0.001 else format_number(value)


def format_count(value: float | None, noun: str = "") -> str:
    """Format a count with separators, and its noun in the singular or plural."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return text if not noun else f"{text} {noun}{'' if value == 1 else 's'}"


def format_duration(seconds: float | None) -> str:
    """Format a time in its two largest units."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def join_words(words: Sequence[str]) -> str:
    """Join words as in a sentence: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def unlearner_title(name: str | None) -> str:
    """Return an algorithm's name as its paper writes it; a plug-in's name stays as it is."""
    if name is None or name not in UNLEARNERS:
        return name or DASH
    return str(getattr(UNLEARNERS[name], "title", name))


def space_title(name: str) -> str:
    """Return a space of plans by its name and its free choices."""
    return f"{name}: {SPACES[name]}" if name in SPACES else name


def format_settings(step: PlanStep) -> list[str]:
    """Format the hyperparameters of a step as `name value`."""
    fields = {key.replace("_", " "): value for key, value in step.settings.items()}
    return [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items()]


def format_plan(steps: Sequence[PlanStep], settings: bool = False) -> str:
    """Format a plan on one line, with the hyperparameters if wanted."""
    parts = []
    for step in steps:
        fields = format_settings(step) if settings else []
        inside = f" ({', '.join(fields)})" if fields else ""
        parts.append(f"{step.subset}: {unlearner_title(step.name)}{inside}")
    return " → ".join(parts) or DASH


def metric_title(name: str) -> str:
    """Return the name of a metric of claims."""
    return METRICS.get(name, name.replace("_", " "))


def unit(summary: Summary) -> str:
    """Return the noun for the values of a metric: one per seed, or one per repeat."""
    return "repeat" if summary.repeats else "seed"


def objective_title(attack: str) -> str:
    """Return the name of J as a report measures it: ToW less the gap of its attack."""
    return METRICS[f"objective_{attack}"]


def searched_title(search: SearchSummary) -> str:
    """Return the name of the objective that a search maximised."""
    if search.objective == "tow_examples":
        return "agreement"
    return objective_title(search.attack)


def label(row: Row) -> str:
    """Return the names of a row, the same in tables, figures and claims."""
    names: list[Row | RowName] = [row, *row.also]
    return " = ".join(map(_label, names))


def _label(row: Row | RowName) -> str:
    """Return one name of a row."""
    name = unlearner_title(row.unlearner)
    if row.method in VARIANTS:
        return f"{name} {VARIANTS[row.method]}"
    if row.method == "rum":
        return f"RUM ({row.source or 'search'})"
    if row.method == "best_single":
        return f"best single ({name})" if row.unlearner else "best single"
    return METHODS.get(row.method, row.method)


def labelled(claims: Sequence[Claim], rows: Sequence[Row]) -> list[Claim]:
    """Return claims about rows with the labels of these rows."""
    names = {_key(row): label(row) for row in rows}
    return [
        dataclasses.replace(each, a=names.get(each.a, each.a), b=names.get(each.b, each.b))
        for each in claims
    ]


def _key(row: Row) -> str:
    """Return the name by which report.json's claims refer to a row."""
    if row.method == "rum":
        return f"rum ({row.source})"
    return " ".join(filter(None, (row.method, row.unlearner)))
