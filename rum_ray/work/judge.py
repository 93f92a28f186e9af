"""Jobs that judge a plan: for the report, and as one trial of a search."""

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from rum_ray.data.bundle import complement
from rum_ray.errors import DivergedError
from rum_ray.evaluation.sets import Members, Split, label_sets, subset_places
from rum_ray.evaluation.tow import Accuracies, Evaluation, evaluate
from rum_ray.experiment import to_plain
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Partition, Plan, take_step, unlearn
from rum_ray.search.objective import INFEASIBLE, Reference, judge
from rum_ray.search.spaces import whole
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.prediction import predict
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning.finetune import FineTune
from rum_ray.work.base import Context
from rum_ray.work.prefix import UnlearnedPrefix
from rum_ray.work.train import TrainModel, load_model, weights


@dataclass(frozen=True, eq=False)
class Evaluate:
    """Evaluate a trained model, unlearned by a plan first if there is one.

    Attributes:
        model: the original, or a retrained model.
        partition: the forget set and its subsets, for which accuracies are reported.
        seed: of the plan's draws.
        split: what stands for the data that was never learned.
        plan: what is done to the model; None evaluates it as it is.
        keep: whether the unlearned weights are kept.
        members: which of the retain set the SVM attack learns from.
        relearn: what tries afterwards to get the forget set back from the retain set alone.
    """

    model: TrainModel
    partition: Partition
    seed: Seed
    split: Split = "test"
    plan: Plan | None = None
    keep: bool = False
    members: Members = "random"
    relearn: FineTune | None = None

    @property
    def recipe(self) -> Recipe:
        """The model's recipe."""
        return self.model.recipe

    def key(self, context: Context) -> Key:
        """Return the key of the evaluation."""
        unseen = context.unseen(self.split)
        return Key("evaluation", {"job": self, "unseen": unseen, **context.learned})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the evaluation, with the unlearned weights if they are to be kept."""
        train = context.bundle.train
        model = self.model.load(context)
        cost = float(self.model.forget is not None)
        provenance = {}
        if self.plan is not None:
            start = time.monotonic()
            model = unlearn(model, self.plan, train, runtime, self.recipe)
            provenance = {"seconds": time.monotonic() - start}
            cost = relative_cost(self.plan, self.recipe, len(train))
        result = evaluate(
            model, context.bundle, self.partition, self.split, cost, members=self.members
        )
        arrays = {f"probabilities/{name}": p for name, p in result.probabilities.items()}
        value = {
            "accuracies": to_plain(result.accuracies),
            "subsets": result.subsets,
            "mia": result.mia,
            "auc": result.auc,
            "relearned": self._relearned(model, context, runtime),
            "cost": result.cost,
        }
        return Artifact({**arrays, **(weights(model) if self.keep else {})}, value, provenance)

    def _relearned(
        self, model: nn.Module, context: Context, runtime: StoredRuntime
    ) -> float | None:
        """Return the forget accuracy after learning again from the retain set alone.

        Unlearned models can get it back so, retrained ones cannot (https://arxiv.org/abs/2505.22310).
        """
        if self.relearn is None:
            return None
        train = context.bundle.train
        plan = Plan.assign(whole(self.partition), {"all": self.relearn})
        again = unlearn(model, plan, train, runtime / "relearn", self.recipe)
        forget = train.take(self.partition.rows)
        return float((predict(again, forget).argmax(axis=1) == forget.y.numpy()).mean())

    def load(self, context: Context) -> Evaluation:
        """Return a finished evaluation, with the seconds that making the model took."""
        artifact = context.load(self)
        value = artifact.value
        timed = self if self.plan is not None else self.model
        idle = self.plan is None and self.model.forget is None
        seconds = context.store.provenance(timed.key(context)).get("seconds")
        return Evaluation(
            accuracies=Accuracies(**value["accuracies"]),
            subsets=value["subsets"],
            mia=value["mia"],
            auc=value["auc"],
            probabilities={
                name: artifact.arrays[f"probabilities/{name}"]
                for name in ("forget", "retain", "test")
            },
            labels=label_sets(context.bundle, self.partition, self.split),
            places=subset_places(self.partition),
            relearned=value["relearned"],
            cost=value["cost"],
            seconds=0.0 if idle else seconds,
        )


@dataclass(frozen=True, eq=False)
class UnlearnedModel:
    """The model that an evaluation has unlearned and kept.

    Attributes:
        made: with `keep`.
    """

    made: Evaluate

    @property
    def recipe(self) -> Recipe:
        """The original's recipe."""
        return self.made.recipe

    def load(self, context: Context) -> nn.Module:
        """Return the model; the evaluation must be finished."""
        return load_model(self.recipe, context, context.load(self.made))


@dataclass(frozen=True, eq=False)
class TryPlan:
    """One trial of a search: judge a plan on validation data and search seeds.

    Attributes:
        plan: the proposal.
        originals: one a search seed.
        references: retrained models, evaluated on validation data.
        attack: "auc" or "svm".
        max_cost: a plan that costs more is not run.
        shared: how many of the plan's first steps may be those of other plans, too; what they make
            is kept. It changes no result, so it is no part of the key.
    """

    plan: Plan
    originals: tuple[TrainModel, ...]
    references: tuple[Evaluate, ...]
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
        return Key("trial", {"job": self, "valid": context.unseen("valid"), **context.learned})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return, as value: status, objective, tow, gap, cost, and each seed's objective.

        Its provenance has the steps that were run, and those that had been run for other plans,
        over all seeds; idle ones are not counted.
        """
        cost = relative_cost(self.plan, self.recipe, len(context.bundle.train))
        failed: dict[str, Any] = {
            "objective": INFEASIBLE,
            "tow": None,
            "gap": None,
            "cost": cost,
            "by_seed": [],
        }
        tally = Counter(steps_run=0, cache_hits=0)
        if cost > self.max_cost:
            return Artifact(value={"status": "infeasible", **failed}, provenance=tally)
        reference = Reference.of([r.load(context) for r in self.references])
        try:
            judged = [
                judge(self._unlearned(original, context, runtime, tally), reference, self.attack)
                for original in self.originals
            ]
        except DivergedError:
            return Artifact(value={"status": "diverged", **failed}, provenance=tally)
        value = {
            "status": "complete",
            "objective": float(np.mean([j.objective for j in judged])),
            "tow": float(np.mean([j.tow for j in judged])),
            "gap": float(np.mean([j.gap for j in judged])),
            "cost": cost,
            "by_seed": [j.objective for j in judged],
        }
        return Artifact(value=value, provenance=tally)

    def _unlearned(
        self, original: TrainModel, context: Context, runtime: StoredRuntime, tally: Counter[str]
    ) -> Evaluation:
        """Return the evaluation of one search seed's model after the plan."""
        plan, train = self.plan, context.bundle.train
        kept = min(self.shared, len(plan.steps) - 1)
        prefix = UnlearnedPrefix(original, plan, kept)
        model, first = prefix.take(context, tally), context.held(original)
        own = dataclasses.replace(runtime, seed=prefix.seed)
        for index in range(kept, len(plan.steps)):
            tally["steps_run"] += not plan.steps[index].idle
            model = take_step(plan, index, model, first, train, own, self.recipe)
        reference = self.references[0]
        return evaluate(
            model, context.bundle, reference.partition, "valid", members=reference.members
        )


def relative_cost(plan: Plan, recipe: Recipe, total: int) -> float:
    """Return a plan's cost as a share of retraining without its forget set."""
    retained = len(complement(plan.partition.rows, total))
    return plan.cost(total) / (recipe.epochs * retained)
