"""A study that never was: what a report is made from, with plausible numbers and real digits."""

import copy
import json
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from rum_ray.evaluation.statistics import compare, holm
from rum_ray.report.gallery import Gallery, Picture
from rum_ray.report.text import label

Json = dict[str, Any]

SEEDS = list(range(10))
SUBSETS = ("low", "medium", "high")
T_QUANTILE = 2.262  # of Student's t with 9 degrees of freedom, for 95 %
CONFIG = """\
name: digits
data:    {name: digits, label_noise: 0.1, seed: 0}
recipe:  {model: mlp, epochs: 60, lr: 0.1, batch_size: 64, schedule: cosine}
score:   {name: memorization, models: 128, fraction: 0.7, seed: 0}
forget:  {size: 120, pick: spread}
refine:  {name: by_score, into: [low, medium, high]}
compare: [finetune, l1_sparse, neggrad+, salun, scrub]
search:  {trials: 24, reference: oracle, attack: auc, max_cost: 0.5, seed: 0, batch: 4}
evaluate: {attack: svm}
seeds:   [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
cluster: {workers: 2}
"""
SETTINGS: dict[str, Json] = {
    "nothing": {},
    "finetune": {"lr": 0.05, "epochs": 5, "batch_size": 64},
    "l1_sparse": {"lr": 0.05, "epochs": 5, "batch_size": 64, "alpha": 1e-4},
    "neggrad+": {"lr": 0.0123, "epochs": 5, "batch_size": 64, "alpha": 0.95},
    "salun": {"lr": 0.0482, "epochs": 5, "batch_size": 64, "keep": 0.5},
    "scrub": {"lr": 0.02, "epochs": 4, "batch_size": 64, "gamma": 1.0},
}
# method, unlearner: ToW, MIA gap, cost, accuracy on low, medium and high.
ROWS: list[tuple[str, str | None, float, float, float, tuple[float, float, float]]] = [
    ("retrained", None, 1.0, 0.0, 1.0, (0.985, 0.66, 0.07)),
    ("retrained_again", None, 0.968, 0.012, 1.0, (0.984, 0.65, 0.08)),
    ("original", None, 0.622, 0.352, 0.0, (1.0, 0.99, 0.97)),
    ("vanilla", "finetune", 0.701, 0.271, 0.083, (1.0, 0.95, 0.78)),
    ("shuffle", "finetune", 0.712, 0.262, 0.25, (1.0, 0.94, 0.75)),
    ("rum_f", "finetune", 0.738, 0.231, 0.25, (1.0, 0.92, 0.69)),
    ("vanilla", "l1_sparse", 0.752, 0.204, 0.083, (0.99, 0.90, 0.61)),
    ("shuffle", "l1_sparse", 0.761, 0.209, 0.25, (0.99, 0.90, 0.60)),
    ("rum_f", "l1_sparse", 0.789, 0.171, 0.25, (0.99, 0.87, 0.50)),
    ("vanilla", "neggrad+", 0.858, 0.094, 0.16, (0.91, 0.70, 0.21)),
    ("shuffle", "neggrad+", 0.846, 0.101, 0.38, (0.90, 0.71, 0.22)),
    ("rum_f", "neggrad+", 0.884, 0.066, 0.38, (0.95, 0.69, 0.16)),
    ("vanilla", "salun", 0.881, 0.078, 0.09, (0.88, 0.55, 0.04)),
    ("shuffle", "salun", 0.871, 0.085, 0.27, (0.87, 0.56, 0.05)),
    ("rum_f", "salun", 0.907, 0.049, 0.27, (0.94, 0.60, 0.05)),
    ("vanilla", "scrub", 0.842, 0.118, 0.12, (0.97, 0.79, 0.33)),
    ("shuffle", "scrub", 0.838, 0.121, 0.31, (0.97, 0.80, 0.33)),
    ("rum_f", "scrub", 0.861, 0.090, 0.31, (0.98, 0.75, 0.24)),
    ("rum", None, 0.941, 0.029, 0.212, (0.984, 0.68, 0.09)),
    ("best_single", "salun", 0.889, 0.067, 0.14, (0.90, 0.58, 0.05)),
]
PLAN = [("low", "nothing"), ("medium", "neggrad+"), ("high", "salun")]


