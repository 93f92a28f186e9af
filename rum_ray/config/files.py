"""Experiment files and plans: YAML in and out, with `--set` on top."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rum_ray.config.strict_yaml import parse_value, read
from rum_ray.config.values import build, shown
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment, to_plain
from rum_ray.rum import Plan
from rum_ray.unlearning import Retrain, Unlearner


def load(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a YAML file.

    Args:
        path: the file.
        overrides: "key=value" with a dotted key and a YAML value, applied on top.

    Raises:
        ConfigError: the file, a key or a value is wrong; the message says where.
    """
    return parse(read(path), overrides)


def dump(experiment: Experiment) -> str:
    """Return the experiment as YAML; `load` of it gives an equal experiment."""
    return yaml.safe_dump(to_plain(experiment), sort_keys=False, width=100)


def dump_plan(plan: Plan) -> str:
    """Return a plan as the keys `plan` and `order` of an experiment file."""
    steps = {step.subset.name: to_plain(step.unlearner) for step in plan.steps}
    return yaml.safe_dump({"plan": steps, "order": list(steps)}, sort_keys=False, width=100)


@dataclass(frozen=True)
class PlanFile:
    """The part of an experiment file that `dump_plan` writes.

    Attributes:
        plan: an unlearner for each subset.
        order: the subsets' names in the order of unlearning; the partition's by default.
    """

    plan: Mapping[str, Unlearner]
    order: tuple[str, ...] | None = None


def load_plan(path: str | Path) -> PlanFile:
    """Return the plan of a YAML file, as `dump_plan` writes it.

    Raises:
        ConfigError: the file, a key or a value is wrong; the message says where.
    """
    return _plan_file(read(path, "plan"), path)


def _plan_file(tree: Any, path: str | Path) -> PlanFile:
    """Return the plan that a file's tree describes."""
    try:
        plan: PlanFile = build(PlanFile, tree, "")
    except ConfigError as error:
        raise ConfigError(f"plan {path}: {error}") from error
    return plan


def parse(tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a tree of plain values, with overrides on top."""
    changed = dict(tree)
    for override in overrides:
        _override(changed, override)
    if isinstance(changed.get("plan"), str):
        changed |= _plan_of(changed["plan"], changed.get("order"))
    experiment: Experiment = build(Experiment, changed, "")
    return _with_recipe(experiment)


def _plan_of(path: str, order: Any) -> dict[str, Any]:
    """Return the keys that a plan's file has in place of its name: the plan, and its order."""
    found = dict(read(path, "plan"))
    _plan_file(found, path)
    if order is not None and found.get("order", order) != order:
        raise ConfigError(f"plan: {path} has order {found['order']}, and key 'order' is {order}.")
    return found


def _with_recipe(experiment: Experiment) -> Experiment:
    """Return the experiment with its recipe in each `retrain` that has none."""

    def known(unlearner: Unlearner) -> Unlearner:
        if isinstance(unlearner, Retrain) and unlearner.recipe is None:
            return Retrain(recipe=dataclasses.replace(experiment.recipe, weights=None))
        return unlearner

    plan = experiment.plan
    return dataclasses.replace(
        experiment,
        plan=None if plan is None else {name: known(step) for name, step in plan.items()},
        compare=tuple(known(unlearner) for unlearner in experiment.compare),
    )


def _override(tree: dict[str, Any], override: str) -> None:
    """Set one "key=value" in a tree, copying what it changes."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected key=value, such as recipe.epochs=10.")
    value = parse_value(text, f"--set {override}: the value")
    *parents, last = key.split(".")
    for name in parents:
        inner = tree.get(name)
        inner = {"name": inner} if isinstance(inner, str) else {} if inner is None else inner
        if not isinstance(inner, Mapping):
            raise ConfigError(f"--set {override}: '{name}' is no mapping, but {shown(inner)}.")
        tree[name] = inner = dict(inner)
        tree = inner
    tree[last] = value
