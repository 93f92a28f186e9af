"""The job of one trial of a search: it judges a plan."""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from rum_ray.errors import DivergedError
from rum_ray.evaluation.tow import Evaluation, evaluate
from rum_ray.jobs.context import Context
from rum_ray.jobs.evaluate import relative_cost
from rum_ray.jobs.prefix import PlanPrefix
from rum_ray.jobs.reference import PoolReference, RetrainedReference
from rum_ray.jobs.train import TrainModel
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Plan, take_step
from rum_ray.search.objective import INFEASIBLE, judge
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class EvaluatePlan:
    """One trial of a search: judge a plan on validation data and search seeds.

    Attributes:
        plan: the proposed plan.
        originals: one per search seed.
        reference: the target of the unlearned models.
        attack: "auc" or "svm".
        max_cost: the cap on cost; a more expensive plan does not run.
        shared: number of first steps that other plans can share; the models after them are cached.
            It affects no result, so it is not part of the key.
    """

    key_name: ClassVar[str] = "TryPlan"

    plan: Plan
    originals: tuple[TrainModel, ...]
    reference: RetrainedReference | PoolReference
    attack: str
    max_cost: float
    shared: int = field(default=0, compare=False)

    @property
    def recipe(self) -> Recipe:
        """The originals' recipe."""
        return self.originals[0].recipe

    @property
    def seed(self) -> Seed:
        """The seed of the first original; the plan runs under the seed of each original."""
        return self.originals[0].seed

    def key(self, context: Context) -> Key:
        """Return the key of the trial."""
        valid = context.eval_fingerprint("valid")
        return Key("trial", {"job": self, "valid": valid, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return, as value, the status and the means over the seeds.

        The means are objective, tow, gap, cost, and forget accuracy by subset; `by_seed` has the
        objective of each seed. The provenance counts the steps run and the cache hits over all
        seeds, without idle steps.
        """
        cost = relative_cost(self.plan, self.recipe, len(context.bundle.train))
        failed: dict[str, Any] = {
            "objective": INFEASIBLE,
            "tow": None,
            "gap": None,
            "cost": cost,
            "subsets": {},
            "by_seed": [],
        }
        tally = Counter(steps_run=0, cache_hits=0)
        if cost > self.max_cost:
            return Artifact(value={"status": "infeasible", **failed}, provenance=tally)
        reference = self.reference.load(context)
        try:
            evaluations = [self._evaluate(o, context, runtime, tally) for o in self.originals]
        except DivergedError:
            return Artifact(value={"status": "diverged", **failed}, provenance=tally)
        judged = [judge(evaluation, reference, self.attack) for evaluation in evaluations]
        names = self.reference.partition.names
        value = {
            "status": "complete",
            "objective": float(np.mean([j.objective for j in judged])),
            "tow": float(np.mean([j.tow for j in judged])),
            "gap": float(np.mean([j.gap for j in judged])),
            "cost": cost,
            "subsets": {n: float(np.mean([e.subsets[n] for e in evaluations])) for n in names},
            "by_seed": [j.objective for j in judged],
        }
        return Artifact(value=value, provenance=tally)

    def _evaluate(
        self, original: TrainModel, context: Context, runtime: StoredRuntime, tally: Counter[str]
    ) -> Evaluation:
        """Run the plan on one original and return the evaluation."""
        plan, train = self.plan, context.bundle.train
        cached = min(self.shared, len(plan.steps) - 1)
        prefix = PlanPrefix(original, plan, cached)
        model, first = prefix.take(context, tally), context.cached_model(original)
        own = dataclasses.replace(runtime, seed=prefix.seed)
        for index in range(cached, len(plan.steps)):
            tally["steps_run"] += not plan.steps[index].idle
            model = take_step(plan, index, model, first, train, own, self.recipe)
        partition, members = self.reference.partition, self.reference.members
        evaluation = evaluate(model, context.bundle, partition, "valid", members=members)
        _check_utility(evaluation)
        return evaluation


def _check_utility(evaluation: Evaluation) -> None:
    """Raise DivergedError if retain accuracy is at most the share of the most frequent class."""
    labels, accuracy = evaluation.labels["retain"], evaluation.accuracies.retain
    share = (np.bincount(labels) / len(labels)).max()
    if accuracy <= share:
        raise DivergedError(
            f"the retain accuracy of the unlearned model is {accuracy:.3f}; always predicting the "
            f"most frequent class reaches {share:.3f}."
        )
