"""Prefixes: what the first steps of a plan make of an original, kept while plans are searched.

Plans that begin alike share what their beginnings make.
"""

from collections import Counter
from dataclasses import dataclass

from torch import nn

from rum_ray.errors import DivergedError
from rum_ray.jobs.context import Context
from rum_ray.jobs.train import TrainModel, load_model, weights
from rum_ray.resume import StoredRuntime
from rum_ray.rum import Plan, take_step
from rum_ray.seeding import Seed
from rum_ray.store import Artifact, Key
from rum_ray.training.recipe import Recipe

PREFIX = "prefix"


@dataclass(frozen=True, eq=False)
class PlanPrefix:
    """An original after the first steps of a plan.

    Attributes:
        original: the model before the first step.
        plan: the whole plan.
        steps: how many of its steps are taken.
    """

    original: TrainModel
    plan: Plan
    steps: int

    @property
    def recipe(self) -> Recipe:
        """The original's recipe."""
        return self.original.recipe

    @property
    def seed(self) -> Seed:
        """The root of the plan's draws."""
        return self.original.seed / "plan"

    def key(self, context: Context) -> Key:
        """Return the key of the model.

        It has what each step that is not idle sees: what is forgotten, what is retained, and the
        step's place, which its draws depend on. Of the later plan, nothing else matters.
        """
        total = len(context.bundle.train)
        steps = [
            {
                "place": index,
                "forget": step.subset.rows,
                "retain": self.plan.retain_rows(index, total),
                "unlearner": step.unlearner,
            }
            for index, step in enumerate(self.plan.steps[: self.steps])
            if not step.idle
        ]
        return Key(PREFIX, {"original": self.original, "steps": steps, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the weights, or as value why there are none: a step diverged."""
        tally: Counter[str] = Counter()
        try:
            before = self._before.take(context, tally)
            tally["steps_run"] += 1
            original, train = context.cached_model(self.original), context.bundle.train
            last = self.steps - 1
            model = take_step(self.plan, last, before, original, train, runtime, self.recipe)
        except DivergedError as error:
            return Artifact(value=str(error), provenance=tally)
        return Artifact(weights(model), provenance=tally)

    def take(self, context: Context, tally: Counter[str]) -> nn.Module:
        """Return the model, from the store or made; of many who want it at once, one makes it.

        Who makes it holds its lock and asks for shorter prefixes only, so nobody waits in a circle.

        Args:
            context: the data, the store and the device.
            tally: counts "steps_run", now, and "cache_hits": steps that had been run before.

        Raises:
            DivergedError: a step did not end in finite weights, now or when it was first run.
        """
        if not self.steps:
            return context.cached_model(self.original)
        if self.plan.steps[self.steps - 1].idle:
            return self._before.take(context, tally)
        made = context.get_or_compute_locked(self)
        found = sum(not step.idle for step in self.plan.steps[: self.steps])
        tally.update(made.provenance or {"cache_hits": found})
        if made.value is not None:
            raise DivergedError(made.value)
        return load_model(self.recipe, context, made)

    @property
    def _before(self) -> "PlanPrefix":
        """The same without the last step."""
        return PlanPrefix(self.original, self.plan, self.steps - 1)