def _metric(values: NDArray[np.float64]) -> Json:
    half = T_QUANTILE * float(values.std(ddof=1)) / math.sqrt(len(values))
    return {"mean": float(values.mean()), "ci95": half, "values": values.tolist()}


def _step(subset: str, name: str) -> Json:
    return {"subset": subset, "unlearner": {"name": name, **SETTINGS[name]}}


def _plan(method: str, unlearner: str | None) -> list[Json]:
    if method == "rum":
        return [_step(subset, name) for subset, name in PLAN]
    if unlearner is None:
        return []
    if method in ("vanilla", "best_single"):
        return [_step("all", unlearner)]
    names = SUBSETS if method == "rum_f" else ("shuffle1", "shuffle2", "shuffle3")
    return [_step(name, unlearner) for name in names]


def _rows(rng: np.random.Generator) -> list[Json]:
    shared = rng.normal(0, 0.008, len(SEEDS))
    rows = []
    for method, unlearner, tow, gap, cost, accuracies in ROWS:
        exact = method == "retrained"
        noise = 0.0 if exact else 1.0

        def draw(mean: float, spread: float, noise: float = noise) -> NDArray[np.float64]:
            return np.clip(mean + noise * rng.normal(0, spread, len(SEEDS)), 0, 1)

        tows = np.clip(draw(tow, 0.012) + noise * shared, 0, 1)
        gaps = np.abs(draw(gap, 0.014))
        metrics = {
            "tow": tows,
            "tow_mia": draw(tow - gap / 3, 0.015),
            "mia": draw(0.45 - gap, 0.03),
            "mia_gap": gaps,
            "auc": draw(0.5 + gap / 2, 0.006),
            "auc_gap": draw(gap / 2, 0.003),
            "forget_accuracy": draw(float(np.mean(accuracies)), 0.01),
            "retain_accuracy": draw(0.999 - gap / 20, 0.001),
            "test_accuracy": draw(0.955 - gap / 15, 0.006),
            "disagreement_forget": draw(0.12 + gap, 0.02),
            "disagreement_retain": draw(0.004, 0.001),
            "disagreement_test": draw(0.031, 0.006),
            "cost": np.full(len(SEEDS), cost),
            "seconds": draw(cost / 2 + 0.01, 0.01),
            "objective": tows - gaps,
            **{
                f"forget_accuracy_{name}": draw(value, 0.02)
                for name, value in zip(SUBSETS, accuracies, strict=True)
            },
        }
        searched = method in ("rum", "best_single") or unlearner is not None
        row = {"method": method, "unlearner": unlearner, "seeds": SEEDS}
        row |= {"source": "search" if searched else None, "trials": 24 if searched else None}
        row |= {"plan": _plan(method, unlearner)}
        row |= {"metrics": {name: _metric(values) for name, values in metrics.items()}}
        rows.append(row)
    floor = np.array(rows[1]["metrics"]["objective"]["values"])
    for row in rows:
        objective = np.array(row["metrics"]["objective"]["values"])
        row["metrics"]["excess"] = _metric(floor - objective)
    return rows


def _compare(a: Json, b: Json, p: float, p_holm: float) -> Json:
    left, right = (np.array(row["metrics"]["objective"]["values"]) for row in (a, b))
    paired = _metric(left - right)
    low, high = paired["mean"] - paired["ci95"], paired["mean"] + paired["ci95"]
    return {
        "a": label(a),
        "b": label(b),
        "metric": "objective",
        "mean": paired["mean"],
        "low": low,
        "high": high,
        "p": p,
        "p_holm": p_holm,
        "shown": low > 0 and p_holm < 0.05,
    }


def _comparisons(rows: list[Json]) -> list[Json]:
    named = {label(row): row for row in rows}
    rum = named["RUM (search)"]
    pairs = [(rum, named["best single (SalUn)"])]
    families = ("fine-tune", "L1-sparse", "NegGrad+", "SalUn", "SCRUB")
    pairs += [(named[f"{name} RUM^F"], named[f"{name} vanilla"]) for name in families]
    pairs.append((named["SalUn vanilla"], named["best single (SalUn)"]))
    found = []
    for a, b in pairs:
        shown = _compare(a, b, 0, 0)["low"] > 0
        found.append(_compare(a, b, 0.0004 if shown else 0.21, 0.0028 if shown else 0.21))
    return found


