"""A trial of Ray Tune: it hands a plan to the queue and waits; its process imports no PyTorch."""

from typing import Any

import ray
from ray import tune


class HandedOver(tune.Trainable):
    """An actor that waits for the results of one proposal after another."""

    def setup(self, config: dict[str, Any], queue: Any) -> None:  # type: ignore[override]
        """Keep the actor of the queue; Tune gives it by `with_parameters`."""
        del config
        self._queue = queue

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Return True: this process takes another proposal."""
        del new_config
        return True

    def step(self) -> dict[str, Any]:
        """Return J, cost and rung of the unit in `self.config`; a trial has one step."""
        result, error = ray.get(self._queue.compute.remote("EvaluatePlan", dict(self.config)))
        if result is None:
            return {"objective": float("-inf"), "error": str(error), "done": True}
        return {**result, "done": True}
