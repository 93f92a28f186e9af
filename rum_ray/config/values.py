"""Plain values as the typed ones of an experiment, every error with its place."""

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from rum_ray.data import DATASETS
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.experiment import DataConfig, key_of
from rum_ray.models import MODELS
from rum_ray.plugins import find
from rum_ray.refinement import REFINERS, Refiner
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import Choice, Domain, describe
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import UNLEARNERS, Unlearner

_TABLES: Mapping[Any, tuple[Mapping[str, Any], str]] = {
    Unlearner: (UNLEARNERS, "unlearner"),
    Refiner: (REFINERS, "refiner"),
}


def build(cls: type, tree: Any, path: str) -> Any:
    """Return the dataclass that a mapping describes."""
    if not isinstance(tree, Mapping):
        raise ConfigError(f"{path or 'the experiment'}: expected a mapping, got {shown(tree)}.")
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
    if hint is Candidate:
        return _candidate(raw, path)
    if hint in _TABLES:
        return _named(raw, *_TABLES[hint], path)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        value = build(hint, raw, path)
        if isinstance(value, Recipe):
            _at_place(lambda: find(value.model, MODELS, "model"), _at(path, "model"))
        return value
    arguments = get_args(hint)
    if any(argument in (*_TABLES, Candidate) for argument in arguments):
        return _several(get_origin(hint) is tuple, arguments, raw, path)
    return _checked(hint, raw, path)


def _several(as_list: bool, arguments: Sequence[Any], raw: Any, path: str) -> Any:
    """Return a list, or a mapping by subset, of named values."""
    if as_list:
        if not isinstance(raw, list | tuple):
            raise ConfigError(f"{path}: expected a list, got {shown(raw)}.")
        return tuple(_value(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(raw))
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected a mapping of subsets, got {shown(raw)}.")
    return {str(k): _value(arguments[-1], v, _at(path, str(k))) for k, v in raw.items()}


def _named(raw: Any, table: Mapping[str, Any], kind: str, path: str) -> Any:
    """Return the value that `{name: ..., **fields}`, or a name alone, describes."""
    _, cls, values = _known(raw, table, kind, path)
    return build(cls, values, path)


def _known(
    raw: Any, table: Mapping[str, Any], kind: str, path: str
) -> tuple[str, type, dict[str, Any]]:
    """Return the name, the dataclass and the other keys of what has a name."""
    raw = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise ConfigError(f"{path}: expected the name of a known {kind}, got {shown(raw)}.")
    cls = _at_place(lambda: find(raw["name"], table, kind), path)
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise ConfigError(f"{path}: {kind} '{raw['name']}' is no dataclass, but {shown(cls)}.")
    if kind == "unlearner" and not isinstance(getattr(cls, "name", None), str):
        raise ConfigError(
            f"{path}: unlearner '{raw['name']}' has no name for tables and errors. Give the class "
            f'`name: ClassVar[str] = "..."`.'
        )
    return raw["name"], cls, {k: v for k, v in raw.items() if k != "name"}


def _candidate(raw: Any, path: str) -> Candidate:
    """Return the candidate that `{name: ..., **narrowed}`, or a name alone, describes."""
    name, cls, given = _known(raw, UNLEARNERS, "unlearner", path)
    hints, space = get_type_hints(cls), getattr(cls, "space", {})
    _check_keys(given, {key_of(f): f for f in dataclasses.fields(cls)}, [], path)
    narrowed = {k: _part(hints[k], space.get(k), v, _at(path, k)) for k, v in given.items()}
    candidate: Candidate = _call(Candidate, {"name": name, "narrowed": narrowed}, path)
    return candidate


def _part(hint: Any, declared: Domain | None, raw: Any, path: str) -> Any:
    """Return one value, or a part of a declared domain: a list of values, or `{low, high}`."""
    if declared is None or not isinstance(raw, list | tuple | Mapping):
        return _value(hint, raw, path)
    if not isinstance(raw, Mapping):
        return Choice(tuple(_value(hint, item, f"{path}[{i}]") for i, item in enumerate(raw)))
    if isinstance(declared, Choice):
        raise ConfigError(f"{path}: only numbers have low and high; list {describe(declared)}.")
    _check_keys(raw, {"low": None, "high": None}, [], path)
    if not raw:
        raise ConfigError(f"{path}: expected low, high or both, got an empty mapping.")
    bounds = {key: _value(hint, value, _at(path, key)) for key, value in raw.items()}
    return dataclasses.replace(declared, **bounds)


def _data(raw: Any, path: str) -> DataConfig:
    """Return the data set that `{name: ..., **options}` describes."""
    raw = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise ConfigError(f"{path}: expected the name of a data set, got {shown(raw)}.")
    function: Callable[..., Any] = _at_place(lambda: find(raw["name"], DATASETS, "data set"), path)
    if not inspect.isfunction(function):
        got = shown(function)
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
        raise ConfigError(f"{place}: {message}, got {shown(raw)}.{_hint(raw)}") from error


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
    except (ConfigError, ValueError) as error:
        message = str(error)
        # A message about a key of the mapping begins with it: "size must be", "also[0]: ".
        joint = "." if re.split(r"[ \[]", message)[0] in values else ": "
        raise ConfigError(f"{path}{joint}{message}" if path else message) from error


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


def shown(value: Any) -> str:
    """Return a short form of what was given."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