def trials_frame(rng: np.random.Generator) -> pd.DataFrame:
    """Return three searches of 24 trials: one unlearner, on subsets, and one for each subset."""
    rows = []
    names = [name for name in SETTINGS if name != "nothing"]
    for search, top in (("V0", 0.82), ("V1", 0.80), ("V4", 0.91)):
        for trial in range(24):
            subsets = ("all",) if search == "V0" else SUBSETS
            steps = [
                _step(subset, str(rng.choice(names if subset != "low" else ["nothing", *names])))
                for subset in subsets
            ]
            chosen = [step["unlearner"]["name"] for step in steps]
            skill = {"nothing": -0.02, "finetune": -0.12, "l1_sparse": -0.08, "neggrad+": -0.03}
            merit = sum(skill.get(name, 0.0) for name in chosen[-2:])
            learned = 0.08 * (1 - math.exp(-trial / 8))
            objective = top - 0.1 + merit + learned + float(rng.normal(0, 0.035))
            cost = float(np.clip(sum(0 if n == "nothing" else 0.1 for n in chosen), 0.0, 0.5))
            cost = float(np.clip(cost * rng.uniform(0.5, 1.8), 0.02, 0.7))
            status = (
                "infeasible" if cost > 0.5 else "diverged" if rng.random() < 0.03 else "complete"
            )
            known = status == "complete"
            gap = float(rng.uniform(0.01, 0.08))
            rows.append(
                {
                    "search": search,
                    "trial": trial,
                    "status": status,
                    "objective": min(objective, 0.94) if known else math.nan,
                    "tow": min(objective, 0.94) + gap if known else math.nan,
                    "mia_gap": gap if known else math.nan,
                    "cost": cost,
                    "seconds": float(rng.uniform(0.8, 2.4)),
                    "plan": json.dumps(steps),
                }
            )
    return pd.DataFrame(rows)


def _searches(trials: pd.DataFrame) -> list[Json]:
    """Return what each search found; "V4 pool" is one of V4 by the reference "pool"."""
    searches = []
    for name, rows in trials.groupby("search", sort=False):
        best = rows.loc[rows["objective"].idxmax()]
        status = rows["status"].value_counts()
        known = rows["objective"].fillna(-1.0)
        space, _, reference = str(name).partition(" ")
        searches.append(
            {
                "name": name,
                "space": space,
                "trials": len(rows),
                "objective": "tow - mia_gap",
                "split": "validation",
                "attack": "auc",
                "reference": reference or "oracle",
                "max_cost": 0.5,
                "pick": None,
                "front": _front(rows),
                "expected_best": _expected_best(known.to_numpy()),
                "seconds": float(rows["seconds"].sum()),
                "complete": int(status.get("complete", 0)),
                "drawn_again": 7,
                "infeasible": int(status.get("infeasible", 0)),
                "diverged": int(status.get("diverged", 0)),
                "best": {
                    "plan": json.loads(best["plan"]),
                    "objective": float(best["objective"]),
                    "validated": float(best["objective"]) - 0.013,
                    "cost": float(best["cost"]),
                },
            }
        )
    return searches


def _front(rows: pd.DataFrame) -> list[Json]:
    """Return the trials that no cheaper one matches."""
    found: list[Json] = []
    known = rows[rows["status"] == "complete"].sort_values(["cost", "objective"])
    for row in known.to_dict("records"):
        if not found or row["objective"] > found[-1]["objective"]:
            point = {key: row[key] for key in ("trial", "objective", "cost")}
            found.append({**point, "plan": json.loads(row["plan"])})
    return found


def _expected_best(values: NDArray[np.float64]) -> list[float]:
    """Return the expected maximum of n = 1 to N draws with replacement from N values."""
    total = len(values)
    below = np.arange(total + 1) / total
    chances = [np.diff(below**n) for n in range(1, total + 1)]
    return [float(chance @ np.sort(values)) for chance in chances]


