"""Jobs on trained leave-k-out models: their logits, and shadow unlearned models."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rum_ray.data.bundle import Indices, LabeledData
from rum_ray.evaluation.mia import margin
from rum_ray.jobs.context import Context
from rum_ray.jobs.train import TrainPoolModel, pool_bits
from rum_ray.partition import Subset
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Plan, Step, unlearn
from rum_ray.scores.memorization import included_rows
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.prediction import predict
from rum_ray.training.recipe import Recipe


@dataclass(frozen=True, eq=False)
class PoolLogits:
    """Compute logit p_y of D, and of examples held out of it, under a leave-k-out model.

    Attributes:
        model: a model whose weights are saved.
    """

    model: TrainPoolModel

    @property
    def recipe(self) -> Recipe:
        """The model's recipe."""
        return self.model.recipe

    @property
    def seed(self) -> Seed:
        """The seed of the model; nothing is drawn."""
        return self.model.seed

    def key(self, context: Context) -> Key:
        """Return the key of the logits."""
        test = context.eval_fingerprint("test")
        return Key("pool_logits", {"job": self, "test": test, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return logit p_y, float32: "train" [N] of D, "unseen" of the non-members of T."""
        model, bundle = self.model.load(context), context.bundle
        sets: dict[str, LabeledData] = {
            "train": bundle.train,
            "unseen": bundle.nonmembers("test"),
        }
        return Artifact({name: _logits(predict(model, x), x) for name, x in sets.items()})


def pool_logits(
    context: Context, jobs: Sequence[PoolLogits], rows: Indices
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Return logits and inclusion of rows of D, each [M, N], and logits of non-members [M, T]."""
    included, _ = pool_bits(context, [job.model for job in jobs], rows).arrays()
    train: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(jobs)
    unseen = train.copy()
    for number, record in context.load_each(jobs):
        train[number], unseen[number] = record.arrays["train"][rows], record.arrays["unseen"]
    return np.stack(train).astype(np.float64), included, np.stack(unseen).astype(np.float64)


@dataclass(frozen=True, eq=False)
class UnlearnShadow:
    """Run a plan on a leave-k-out model instead of the original: a shadow unlearned model.

    The model forgets those examples of the plan's subsets on which it was trained. A step without
    such examples is skipped.

    Attributes:
        model: trained on a random share of D; its weights are saved.
        plan: its subsets are rows of D.
    """

    model: TrainPoolModel
    plan: Plan

    @property
    def recipe(self) -> Recipe:
        """The model's recipe."""
        return self.model.recipe

    @property
    def seed(self) -> Seed:
        """The root of the plan's random draws."""
        return self.model.seed / "shadow"

    def key(self, context: Context) -> Key:
        """Return the key of the logits."""
        return Key("shadow", {"job": self, **context.train_fingerprint})

    def learned(self, total: int) -> Indices:
        """Return the rows of D that the model was trained on."""
        return included_rows(total, self.model.fraction, self.model.seed)

    def cost(self, total: int) -> float:
        """Return the cost of the plan on this model, in trainings on all of D."""
        learned = self.learned(total)
        plan = within(self.plan, learned)
        return 0.0 if plan is None else plan.cost(len(learned)) / (self.recipe.epochs * total)

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return logit p_y, float32, of the whole forget set [N_F] after the plan."""
        train, model = context.bundle.train, self.model.load(context)
        learned = self.learned(len(train))
        plan = within(self.plan, learned)
        if plan is not None:
            model = unlearn(model, plan, train.take(learned), runtime, self.recipe)
        forget = train.take(self.plan.partition.rows)
        return Artifact({"forget": _logits(predict(model, forget), forget)})


def within(plan: Plan, rows: Indices) -> Plan | None:
    """Return the plan for a training set of these rows; None if no subset has any of them."""
    steps = []
    for step in plan.steps:
        kept = np.isin(step.subset.rows, rows, assume_unique=True)
        places = np.searchsorted(rows, step.subset.rows[kept])
        if len(places):
            steps.append(Step(Subset(step.subset.name, places), step.unlearner))
    return Plan(tuple(steps), plan.retain) if steps else None


def shadow_logits(
    context: Context, jobs: Sequence[UnlearnShadow]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return logits, and True where the model learned and forgot the example, each [M, N_F]."""
    total = len(context.bundle.train)
    logits = np.stack([context.load(job).arrays["forget"] for job in jobs]).astype(np.float64)
    rows = jobs[0].plan.partition.rows
    forgotten = np.stack([np.isin(rows, job.learned(total)) for job in jobs])
    return logits, forgotten


def _logits(probabilities: NDArray[np.float64], data: LabeledData) -> NDArray[np.float32]:
    """Return logit p_y [N] in the precision of the store."""
    return margin(probabilities, data.y.numpy()).astype(np.float32)
