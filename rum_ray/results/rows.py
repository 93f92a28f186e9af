"""From finished jobs to the numbers of a report: rows, intervals and comparisons."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from rum_ray.evaluation.statistics import LEAST_SEEDS, Mean, PairedGap, compare, holm
from rum_ray.evaluation.tow import Evaluation
from rum_ray.experiment import plan_as_dicts
from rum_ray.results.attacks import Attacks
from rum_ray.results.residuals import Residuals
from rum_ray.study.methods import Row
from rum_ray.study.study import Study

Labelled: TypeAlias = tuple[str, dict[str, Any]]
"""A row of the report, and what tables call it."""


def measure(study: Study, row: Row, attacks: Attacks, residuals: Residuals) -> dict[str, Any]:
    """Return a row of the report: each metric's mean, interval and values over the seeds."""
    evaluations = [job.load(study.context) for job in row.jobs]
    pairs = list(zip(evaluations, attacks.references, strict=True))
    by_seed = [ours.against(theirs) for ours, theirs in pairs]
    attack = {"svm": "mia_gap", "auc": "auc_gap"}[study.experiment.evaluate.attack]
    for values in by_seed:
        values["objective"] = values["tow"] - values[attack]
    metrics = {name: Mean.of([values[name] for values in by_seed]) for name in by_seed[0]}
    answers = [(_answers(ours), _answers(theirs)) for ours, theirs in pairs]
    for gap in answers[0][0].keys() & metrics.keys():
        metrics[gap] = PairedGap.of([ours[gap] - theirs[gap] for ours, theirs in answers])
    return {
        "method": row.method,
        "unlearner": row.unlearner,
        "source": row.source,
        "trials": row.trials,
        "plan": [] if row.plan is None else plan_as_dicts(row.plan),
        "seeds": list(study.experiment.seeds),
        "metrics": {
            **{name: asdict(mean) for name, mean in metrics.items()},
            **attacks.entries(row, evaluations),
            **residuals.entries(row),
        },
        "klom": attacks.klom(evaluations),
    }


def _answers(evaluation: Evaluation) -> dict[str, Any]:
    """Return what is asked of a model, by the name of its gap."""
    return {
        "mia_gap": evaluation.mia,
        "auc_gap": evaluation.auc,
        "relearned_gap": evaluation.relearned,
        **{f"auc_gap_{name}": auc for name, auc in evaluation.subset_aucs.items()},
    }


def add_excess(rows: list[dict[str, Any]]) -> None:
    """Give each row its excess: J of the noise floor minus J of the row, paired by seed."""
    (floor,) = (r for r in rows if r["method"] == "retrained_again")
    best = np.array(floor["metrics"]["objective"]["values"])
    for row in rows:
        values = best - np.array(row["metrics"]["objective"]["values"])
        row["metrics"]["excess"] = asdict(Mean.of(values))


def comparisons(rows: Sequence[Labelled]) -> list[dict[str, Any]]:
    """Return the claims that the first row, the searched plan, is better than each other one."""
    return claims([(rows[0], other) for other in rows[1:]])


def claims(pairs: Sequence[tuple[Labelled, Labelled]]) -> list[dict[str, Any]]:
    """Return what J says of claims "A is better than B", paired by seed.

    Args:
        pairs: A and B of each, as labels and rows.

    Returns:
        One entry a claim, corrected by Holm over all of them; none with fewer than three seeds.
        "shown" says that A is better: the lower bound of the difference is above 0 and the
        corrected p below 0.05.
    """
    values = [[row["metrics"]["objective"]["values"] for _, row in pair] for pair in pairs]
    if not pairs or len(values[0][0]) < LEAST_SEEDS:
        return []
    results = [compare(a, b) for a, b in values]
    corrected = holm([result.p for result in results])
    return [
        {
            "a": a,
            "b": b,
            "metric": "objective",
            **asdict(result),
            "p_holm": p_holm,
            "shown": result.low > 0 and p_holm < 0.05,
        }
        for ((a, _), (b, _)), result, p_holm in zip(pairs, results, corrected, strict=True)
    ]