def scores_frame(rng: np.random.Generator, count: int = 1200) -> pd.DataFrame:
    """Return the scores of `count` examples, a tenth of them with a wrong label."""
    flipped = rng.random(count) < 0.1
    true_label = rng.integers(0, 10, count)
    label_column = np.where(flipped, (true_label + rng.integers(1, 10, count)) % 10, true_label)
    values = np.where(flipped, rng.beta(6, 1.6, count), rng.beta(0.35, 3.2, count))
    near = np.clip(values + rng.normal(0, 0.12, count), 0, 1)
    frame = pd.DataFrame(
        {
            "id": np.arange(count) + 97,
            "memorization": values,
            "standard_error": 0.02 + 0.05 * np.sqrt(values * (1 - values)),
            "confidence": near,
            "max_confidence": np.clip(near * 0.6 + rng.normal(0, 0.1, count), 0, 1),
            "entropy": np.clip(near * 0.5 + rng.normal(0, 0.15, count), 0, 1),
            "binary_accuracy": np.clip(near + rng.normal(0, 0.05, count), 0, 1),
            "cumulative_loss": near * 3 + 0.02,
            "heldout": near * 2.2,
            "curvature": near * 0.3,
            "label": label_column,
            "true_label": pd.array(true_label, dtype="Int64"),
        }
    )
    order = np.argsort(values)
    subset = pd.Series([None] * count, dtype="object")
    subset.iloc[order[:40]] = "low"
    middle = np.argsort(np.abs(values - 0.5))[:40]
    subset.iloc[middle] = "medium"
    subset.iloc[order[-40:]] = "high"
    return frame.assign(subset=subset.astype("string"))


def _proxy(value: float, name: str) -> Json:
    """Return a proxy that was recorded in three runs, or made once."""
    once = name in ("heldout", "curvature")
    share = [0.55 + value / 4] if once else [0.53 + value / 4, 0.55 + value / 4, 0.57 + value / 4]
    return {
        "spearman": value,
        "ci95": None if once else 0.021,
        "values": [value] if once else [value - 0.02, value, value + 0.02],
        "low": value - 0.05,
        "high": value + 0.04,
        "same_subset": {
            "mean": 0.55 + value / 4,
            "ci95": None if once else 0.021,
            "values": share,
        },
    }


def _subsets(scores: pd.DataFrame, rng: np.random.Generator) -> list[Json]:
    entries = []
    for name, level in zip(SUBSETS, (1.9, 2.6, 3.4), strict=True):
        rows = scores[scores["subset"] == name]
        score = rows["memorization"]
        entries.append(
            {
                "name": name,
                "size": len(rows),
                "score": float(score.mean()),
                "score_low": float(score.min()),
                "score_high": float(score.max()),
                "flipped": int((rows["label"] != rows["true_label"]).sum()),
                "entanglement_score": _metric(level + rng.normal(0, 0.25, len(SEEDS))),
                "mmd": _metric(0.2 - level / 40 + rng.normal(0, 0.01, len(SEEDS))),
                "mmd_median": _metric(0.9 - level / 5 + rng.normal(0, 0.02, len(SEEDS))),
                "two_sample_auc": _metric(1 - level / 9 + rng.normal(0, 0.02, len(SEEDS))),
            }
        )
    return entries


def _gallery(scores: pd.DataFrame, classes: list[str], color: bool) -> Gallery:
    images = load_digits().images
    ordered = scores.sort_values("memorization", ascending=False).reset_index(drop=True)
    middle = ordered.iloc[(ordered["memorization"] - 0.5).abs().argsort()].head(10)
    groups = (("most", ordered.head(20)), ("low", ordered.tail(10)), ("medium", middle))
    pictures = []
    for group, rows in groups:
        for row in rows.itertuples():
            digit = np.flatnonzero(load_digits().target == row.true_label)[row.id % 150]
            pixels = (images[digit][None] * 15.9).astype(np.uint8)
            if color:
                pixels = _colored(pixels, int(row.id))
            pictures.append(
                Picture(
                    id=int(row.id),
                    pixels=pixels,
                    label=classes[row.label],
                    true_label=classes[row.true_label],
                    score=float(row.memorization),
                    group=group,
                )
            )
    return Gallery(tuple(pictures))


