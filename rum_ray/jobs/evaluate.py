"""The job that evaluates a model; with a plan, it unlearns first."""

import time
from dataclasses import dataclass

from torch import nn

from rum_ray.evaluation.sets import Members, Split, label_sets, subset_places
from rum_ray.evaluation.tow import Accuracies, Evaluation, evaluate
from rum_ray.experiment import to_plain
from rum_ray.jobs.context import Context
from rum_ray.jobs.train import TrainModel, load_model, weights
from rum_ray.partition import Partition, whole
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Plan, unlearn
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.prediction import predict
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning.base import FORWARD_ONLY
from rum_ray.unlearning.finetune import FineTune


@dataclass(frozen=True, eq=False)
class Evaluate:
    """Evaluate a trained model; with a plan, run the plan on it first.

    Attributes:
        model: the original, or a retrained model.
        partition: the forget set and its subsets, for which accuracies are reported.
        seed: the root of the plan's random draws.
        split: the held-out data, "valid" or "test".
        plan: the steps to run on the model; None evaluates it unchanged.
        keep: True saves the unlearned weights.
        members: the part of the retain set that the SVM attack is trained on.
        relearn: fine-tuning on the retain set that follows, for the relearning test.
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
        data = context.eval_fingerprint(self.split)
        return Key("evaluation", {"job": self, "unseen": data, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the evaluation; with `keep`, the unlearned weights too."""
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
        """Return the forget accuracy after fine-tuning on the retain set.

        It can return in unlearned models, not in retrained ones (https://arxiv.org/abs/2505.22310).
        """
        if self.relearn is None:
            return None
        train = context.bundle.train
        plan = Plan.assign(whole(self.partition), {"all": self.relearn})
        again = unlearn(model, plan, train, runtime / "relearn", self.recipe)
        forget = train.take(self.partition.rows)
        return float((predict(again, forget).argmax(axis=1) == forget.y.numpy()).mean())

    def load(self, context: Context) -> Evaluation:
        """Return the finished evaluation, with the seconds that training or unlearning took."""
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
    """The unlearned model of a finished evaluation.

    Attributes:
        made: the evaluation; its `keep` is True.
    """

    made: Evaluate

    @property
    def recipe(self) -> Recipe:
        """The original's recipe."""
        return self.made.recipe

    def load(self, context: Context) -> nn.Module:
        """Return the model; the evaluation must be finished."""
        return load_model(self.recipe, context, context.load(self.made))


def relative_cost(plan: Plan, recipe: Recipe, total: int) -> float:
    """Return the cost of a plan as a share of retraining without its forget set."""
    return plan.cost(total) / retraining_cost(recipe, len(plan.partition.rows), total)


def retraining_cost(recipe: Recipe, forget: int, total: int) -> float:
    """Return the cost of retraining on `total - forget` examples, in the unit of `Plan.cost`."""
    return float(recipe.epochs * (total - forget))


def evaluation_cost(recipe: Recipe, forget: int, total: int, unseen: int) -> float:
    """Return the cost of an evaluation on D and `unseen` other examples, in trainings."""
    return FORWARD_ONLY * (total + unseen) / retraining_cost(recipe, forget, total)
