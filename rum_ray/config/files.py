"""Experiment files and plan files: read and write YAML, apply `--set`."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rum_ray.config.strict_yaml import parse_value, read
from rum_ray.config.values import build, short_repr
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment, to_plain
from rum_ray.refinement import ByScore
from rum_ray.rum import Plan
from rum_ray.search.auto import SUBSETS, auto_plan
from rum_ray.unlearning import Retrain, Unlearner

AUTO = "auto"
"""The value of `plan` that stands for a plan without a search."""
UNCHOSEN: Mapping[str, Any] = {
    "forget": {"size": 1, "pick": "random"},
    "score": {"name": "auto"},
    "plan": AUTO,
}
"""Keys of a file for commands on requests, if the file lacks them; no forget set is chosen."""


def load(
    path: str | Path, overrides: Sequence[str] = (), defaults: Mapping[str, Any] | None = None
) -> Experiment:
    """Return the experiment of a YAML file.

    Args:
        path: the experiment file.
        overrides: "key=value" with a dotted key and a YAML value; they replace values of the file.
        defaults: top-level keys that the file may lack, or leave null.

    Raises:
        ConfigError: the file, a key or a value is invalid; the message states the place.
    """
    given = {key: value for key, value in read(path).items() if value is not None}
    return parse({**(defaults or {}), **given}, overrides)


def dump(experiment: Experiment) -> str:
    """Return the experiment as YAML; `load` of this text returns an equal experiment."""
    return yaml.safe_dump(to_plain(experiment), sort_keys=False, width=100)


def dump_plan(plan: Plan) -> str:
    """Return a plan as the keys `plan` and `order` of an experiment file."""
    steps = {step.subset.name: to_plain(step.unlearner) for step in plan.steps}
    return yaml.safe_dump({"plan": steps, "order": list(steps)}, sort_keys=False, width=100)


@dataclass(frozen=True)
class PlanFile:
    """The keys of an experiment file that `dump_plan` writes.

    Attributes:
        plan: unlearner per subset.
        order: names of the subsets in the order of unlearning; the order of the partition by
            default.
    """

    plan: Mapping[str, Unlearner]
    order: tuple[str, ...] | None = None


def load_plan(path: str | Path) -> PlanFile:
    """Return the plan of a YAML file written by `dump_plan`.

    Raises:
        ConfigError: the file, a key or a value is invalid; the message states the place.
    """
    return _plan_file(read(path, "plan"), path)


def _plan_file(tree: Any, path: str | Path) -> PlanFile:
    """Build a plan from the plain values of a plan file."""
    try:
        plan: PlanFile = build(PlanFile, tree, "")
    except ConfigError as error:
        raise ConfigError(f"plan {path}: {error}") from error
    return plan


def parse(tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a tree of plain values, after the overrides."""
    changed = dict(tree)
    for override in overrides:
        _override(changed, override)
    is_auto = changed.get("plan") == AUTO
    if is_auto:
        del changed["plan"]
    elif isinstance(changed.get("plan"), str):
        changed |= _read_plan(changed["plan"], changed.get("order"))
    experiment: Experiment = build(Experiment, changed, "")
    return _with_recipe(_with_auto(experiment) if is_auto else experiment)


def _with_auto(experiment: Experiment) -> Experiment:
    """Return the experiment with the plan `auto`, for its recipe."""
    into = getattr(experiment.refine, "into", ())
    if not isinstance(experiment.refine, ByScore) or {*into} != {*SUBSETS}:
        got = f"{type(experiment.refine).__name__} into {', '.join(into) or 'others'}"
        raise ConfigError(
            f"plan: auto is for the subsets {', '.join(SUBSETS)} by score, but refine is {got}. "
            "Remove the key 'refine', or give a plan for its subsets."
        )
    if experiment.order is not None:
        raise ConfigError(
            f"order: plan: auto has an order of its own, got {', '.join(experiment.order)}. Remove "
            "the key 'order'."
        )
    plan = auto_plan(experiment.recipe)
    return dataclasses.replace(experiment, plan=plan, order=tuple(plan))


def _read_plan(path: str, order: Any) -> dict[str, Any]:
    """Return the keys `plan` and `order` of a plan file; its order must equal a given order."""
    tree = dict(read(path, "plan"))
    _plan_file(tree, path)
    if order is not None and tree.get("order", order) != order:
        raise ConfigError(
            f"plan: {path} has order {tree['order']}, but the key 'order' is {order}. Remove one."
        )
    return tree


def _with_recipe(experiment: Experiment) -> Experiment:
    """Set the recipe of each `retrain` without one to the recipe of the experiment."""

    def complete(unlearner: Unlearner) -> Unlearner:
        if isinstance(unlearner, Retrain) and unlearner.recipe is None:
            return Retrain(recipe=dataclasses.replace(experiment.recipe, weights=None))
        return unlearner

    plan = experiment.plan
    return dataclasses.replace(
        experiment,
        plan=None if plan is None else {name: complete(step) for name, step in plan.items()},
        compare=tuple(complete(unlearner) for unlearner in experiment.compare),
    )


def _override(tree: dict[str, Any], override: str) -> None:
    """Apply one "key=value" to a tree; inner mappings are copied, not changed."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected key=value, such as recipe.epochs=10.")
    value = parse_value(text, f"--set {override}: the value")
    *parents, last = key.split(".")
    for name in parents:
        inner = tree.get(name)
        inner = {"name": inner} if isinstance(inner, str) else {} if inner is None else inner
        if not isinstance(inner, Mapping):
            got = short_repr(inner)
            raise ConfigError(f"--set {override}: '{name}' must be a mapping, got {got}.")
        tree[name] = inner = dict(inner)
        tree = inner
    tree[last] = value
