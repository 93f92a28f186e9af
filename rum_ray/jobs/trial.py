"""The job of one unit of a search: it judges a plan on one seed."""

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from rum_ray.errors import DivergedError
from rum_ray.evaluation.tow import Evaluation, evaluate
from rum_ray.jobs.context import Context
from rum_ray.jobs.prefix import PlanPrefix
from rum_ray.jobs.reference import PoolReference, RetrainedReference
from rum_ray.jobs.train import TrainModel
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Plan, take_step
from rum_ray.search.objective import judge
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class EvaluatePlan:
    """One unit of a search: judge a plan on validation data and one seed.

    The result has every metric that a search may maximise, so searches share it.

    Attributes:
        plan: the proposed plan.
        original: the model that it runs on, of a search seed or a fresh seed.
        reference: the target of the unlearned model.
        shared: number of first steps that other plans can share; the models after them are cached.
            It affects no result, so it is not part of the key.
    """

    key_name: ClassVar[str] = "TryPlan"

    plan: Plan
    original: TrainModel
    reference: RetrainedReference | PoolReference
    shared: int = field(default=0, compare=False)

    @property
    def recipe(self) -> Recipe:
        """The original's recipe."""
        return self.original.recipe

    @property
    def seed(self) -> Seed:
        """The seed of the original."""
        return self.original.seed

    def key(self, context: Context) -> Key:
        """Return the key of the unit."""
        valid = context.eval_fingerprint("valid")
        return Key("trial", {"job": self, "valid": valid, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return, as value, the status, the metrics, and forget accuracy by subset.

        Without metrics if the plan diverged. The provenance counts the steps run and the cache
        hits, without idle steps.
        """
        tally = Counter(steps_run=0, cache_hits=0)
        reference = self.reference.load(context)
        try:
            evaluation = self._evaluate(context, runtime, tally)
        except DivergedError:
            return Artifact(value={"status": "diverged"}, provenance=tally)
        judged = judge(evaluation, reference).plain()
        value = {"status": "complete", **judged, "subsets": evaluation.subsets}
        return Artifact(value=value, provenance=tally)

    def _evaluate(
        self, context: Context, runtime: StoredRuntime, tally: Counter[str]
    ) -> Evaluation:
        """Run the plan on the original and return the evaluation."""
        plan, train = self.plan, context.bundle.train
        cached = min(self.shared, len(plan.steps) - 1)
        prefix = PlanPrefix(self.original, plan, cached)
        model, first = prefix.take(context, tally), context.cached_model(self.original)
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
