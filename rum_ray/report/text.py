"""Numbers, names and clauses as a reader meets them: one way to write each, for every output."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Json = dict[str, Any]

DASH = "\u2013"
MINUS = "\u2212"
OBJECTIVE = f"ToW {MINUS} MIA gap"

# Escape sequences, other control characters, and marks that turn the direction of text.
_UNPRINTABLE = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"
    "|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)

UNLEARNERS = {
    "bad_teacher": "Bad Teacher",
    "ct": "CT",
    "finetune": "fine-tune",
    "influence": "influence",
    "l1_sparse": "L1-sparse",
    "msg": "MSG",
    "neggrad": "NegGrad",
    "neggrad+": "NegGrad+",
    "random_label": "random label",
    "salun": "SalUn",
    "scrub": "SCRUB",
    "ssd": "SSD",
}

SPACES = {
    "V0": "one unlearner",
    "V1": "one, by subsets",
    "V2": "one, and the order",
    "V3": "one a subset, untuned",
    "V4": "one a subset, tuned",
    "shuffle": "random subsets",
}
KNOWLEDGE = {
    "oracle": "models retrained without the forget set",
    "surrogate": "models retrained without another set like it, of examples that stay",
    "pool": "pool models, for each example those that left it out",
}
VARIANTS = {"vanilla": "vanilla", "shuffle": "shuffle", "rum_f": "RUM^F"}
METHODS = {
    "retrained_again": "retrained again",
    "original": "doing nothing",
    "refined": "best single, refined",
    "ordered": "best single, ordered",
    "shuffled": "best single, shuffled",
    "untuned": "RUM, untuned",
}


def plain(report: Mapping[str, Any]) -> Json:
    """Return `report` as JSON knows it: no NumPy, no tuples, and null for what is not finite."""
    return {str(key): _plain(value) for key, value in report.items()}


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return plain(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def printable(report: Json) -> Json:
    """Return `report` with the characters that steer a terminal or a browser taken out."""
    return {clean(key): _printable(value) for key, value in report.items()}


def _printable(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return printable(value)
    return [_printable(item) for item in value] if isinstance(value, list) else value


def clean(text: str) -> str:
    """Return `text` without the characters that steer a terminal or a browser."""
    return _UNPRINTABLE.sub("", text)


def number(value: float | None, digits: int = 3, sign: bool = False) -> str:
    """Write a number with a true minus, or a dash where it is unknown."""
    if value is None or not math.isfinite(value):
        return DASH
    if round(value, digits) == 0:
        value = 0.0
    return f"{value:{'+' if sign and value else ''}.{digits}f}".replace("-", MINUS)


def interval(metric: Mapping[str, Any] | None, digits: int = 3) -> str:
    """Write `mean ± half-width`, the mean alone if it is exact or of one seed, or why neither."""
    if not metric or metric.get("mean") is None:
        reason = (metric or {}).get("reason")
        return f"{DASH} ({reason})" if reason else DASH
    mean, half = number(metric["mean"], digits), metric.get("ci95")
    return f"{mean} ± {number(half, digits)}" if half is not None and half > 1e-9 else mean


def span(low: float | None, high: float | None) -> str:
    """Write an interval by its ends."""
    return DASH if low is None or high is None else f"[{number(low)}, {number(high)}]"


def percent(value: float | None) -> str:
    """Write a fraction as a percentage, with a decimal below ten."""
    if value is None:
        return DASH
    digits = 0 if value == 0 or abs(value) >= 0.0995 else 1
    return f"{number(100 * value, digits)} %"


def share(metric: Mapping[str, Any] | None) -> str:
    """Write a share with its interval in percent; an interval that would print as 0 is left out."""
    if not metric or metric.get("mean") is None:
        return interval(metric)
    half = metric.get("ci95") or 0.0
    text = percent(metric["mean"])
    return text if half < 0.0005 else f"{text[:-2]} ± {number(100 * half, 1)} %"


def p_value(value: float | None) -> str:
    """Write a p-value; small ones as a bound."""
    if value is None:
        return DASH
    return "< 0.001" if value < 0.001 else number(value)


def count(value: float | None, noun: str = "") -> str:
    """Write a count with separators, and its noun in the right number."""
    if value is None:
        return DASH
    text = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return text if not noun else f"{text} {noun}{'' if value == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """Write a time in its two largest units."""
    if seconds is None:
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


def listed(words: Sequence[str]) -> str:
    """Join words as a sentence does: a, b and c."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)


def unlearner(name: str | None) -> str:
    """Return an algorithm's name as its paper writes it."""
    return UNLEARNERS.get(name or "", name or DASH)


def space(name: str) -> str:
    """Return what a space of plans is called, with what it leaves to choose."""
    return f"{name}: {SPACES[name]}" if name in SPACES else name


def values(step: Json) -> list[str]:
    """Return the hyperparameters of a plan's step as `name value`."""
    fields = {
        key.replace("_", " "): value
        for key, value in step["unlearner"].items()
        if key != "name" and value is not None
    }
    return [f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in fields.items()]


def label(row: Json) -> str:
    """Return what a row of the report is called, in tables, figures and claims alike."""
    method, name = str(row["method"]), unlearner(row.get("unlearner"))
    if method in VARIANTS:
        return f"{name} {VARIANTS[method]}"
    if method == "rum":
        return f"RUM ({row.get('source') or 'search'})"
    if method == "best_single":
        return f"best single ({name})"
    return METHODS.get(method, method)
