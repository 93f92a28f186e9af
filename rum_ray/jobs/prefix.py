"""A cache of plan prefixes: models after the first steps of a plan, kept during a search.

Plans that begin with the same steps share these models.
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
        steps: number of steps that have run.
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
        """The root of the plan's random draws."""
        return self.original.seed / "plan"

    def key(self, context: Context) -> Key:
        """Return the key of the model.

        For each step that is not idle, the key has the forget rows, the retain rows, and the place
        of the step, which determines its random draws. Nothing else of the plan matters.
        """
        total = len(context.bundle.train)
        steps = [
            {
                "place": index,
                "forget": step.subset.rows,
                "retain": self.plan.retain_rows(index, total),
                "unlearner": step.unlearner,
                **({} if step.subset.shift is None else {"shift": step.subset.shift}),
            }
            for index, step in enumerate(self.plan.steps[: self.steps])
            if not step.idle
        ]
        return Key(PREFIX, {"original": self.original, "steps": steps, **context.train_fingerprint})

    def run(self, context: Context, runtime: StoredRuntime) -> Artifact:
        """Return the weights; if a step diverged, the message of the error as value."""
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
        """Load or compute the model; concurrent callers wait for the first.

        The first caller holds the lock of the prefix and waits only for shorter prefixes, so there
        is no deadlock.

        Args:
            context: the data, the store and the device.
            tally: counts "steps_run" in this call, and "cache_hits": steps that ran earlier.

        Raises:
            DivergedError: a step did not end in finite weights, in this call or an earlier one.
        """
        if not self.steps:
            return context.cached_model(self.original)
        if self.plan.steps[self.steps - 1].idle:
            return self._before.take(context, tally)
        artifact = context.get_or_compute_locked(self)
        active = sum(not step.idle for step in self.plan.steps[: self.steps])
        tally.update(artifact.provenance or {"cache_hits": active})
        if artifact.value is not None:
            raise DivergedError(artifact.value)
        return load_model(self.recipe, context, artifact)

    @property
    def _before(self) -> "PlanPrefix":
        """The prefix without the last step."""
        return PlanPrefix(self.original, self.plan, self.steps - 1)