def _colored(pixels: NDArray[np.uint8], salt: int) -> NDArray[np.uint8]:
    """Return the digit 32 pixels wide and in colour."""
    large = np.kron(pixels[0], np.ones((4, 4), dtype=np.uint8)).astype(np.float64)
    tints = np.random.default_rng(salt).uniform(0.3, 1.0, 3)
    return np.stack([large * tint for tint in tints]).astype(np.uint8)


def sample(
    *, color: bool = False, classes: list[str] | None = None
) -> tuple[Json, pd.DataFrame, pd.DataFrame, Gallery]:
    """Return what `rum_ray.report.write` takes: 10 seeds, 20 rows, 3 searches, 1,200 scores."""
    rng = np.random.default_rng(7)
    classes = classes or [str(digit) for digit in range(10)]
    scores, trials, rows = scores_frame(rng), trials_frame(rng), _rows(rng)
    proxies = {"confidence": 0.76, "max_confidence": 0.52, "entropy": 0.41, "binary_accuracy": 0.72}
    proxies |= {"cumulative_loss": 0.75, "heldout": 0.47, "curvature": 0.73}
    correlations = {name: _proxy(value, name) for name, value in proxies.items()}
    report = {
        "format": 1,
        "status": "complete",
        "experiment": {"name": "digits", "digest": "3f9c27d1a4b85e60" * 4, "config": CONFIG},
        "environment": {
            "rum_ray": "0.1.0",
            "python": "3.11.7",
            "torch": "2.10.0",
            "ray": "2.60.0",
            "numpy": "2.4.6",
            "hardware": "2 cores, no GPU, 23 GB",
            "threads": 1,
            "dashboard": "http://127.0.0.1:8265",
        },
        "data": {
            "name": "digits",
            "train": 1200,
            "valid": 237,
            "test": 360,
            "classes": classes,
            "label_noise": 0.1,
            "flipped": int((scores["label"] != scores["true_label"]).sum()),
        },
        "scores": {
            "name": "memorization",
            "models": 128,
            "fraction": 0.7,
            "split_half": 0.941,
            "changed_share": 0.147,
            "standard_error": 0.038,
            "auc_flipped": 0.973,
            "proxies": correlations,
        },
        "forget": {"size": 120, "pick": "spread", "classes": [12] * 10},
        "subsets": _subsets(scores, rng),
        "entanglement": {"spearman_with_entanglement_score": {"mmd_median": {"mean": -0.85}}},
        "rows": rows,
        "comparisons": _comparisons(rows),
        "searches": _searches(trials),
        "ladder": None,
        "references": [],
        "stages": [
            {"name": "scores", "seconds": 71.2, "trainings": 128, "made": 128, "reused": 0},
            {"name": "originals", "seconds": 9.8, "trainings": 16, "made": 13, "reused": 3},
            {"name": "references", "seconds": 17.1, "trainings": 25, "made": 25, "reused": 0},
            {"name": "entanglement", "seconds": 2.2, "trainings": 0, "made": 10, "reused": 0},
            {"name": "search", "seconds": 118.4, "trainings": 14.6, "made": 72, "reused": 0},
            {"name": "plans", "seconds": 44.9, "trainings": 37.7, "made": 180, "reused": 10},
        ],
        "costs": {
            "unit": "trainings of the original",
            "scores": 89.6,
            "originals": 16.0,
            "search": 14.6,
            "references": 25.0,
            "plans": 37.7,
        },
        "selected_on": [
            {"what": "subsets", "split": "train", "seeds": "score pool, seed 0"},
            {"what": "plans and their values", "split": "validation", "seeds": "search, 3 seeds"},
            {"what": "the best of 3 plans", "split": "validation", "seeds": "2 fresh seeds"},
            {"what": "nothing", "split": "test", "seeds": "0 to 9, reported"},
        ],
        "warnings": [
            "2 of 72 trials diverged (neggrad+ on high with lr above 0.08) and count as failed.",
            "15 % of the forget set would be in another subset with other models, above the goal "
            "of 10 %: 128 models are too few.",
            "Class 8 has 9 forgotten examples; per-class numbers of it would be noise.",
        ],
    }
    return report, scores, trials, _gallery(scores, classes, color)


