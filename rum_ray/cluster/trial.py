"""A trial of Ray Tune: it waits for the result of a unit; its process imports no PyTorch."""

from typing import Any

import ray
from ray import tune


class HandedOver(tune.Trainable):
    """An actor that waits for the results of units in the queue, one after another."""

    def setup(self, config: dict[str, Any], queue: Any, name: str) -> None:  # type: ignore[override]
        """Keep the actor of the queue and a name; Tune gives them by `with_parameters`."""
        del config
        self._queue, self._name = queue, name

    def __repr__(self) -> str:
        """Return the name, which the dashboard shows."""
        return self._name

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Return True: this process waits for another unit."""
        del new_config
        return True

    def step(self) -> dict[str, Any]:
        """Return J, cost and rung of the unit in `self.config`; a trial has one step."""
        result, error = ray.get(self._queue.result.remote(self.config["job"]))
        if result is None:
            return {"objective": float("-inf"), "error": str(error), "done": True}
        return {**result, "done": True}
