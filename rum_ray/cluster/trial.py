"""A trial of Ray Tune: it hands a plan to the queue and waits; its process imports no PyTorch."""

from typing import Any

import ray
from ray import tune


class HandedOver(tune.Trainable):
    """An actor that waits for the results of one proposal after another."""

    def setup(self, config: dict[str, Any], queue: Any, name: str) -> None:  # type: ignore[override]
        """Keep the actor of the queue and a name; Tune gives them by `with_parameters`."""
        del config
        self._queue, self._name = queue, name

    def __repr__(self) -> str:
        """Return the name, which the dashboard shows."""
        return self._name

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Return True: this process takes another proposal."""
        del new_config
        return True

    def step(self) -> dict[str, Any]:
        """Return objective and cost of the answers in `self.config`; a trial has one step."""
        result, error = ray.get(self._queue.compute.remote("EvaluatePlan", dict(self.config)))
        if result is None:
            return {"objective": float("-inf"), "error": str(error), "done": True}
        return {**result, "done": True}