def _shifted(row: Json, rng: np.random.Generator, shift: float, **changes: Any) -> Json:
    """Return a row that is another one with a lower objective."""
    found = copy.deepcopy(row) | changes
    for name, part in (("tow", 0.75), ("mia_gap", -0.25), ("objective", 1.0)):
        values = np.array(found["metrics"][name]["values"]) - shift * part
        found["metrics"][name] = _metric(values + rng.normal(0, 0.01, len(SEEDS)))
    return found


RUNGS = [
    ("V0", "best_single", 0.09),
    ("V1", "refined", 0.06),
    ("V2", "ordered", 0.058),
    ("V3", "untuned", 0.055),
    ("V4", "rum", 0.0),
    ("shuffle", "shuffled", 0.085),
]


def _ladder(rows: list[Json], rng: np.random.Generator) -> Json:
    """Return the ladder, and give `rows` those of its rungs that they lack."""
    rum = next(row for row in rows if row["method"] == "rum")
    found, rungs = {}, []
    for space, method, shift in RUNGS:
        row = next((row for row in rows if row["method"] == method), None)
        if row is None:
            row = _shifted(rum, rng, shift, method=method)
            rows.append(row)
        found[space] = row
        metrics = {name: row["metrics"][name] for name in ("objective", "tow", "cost")}
        rungs.append({"space": space, "method": method, "trials": 24, **metrics})
    pairs = [("V1", "V0"), ("V2", "V1"), ("V3", "V2"), ("V4", "V3"), ("V1", "shuffle")]
    pairs.append(("V4", "V0"))
    values = {space: row["metrics"]["objective"]["values"] for space, row in found.items()}
    p = [compare(values[a], values[b]).p for a, b in pairs]
    claims = [
        _compare(found[a], found[b], *both) | {"a": a, "b": b}
        for (a, b), both in zip(pairs, zip(p, holm(p), strict=True), strict=True)
    ]
    return {"rungs": rungs, "claims": claims}


def _references(rows: list[Json], rng: np.random.Generator) -> list[Json]:
    """Return what each reference led to, and give `rows` the plans of those beside the main one."""
    rum = next(row for row in rows if row["method"] == "rum")
    found = []
    for reference, trainings, shift in (
        ("oracle", 4.8, 0),
        ("surrogate", 4.8, 0.009),
        ("pool", 0, 0.04),
    ):
        row = rum if reference == "oracle" else _shifted(rum, rng, shift, source=reference)
        if row is not rum:
            rows.append(row)
        regret = _compare(rum, row, 0.002 if shift > 0.03 else 0.08, 0)
        entry = {"reference": reference, "main": row is rum, "trials": 24, "trainings": trainings}
        entry |= {"objective": row["metrics"]["objective"]}
        kept = {key: regret[key] for key in ("mean", "low", "high", "p")} | {"n": len(SEEDS)}
        found.append({**entry, "regret": None if row is rum else kept})
    return found


def busy_sample() -> tuple[Json, pd.DataFrame, pd.DataFrame, Gallery]:
    """Return a study with all there may be: a plan from the file, the ladder, all references."""
    report, scores, trials, gallery = sample()
    rng = np.random.default_rng(11)
    parts = []
    for rung, name in enumerate(("V0", "V1", "V2", "V3", "V4", "V4 surrogate", "V4 pool")):
        part = trials[trials["search"] == ("V0" if rung == 0 else "V4")].copy()
        part["search"] = name
        part["objective"] += 0.01 * rung + rng.normal(0, 0.02, len(part))
        parts.append(part)
    frame = pd.concat(parts, ignore_index=True)
    report["searches"] = _searches(frame)
    rows = report["rows"]
    rum = next(row for row in rows if row["method"] == "rum")
    report["ladder"], report["references"] = _ladder(rows, rng), _references(rows, rng)
    rows.append(_shifted(rum, rng, 0.016, source="file", trials=None))
    report["comparisons"][0] |= {"mean": 0.02, "low": -0.01, "high": 0.05, "shown": False}
    return report, scores, frame, gallery
