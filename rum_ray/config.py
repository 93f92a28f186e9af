"""Experiment files: YAML in and out, `--set` on top, every error with its place."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from rum_ray.data import DATASETS
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.experiment import DataConfig, Experiment, key_of, to_plain
from rum_ray.models import MODELS
from rum_ray.plugins import find
from rum_ray.refinement import REFINERS, Refiner
from rum_ray.rum import Plan
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import UNLEARNERS, Retrain, Unlearner
from rum_ray.yamlfile import parse_value, read

_TABLES: Mapping[Any, tuple[Mapping[str, Any], str]] = {
    Unlearner: (UNLEARNERS, "unlearner"),
    Refiner: (REFINERS, "refiner"),
}


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
    """Return a plan as the key `plan` of an experiment file."""
    tree = {step.subset.name: to_plain(step.unlearner) for step in plan.steps}
    return yaml.safe_dump({"plan": tree}, sort_keys=False, width=100)


def parse(tree: Mapping[str, Any], overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a tree of plain values, with overrides on top."""
    changed = dict(tree)
    for override in overrides:
        _override(changed, override)
    experiment: Experiment = _build(Experiment, changed, "")
    return _with_recipe(experiment)


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
            raise ConfigError(f"--set {override}: '{name}' is no mapping, but {_shown(inner)}.")
        tree[name] = inner = dict(inner)
        tree = inner
    tree[last] = value


def _build(cls: type, tree: Any, path: str) -> Any:
    """Return the dataclass that a mapping describes."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path or 'the experiment'}: expected a mapping, got {_shown(tree)}.")
    hints = get_type_hints(cls)
    fields = {key_of(f): f for f in dataclasses.fields(cls)}
    _check_keys(tree, fields, [n for n, f in fields.items() if _required(f)], path)
    names = {key: fields[key].name for key in tree}
    values = {names[k]: _value(hints[names[k]], raw, _at(path, k)) for k, raw in tree.items()}
    return _call(cls, values, path)


def _value(hint: Any, raw: Any, path: str) -> Any:
    """Return a plain value as the type that a field has."""
    if get_origin(hint) in (Union, UnionType):
        if raw is None and type(None) in get_args(hint):
            return None
        arms = [arm for arm in get_args(hint) if arm is not type(None)]
        like = [arm for arm in arms if dataclasses.is_dataclass(arm) == isinstance(raw, Mapping)]
        fitting = like or arms
        hint = fitting[0] if len(fitting) == 1 else hint
    if hint is DataConfig:
        return _data(raw, path)
    if hint in _TABLES:
        return _named(raw, *_TABLES[hint], path)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        value = _build(hint, raw, path)
        if isinstance(value, Recipe):
            _at_place(lambda: find(value.model, MODELS, "model"), _at(path, "model"))
        return value
    arguments = get_args(hint)
    if any(argument in _TABLES for argument in arguments):
        return _several(get_origin(hint) is tuple, arguments, raw, path)
    return _checked(hint, raw, path)


def _several(as_list: bool, arguments: Sequence[Any], raw: Any, path: str) -> Any:
    """Return a list, or a mapping by subset, of named values."""
    if as_list:
        if not isinstance(raw, list | tuple):
            raise ConfigError(f"{path}: expected a list, got {_shown(raw)}.")
        return tuple(_value(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(raw))
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected a mapping of subsets, got {_shown(raw)}.")
    return {str(k): _value(arguments[-1], v, _at(path, str(k))) for k, v in raw.items()}


def _named(raw: Any, table: Mapping[str, Any], kind: str, path: str) -> Any:
    """Return the value that `{name: ..., **fields}`, or a name alone, describes."""
    raw = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise ConfigError(f"{path}: expected the name of a known {kind}, got {_shown(raw)}.")
    cls = _at_place(lambda: find(raw["name"], table, kind), path)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConfigError(f"{path}: {kind} '{raw['name']}' is no dataclass, but {_shown(cls)}.")
    if kind == "unlearner" and not isinstance(getattr(cls, "name", None), str):
        raise ConfigError(
            f"{path}: unlearner '{raw['name']}' has no name for tables and errors. Give the class "
            f'`name: ClassVar[str] = "..."`.'
        )
    return _build(cls, {k: v for k, v in raw.items() if k != "name"}, path)


def _data(raw: Any, path: str) -> DataConfig:
    """Return the data set that `{name: ..., **options}` describes."""
    raw = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise ConfigError(f"{path}: expected the name of a data set, got {_shown(raw)}.")
    function: Callable[..., Any] = _at_place(lambda: find(raw["name"], DATASETS, "data set"), path)
    if not inspect.isfunction(function):
        got = _shown(function)
        raise ConfigError(f"{path}: data set '{raw['name']}' is no function, but {got}.")
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function)
    options = {k: v for k, v in raw.items() if k != "name"}
    required = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty]
    _check_keys(options, parameters, required, path)
    return DataConfig(
        raw["name"], {k: _checked(hints.get(k, Any), v, _at(path, k)) for k, v in options.items()}
    )


def _checked(hint: Any, raw: Any, path: str) -> Any:
    """Return a plain value if it is of the type; nothing is converted but lists and integers."""
    adapter = TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))
    try:
        return adapter.validate_python(tuple(raw) if isinstance(raw, list) else raw)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join([path, *map(str, problem["loc"])]) if len(problem["loc"]) else path
        message = problem["msg"][0].lower() + problem["msg"][1:].replace("valid tuple", "list")
        raise ConfigError(f"{place}: {message}, got {_shown(raw)}.{_hint(raw)}") from error


def _hint(raw: Any) -> str:
    """Return what to do about a value that YAML reads as another type than it looks like."""
    if isinstance(raw, bool):
        return " YAML reads no, off, yes and on as booleans; put text in quotes."
    try:
        number = float(raw) if isinstance(raw, str) else None
    except ValueError:
        return ""
    return "" if number is None else f" YAML reads it as text; write {number!r}."


def _check_keys(
    given: Mapping[Any, Any], known: Mapping[str, Any], required: Sequence[str], path: str
) -> None:
    """Raise ConfigError for an unknown key or a missing one."""
    for key in given:
        if key not in known:
            raise ConfigError(
                f"unknown key '{_at(path, str(key))}'. {did_you_mean(str(key), known)}"
            )
    for key in required:
        if key not in given:
            raise ConfigError(f"missing key '{_at(path, key)}'.")


def _call(cls: type, values: Mapping[str, Any], path: str) -> Any:
    """Return `cls(**values)`, its complaints with their place."""
    try:
        return cls(**values)
    except ValueError as error:
        message = str(error)
        joint = "." if message.split(" ")[0] in values else ": "
        raise ConfigError(f"{path}{joint}{message}" if path else message) from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}" if path else str(error)) from error


def _at_place(function: Callable[[], Any], path: str) -> Any:
    """Call a function; give what it complains of the place in the file."""
    try:
        return function()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(value: Any) -> str:
    """Return a short form of what was given."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
