"""One trial of a search: the job that judges a plan."""

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
        plan: the proposal.
        originals: one a search seed.
        reference: what the unlearned models should be like.
        attack: "auc" or "svm".
        max_cost: a plan that costs more is not run.
        shared: how many of the plan's first steps may be those of other plans, too; what they make
            is kept. It changes no result, so it is no part of the key.
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
        """The first original's; each plan is run under the seed of its own original."""
        return self.originals[0].seed

    def key(self, context: Context) -> Key:
        """Return the key of the trial."""
        return Key(
            "trial",
            {"job": self, "valid": context.eval_fingerprint("valid"), **context.train_fingerprint},
        )

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return, as value: status, objective, tow, gap, cost, and forget accuracy by subset.

        All are means over the seeds, whose objectives are `by_seed`.

        Its provenance has the steps that were run, and those that had been run for other plans,
        over all seeds; idle ones are not counted.
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
            found = [self._unlearned(o, context, runtime, tally) for o in self.originals]
        except DivergedError:
            return Artifact(value={"status": "diverged", **failed}, provenance=tally)
        judged = [judge(evaluation, reference, self.attack) for evaluation in found]
        names = self.reference.partition.names
        value = {
            "status": "complete",
            "objective": float(np.mean([j.objective for j in judged])),
            "tow": float(np.mean([j.tow for j in judged])),
            "gap": float(np.mean([j.gap for j in judged])),
            "cost": cost,
            "subsets": {n: float(np.mean([e.subsets[n] for e in found])) for n in names},
            "by_seed": [j.objective for j in judged],
        }
        return Artifact(value=value, provenance=tally)

    def _unlearned(
        self, original: TrainModel, context: Context, runtime: StoredRuntime, tally: Counter[str]
    ) -> Evaluation:
        """Return the evaluation of one search seed's model after the plan."""
        plan, train = self.plan, context.bundle.train
        kept = min(self.shared, len(plan.steps) - 1)
        prefix = PlanPrefix(original, plan, kept)
        model, first = prefix.take(context, tally), context.cached_model(original)
        own = dataclasses.replace(runtime, seed=prefix.seed)
        for index in range(kept, len(plan.steps)):
            tally["steps_run"] += not plan.steps[index].idle
            model = take_step(plan, index, model, first, train, own, self.recipe)
        partition, members = self.reference.partition, self.reference.members
        found = evaluate(model, context.bundle, partition, "valid", members=members)
        _check_learned(found)
        return found


def _check_learned(found: Evaluation) -> None:
    """Raise DivergedError if a model knows no more of the retain set than its commonest class."""
    shares = np.bincount(found.labels["retain"]) / len(found.labels["retain"])
    if found.accuracies.retain <= shares.max():
        raise DivergedError(
            f"the unlearned model is right about {found.accuracies.retain:.3f} of the retain set; "
            f"to name its commonest class always would be about {shares.max():.3f}."
        )
