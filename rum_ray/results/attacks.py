"""What other attacks say of a row: SVMs, threshold, pool and shadow models; and KLoM."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import complement
from rum_ray.evaluation import AttackResult, PoolEvidence, klom, pool_lira, pool_rmia, u_lira
from rum_ray.evaluation.divergence import BINS
from rum_ray.evaluation.mia import Feature, Predictions, svm_attack, threshold_attack
from rum_ray.evaluation.statistics import Mean, PairedGap
from rum_ray.evaluation.tow import Evaluation
from rum_ray.jobs import UnlearnShadow, pool_logits, shadow_logits
from rum_ray.results.entries import Entry, missing
from rum_ray.rum import Plan
from rum_ray.study.methods import Row, pool_jobs
from rum_ray.study.study import Study

MODELS = ("retrained", "retrained_again", "original")
BY_POOL = {"pool_lira": pool_lira, "pool_rmia": pool_rmia}
FEATURES: tuple[Feature, ...] = ("correctness", "entropy", "modified_entropy", "probabilities")
LEARNED: Mapping[str, Callable[[Predictions, Predictions, Predictions], float]] = {
    "threshold": threshold_attack,
    **{f"svm_{feature}": partial(svm_attack, feature=feature) for feature in FEATURES},
}
"""Attacks that learn from members and non-members, and answer with a share of the forget set."""


@dataclass(frozen=True, eq=False)
class Attacks:
    """What the attacks of `evaluate.also` and KLoM say; all they need must be in the store.

    Attributes:
        study: whose pool is asked.
        rows: of the report, the retrained models first.
    """

    study: Study
    rows: tuple[Row, ...]

    @cached_property
    def references(self) -> list[Evaluation]:
        """The retrained models, by seed."""
        return [job.load(self.study.context) for job in self.rows[0].jobs]

    def entries(self, row: Row, evaluations: Sequence[Evaluation]) -> dict[str, Entry]:
        """Return the row's metrics by name, gaps against the retrained models of the same seeds."""
        config = self.study.experiment.evaluate
        entries: dict[str, Entry] = {}
        for attack in sorted(LEARNED.keys() & {*config.also}):
            ours, theirs = self._learned(attack, evaluations), self._retrained_answers[attack]
            entries[attack] = asdict(Mean.of(ours))
            entries[f"{attack}_gap"] = asdict(PairedGap.of(np.subtract(ours, theirs)))
        for attack in sorted(BY_POOL.keys() & {*config.also}):
            entries |= self._by_pool(attack, evaluations)
        if "u_lira" in config.also:
            entries |= self._by_shadows(row, evaluations)
        return entries

    def _learned(self, attack: str, evaluations: Sequence[Evaluation]) -> list[float]:
        """Return the answers of an attack that learns from members and non-members, by seed."""
        members = self.study.experiment.evaluate.members
        ask = LEARNED[attack]
        return [
            ask(e.pair("retain", e.sample(members)), e.pair("test"), e.pair("forget"))
            for e in evaluations
        ]

    def _by_pool(self, attack: str, evaluations: Sequence[Evaluation]) -> dict[str, Entry]:
        """Return what a pool attack tells of the forget set, and of a sample of the retain set."""
        ours = [self._leakage(attack, e, "forget") for e in evaluations]
        theirs = self._retrained_leakage[attack]
        signed = [a.auc - b.auc for a, b in zip(ours, theirs, strict=True)]
        kept = [self._leakage(attack, e, "retain") for e in evaluations]
        return {
            **_leakage_entries(attack, ours),
            f"{attack}_gap": asdict(PairedGap.of(signed)),
            **_leakage_entries(f"{attack}_retain", kept),
        }

    @cached_property
    def _retrained_answers(self) -> Mapping[str, list[float]]:
        """What each attack that learns answers of the retrained models."""
        asked = LEARNED.keys() & {*self.study.experiment.evaluate.also}
        return {attack: self._learned(attack, self.references) for attack in asked}

    @cached_property
    def _retrained_leakage(self) -> Mapping[str, list[AttackResult]]:
        """What each pool attack tells of the forget set under the retrained models."""
        also = self.study.experiment.evaluate.also
        return {
            attack: [self._leakage(attack, e, "forget") for e in self.references]
            for attack in BY_POOL
            if attack in also
        }

    def _leakage(self, attack: str, evaluation: Evaluation, name: str) -> AttackResult:
        """Return what a pool attack tells of the "forget" set, or of a sample of "retain"."""
        logits, unseen = evaluation.logits(name), evaluation.logits("test")
        if name == "retain":
            logits = logits[evaluation.sample()]
        pool, included, outside = self._pool[name]
        # A score is as noisy as its models are few, so non-members are judged by as many.
        alike = included[:, np.arange(outside.shape[1]) % included.shape[1]]
        return BY_POOL[attack](
            PoolEvidence(logits, pool, included), PoolEvidence(unseen, outside, alike)
        )

    @cached_property
    def _pool(self) -> Mapping[str, tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
        """The pool's logits and inclusions of the forget set and of the members; of non-members."""
        forget = self.study.partition.rows
        retain = complement(forget, len(self.study.context.bundle.train))
        rows = {"forget": forget, "retain": retain[self.references[0].sample()]}
        jobs = pool_jobs(self.study)
        return {name: pool_logits(self.study.context, jobs, r) for name, r in rows.items()}

    def _by_shadows(self, row: Row, evaluations: Sequence[Evaluation]) -> dict[str, Entry]:
        """Return what U-LiRA tells; models as they are get the shadows of the first plan."""
        plan = row.plan if row.jobs[0].keep else None
        if row.method in MODELS:
            plan = next(r.plan for r in self.rows if r.method == "rum")
        if plan is None:
            return {f"u_lira{part}": missing("only plans of RUM") for part in ("", "_gap")}
        shadows = self._shadows(plan)
        told = [
            u_lira(ours.logits("forget"), theirs.logits("forget"), *shadows)
            for ours, theirs in zip(evaluations, self.references, strict=True)
        ]
        signed = [leakage.auc - 0.5 for leakage in told]
        return {**_leakage_entries("u_lira", told), "u_lira_gap": asdict(PairedGap.of(signed))}

    def _shadows(self, plan: Plan) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return the shadow models' logits of the forget set, and what they had learned of it."""
        jobs = [UnlearnShadow(model, plan) for model in self.study.scoring.pool]
        return shadow_logits(self.study.context, jobs)

    def klom(self, evaluations: Sequence[Evaluation]) -> dict[str, Entry]:
        """Return KLoM's mean and 95th percentile over the examples of each set, over all seeds."""
        return {name: self._klom(evaluations, name) for name in ("forget", "retain", "test")}

    def _klom(self, evaluations: Sequence[Evaluation], name: str) -> Entry:
        """Return KLoM of one set, or the reason why there is none."""
        if len(evaluations) < BINS:
            return {"mean": None, "p95": None, "reason": f"needs {BINS} seeds"}
        ours, theirs = (
            np.stack([e.logits(name) for e in group]) for group in (evaluations, self.references)
        )
        values = klom(ours, theirs)
        return {"mean": float(values.mean()), "p95": float(np.quantile(values, 0.95))}


def _leakage_entries(name: str, by_seed: Sequence[AttackResult]) -> dict[str, Entry]:
    """Return AUC and true-positive rates over the seeds."""
    entries = {name: asdict(Mean.of([leakage.auc for leakage in by_seed]))}
    for rate in by_seed[0].tpr:
        found = [leakage.tpr[rate] for leakage in by_seed]
        known = [value for value in found if value is not None]
        entries[f"{name}_tpr_at_{rate}"] = (
            asdict(Mean.of(known)) if known else missing(f"needs {1 / rate:,.0f} non-members")
        )
    return entries
