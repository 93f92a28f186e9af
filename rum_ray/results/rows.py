"""The rows of the report: metrics over seeds, and claims that one row is better than another."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from rum_ray.errors import ConfigError
from rum_ray.evaluation.statistics import LEAST_SEEDS, Mean, PairedGap, compare, holm
from rum_ray.evaluation.tow import Evaluation
from rum_ray.results.attacks import attack_metrics, klom_summaries
from rum_ray.results.metrics import by_seed, metric
from rum_ray.results.outcome import Measured, Method
from rum_ray.results.residuals import residual_metrics
from rum_ray.results.schema import Claim, Metric, Row

_OF_ATTACK = {"svm": "mia_gap", "auc": "auc_gap"}


def row_summaries(measured: Measured) -> tuple[Row, ...]:
    """Return the rows, each with its excess over the noise floor."""
    attacks, residuals = attack_metrics(measured), residual_metrics(measured)
    rows = [
        _row(measured, method, {**of_attacks, **of_residuals})
        for method, of_attacks, of_residuals in zip(
            measured.methods, attacks, residuals, strict=True
        )
    ]
    (floor,) = (row for row in rows if row.method == "retrained_again")
    return tuple(_with_excess(row, floor) for row in rows)


def _row(measured: Measured, method: Method, others: dict[str, Metric]) -> Row:
    """Return a row without its excess; `others` are metrics beside those of `Evaluation`."""
    retrained = measured.methods[0]
    metrics = _metrics(method, retrained, _OF_ATTACK[measured.config.attack])
    for name in metrics.keys() & others.keys():
        raise ConfigError(
            f"evaluate.also: an attack has the name '{name}' of another metric. Rename the attack."
        )
    return Row(
        method=method.name,
        unlearner=method.unlearner,
        source=method.source,
        trials=method.trials,
        plan=method.plan,
        seeds=measured.seeds,
        metrics={**metrics, **others},
        klom=klom_summaries(method, retrained),
    )


def _metrics(method: Method, retrained: Method, attack_gap: str) -> dict[str, Metric]:
    """Return the metrics of the evaluations against those of the retrained models, by name."""
    pairs = list(zip(method.evaluations, retrained.evaluations, strict=True))
    found = [ours.against(theirs) for ours, theirs in pairs]
    for values in found:
        values["objective"] = values["tow"] - values[attack_gap]
    answers = [(_answers(ours), _answers(theirs)) for ours, theirs in pairs]
    metrics = {}
    for name in found[0]:
        if not all(name in values for values in found):
            continue
        if name in answers[0][0]:
            gaps = [ours[name] - theirs[name] for ours, theirs in answers]
            metrics[name] = metric(PairedGap.of(gaps))
        else:
            metrics[name] = metric(Mean.of([values[name] for values in found]))
    return metrics


def _answers(evaluation: Evaluation) -> dict[str, float]:
    """Return the answers that have a gap, by the name of the gap."""
    answers = {
        "mia_gap": evaluation.mia,
        "auc_gap": evaluation.auc,
        **{f"auc_gap_{name}": auc for name, auc in evaluation.subset_aucs.items()},
    }
    if evaluation.relearned is not None:
        answers["relearned_gap"] = evaluation.relearned
    return answers


def _with_excess(row: Row, floor: Row) -> Row:
    """Return a row with its excess: J of the noise floor minus J of the row, paired by seed."""
    values = by_seed(floor.metrics["objective"]) - by_seed(row.metrics["objective"])
    return replace(row, metrics={**row.metrics, "excess": metric(Mean.of(values))})


def comparisons(rows: Sequence[Row]) -> tuple[Claim, ...]:
    """Return the claims that the searched plan is better than each competing row."""
    searched = [row for row in rows if row.method == "rum" and row.source == "search"]
    if not searched:
        return ()
    best_single = [row for row in rows if row.method == "best_single"]
    # Plans that other references of the search led to have their own comparison: regret.
    others = [
        row
        for row in rows
        if row.source in (None, "search", "file")
        and (row.method, row.source) != ("rum", "search")
        and row.method not in ("retrained", "retrained_again", "best_single")
    ]
    first, *rest = [*searched, *best_single, *others]
    return claims([(row_label(first), first, row_label(other), other) for other in rest])


def row_label(row: Row) -> str:
    """Return the name of a row in claims."""
    if row.method == "rum":
        return f"rum ({row.source})"
    return f"{row.method} {row.unlearner}" if row.unlearner else row.method


def claims(pairs: Sequence[tuple[str, Row, str, Row]]) -> tuple[Claim, ...]:
    """Return claims "A is better than B" in J, paired by seed; none with fewer than three seeds.

    Args:
        pairs: label and row of A, label and row of B.

    Returns:
        Claims whose p-values are corrected by Holm over all of them. A claim is shown if the lower
        bound of the difference is above 0 and the corrected p below 0.05.
    """
    values = [
        (by_seed(a.metrics["objective"]), by_seed(b.metrics["objective"])) for _, a, _, b in pairs
    ]
    if not pairs or len(values[0][0]) < LEAST_SEEDS:
        return ()
    results = [compare(a, b) for a, b in values]
    corrected = holm([result.p for result in results])
    return tuple(
        Claim(
            a=a,
            b=b,
            metric="objective",
            **asdict(result),
            p_holm=p_holm,
            shown=result.low > 0 and p_holm < 0.05,
        )
        for (a, _, b, _), result, p_holm in zip(pairs, results, corrected, strict=True)
    )
