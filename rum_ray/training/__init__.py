"""Training of one model: the recipe, and the runtime it runs in."""

from rum_ray.training.recipe import Observe, Probe, Recipe
from rum_ray.training.runtime import LocalRuntime, Runtime, Stateful

__all__ = ["LocalRuntime", "Observe", "Probe", "Recipe", "Runtime", "Stateful"]
