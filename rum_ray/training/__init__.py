"""How one model is trained."""

from rum_ray.training.recipe import Observe, Probe, Recipe
from rum_ray.training.runtime import LocalRuntime, Runtime, Stateful

__all__ = ["LocalRuntime", "Observe", "Probe", "Recipe", "Runtime", "Stateful"]
