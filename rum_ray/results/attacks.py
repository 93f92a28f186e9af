"""Metrics of the attacks in `evaluate.also`, and KLoM.

An attack is measured by the evidence that it `needs`, whatever its name. Models retrained without
the forget set are the baseline of every gap.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rum_ray.errors import ConfigError
from rum_ray.evaluation import AttackResult, PoolEvidence, klom
from rum_ray.evaluation.attack import Attack, Needs
from rum_ray.evaluation.sets import Members
from rum_ray.evaluation.statistics import Mean, PairedGap
from rum_ray.evaluation.tow import Evaluation
from rum_ray.results.metrics import metric, metric_or_reason
from rum_ray.results.outcome import Measured, Method, PoolAnswers
from rum_ray.results.schema import Klom, Metric

Metrics: TypeAlias = dict[str, Metric]
CHANCE = 0.5
"""AUC of an attack that cannot tell targets from non-members."""
NO_SHADOWS = "only plans of RUM, and the best single unlearner"
KLOM_MODELS = 100
"""Least models on each side: of 20, two samples of one distribution differ by 3 nats."""
NO_NUMBER = "the attack gave no number"


def attack_metrics(measured: Measured) -> list[Metrics]:
    """Return the metrics of all attacks in `evaluate.also` by name, for each method."""
    found: list[Metrics] = [{} for _ in measured.methods]
    order = [*_MEASURES]
    for attack in sorted(measured.attacks, key=lambda a: (order.index(a.needs), a.name)):
        for metrics, new in zip(found, _MEASURES[attack.needs](attack, measured), strict=True):
            metrics |= new
    return found


def klom_summaries(method: Method, retrained: Method) -> dict[str, Klom]:
    """Return KLoM over all seeds: mean and 95th percentile over the examples of each set."""
    return {name: _klom(method, retrained, name) for name in ("forget", "retain", "test")}


def _klom(method: Method, retrained: Method, name: str) -> Klom:
    """Return KLoM of one set, or the reason why there is none."""
    if len(method.evaluations) < KLOM_MODELS:
        return Klom(None, None, f"needs {KLOM_MODELS} seeds")
    ours, theirs = (np.stack([e.logits(name) for e in m.evaluations]) for m in (method, retrained))
    values = klom(ours, theirs)
    return Klom(float(values.mean()), float(np.quantile(values, 0.95)))


def _by_predictions(attack: Attack, measured: Measured) -> list[Metrics]:
    """Return the answer of an attack on predictions, and its gap, for each method."""
    answers = [
        [_answer(attack, evaluation, measured.config.members) for evaluation in method.evaluations]
        for method in measured.methods
    ]
    return [_answers(attack, ours, answers[0]) for ours in answers]


def _by_original(attack: Attack, measured: Measured) -> list[Metrics]:
    """Return the answer of an attack that knows the original, and its gap, for each method.

    Models that were retrained again have not seen the forget set. They are measured by the models
    of the reference themselves, since a model is no evidence on itself.
    """
    by_name = {method.name: method.evaluations for method in measured.methods}
    again, reference = (_logits(by_name[n]) for n in ("retrained_again", "retrained"))
    originals, answers = _logits(by_name["original"]), []
    for method in measured.methods:
        shadows = reference if method.name == "retrained_again" else again
        pairs = zip(_logits(method.evaluations), originals, strict=True)
        answers.append([_number(attack, attack(*pair, shadows)) for pair in pairs])
    return [_answers(attack, ours, answers[0]) for ours in answers]


def _by_seeds(attack: Attack, measured: Measured) -> list[Metrics]:
    """Return the answer of an attack on the models of all seeds, and its gap, for each method.

    The gap is the distance to the answer on the retrained models themselves.
    """
    theirs = _logits(measured.methods[0].evaluations)
    alike = _number(attack, attack(theirs, theirs))
    found = []
    for method in measured.methods:
        answer = _number(attack, attack(_logits(method.evaluations), theirs))
        numbers = {attack.name: answer, f"{attack.name}_gap": abs(answer - alike)}
        found.append(
            {
                name: Metric(value) if np.isfinite(value) else Metric.missing(NO_NUMBER)
                for name, value in numbers.items()
            }
        )
    return found


def _answers(attack: Attack, ours: Sequence[float], retrained: Sequence[float]) -> Metrics:
    """Return one number per seed, and its gap to the numbers of the retrained models."""
    differences = [a - b for a, b in zip(ours, retrained, strict=True)]
    return {
        attack.name: metric_or_reason(ours, NO_NUMBER),
        f"{attack.name}_gap": metric_or_reason(differences, NO_NUMBER, PairedGap),
    }


def _logits(evaluations: Sequence[Evaluation]) -> NDArray[np.float64]:
    """Return logit p_y [M, N] of the forget set under the models of all seeds."""
    return np.stack([evaluation.logits("forget") for evaluation in evaluations])


def _answer(attack: Attack, evaluation: Evaluation, members: Members) -> float:
    """Return the answer of an attack on the predictions of one model."""
    targets, nonmembers = evaluation.pair("forget"), evaluation.pair("test")
    if attack.needs == "nonmembers":
        answer = attack(targets, nonmembers)
    else:
        learned = evaluation.pair("retain", evaluation.sample(members))
        answer = attack(learned, nonmembers, targets)
    return _number(attack, answer)


def _number(attack: Attack, answer: float | AttackResult) -> float:
    """Return the answer of an attack that gives a number."""
    if isinstance(answer, AttackResult) or np.ndim(answer) > 0:
        raise _wrong(attack, answer, "a number")
    return float(answer)


def _by_pool(attack: Attack, measured: Measured) -> list[Metrics]:
    """Return the results of a pool attack on the forget set and on a sample of the retain set."""
    assert measured.pool is not None
    found, baseline = [], measured.methods[0]
    theirs = [_pool_result(attack, e, measured.pool, "forget") for e in baseline.evaluations]
    for method in measured.methods:
        ours, kept = (
            [_pool_result(attack, e, measured.pool, name) for e in method.evaluations]
            for name in ("forget", "retain")
        )
        gaps = [a.auc - b.auc for a, b in zip(ours, theirs, strict=True)]
        found.append(
            {
                **_result_metrics(attack.name, ours),
                f"{attack.name}_gap": metric(PairedGap.of(gaps)),
                **_result_metrics(f"{attack.name}_retain", kept),
            }
        )
    return found


def _pool_result(
    attack: Attack, evaluation: Evaluation, answers: PoolAnswers, name: str
) -> AttackResult:
    """Return the result of a pool attack on "forget", or on the sample of "retain"."""
    logits = evaluation.logits(name)
    if name == "retain":
        logits = logits[evaluation.sample()]
    pool, included = answers.sets[name]
    # The noise of a score falls with its models, so non-members are judged by as many.
    alike = included[:, np.arange(answers.unseen.shape[1]) % included.shape[1]]
    targets = PoolEvidence(logits, pool, included)
    return _result(attack, targets, PoolEvidence(evaluation.logits("test"), answers.unseen, alike))


def _by_shadows(attack: Attack, measured: Measured) -> list[Metrics]:
    """Return the results of an attack with shadow models of each plan that has them.

    Models that are measured as they are get the shadow models of the first plan.
    """
    first = next(m.shadows for m in measured.methods if m.shadows is not None)
    found, retrained = [], measured.methods[0].evaluations
    for method in measured.methods:
        shadows = first if not method.plan else method.shadows
        if shadows is None:
            names = (attack.name, f"{attack.name}_gap")
            found.append(dict.fromkeys(names, Metric.missing(NO_SHADOWS)))
            continue
        evidence = [shadows.logits, shadows.forgotten]
        if attack.needs == "trained_shadows":
            assert measured.pool is not None
            evidence.append(measured.pool.sets["forget"][0])
        pairs = zip(_logits(method.evaluations), _logits(retrained), strict=True)
        results = [_result(attack, *pair, *evidence) for pair in pairs]
        gap = metric(PairedGap.of([result.auc - CHANCE for result in results]))
        found.append({**_result_metrics(attack.name, results), f"{attack.name}_gap": gap})
    return found


def _result(attack: Attack, *evidence: object) -> AttackResult:
    """Return the result of an attack that ranks examples by a score."""
    result = attack(*evidence)
    if not isinstance(result, AttackResult):
        raise _wrong(attack, result, "an AttackResult")
    return result


def _wrong(attack: Attack, answer: object, expected: str) -> ConfigError:
    """Return the error for an attack that returns a value of another type."""
    return ConfigError(
        f"evaluate.also: attack '{attack.name}' returned {type(answer).__name__}. An attack that "
        f"needs '{attack.needs}' must return {expected}."
    )


def _result_metrics(name: str, by_seed: Sequence[AttackResult]) -> Metrics:
    """Return AUC and true-positive rates over the seeds."""
    metrics = {name: metric(Mean.of([result.auc for result in by_seed]))}
    for rate in by_seed[0].tpr:
        found = [result.tpr[rate] for result in by_seed]
        known = [value for value in found if value is not None]
        metrics[f"{name}_tpr_at_{rate}"] = (
            metric(Mean.of(known))
            if known
            else Metric.missing(f"needs {1 / rate:,.0f} non-members")
        )
    return metrics


_MEASURES: Mapping[Needs, Callable[[Attack, Measured], list[Metrics]]] = {
    "nonmembers": _by_predictions,
    "members": _by_predictions,
    "pool": _by_pool,
    "shadows": _by_shadows,
    "trained_shadows": _by_shadows,
    "original": _by_original,
    "seeds": _by_seeds,
}
