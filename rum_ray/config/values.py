"""Conversion of plain values to the typed values of an experiment; errors state their place."""

import dataclasses
import datetime
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from rum_ray.data import find_dataset, options_of
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.experiment import DataConfig, key_of
from rum_ray.models import find_model
from rum_ray.refinement import Refiner, find_refiner
from rum_ray.search.candidates import Candidate
from rum_ray.training.domains import Choice, Domain, LogUniform, Rate, describe
from rum_ray.training.recipe import Recipe
from rum_ray.unlearning import Unlearner, find_unlearner

_FINDERS: Mapping[Any, tuple[Callable[[str], type], str]] = {
    Unlearner: (find_unlearner, "unlearner"),
    Refiner: (find_refiner, "refiner"),
}


def build(cls: type, tree: Any, path: str) -> Any:
    """Build a dataclass from a mapping.

    Args:
        cls: the dataclass.
        tree: plain values by key.
        path: dotted key of the mapping, for messages; empty for the whole file.

    Raises:
        ConfigError: a key is unknown or missing, or a value is invalid.
    """
    if not isinstance(tree, Mapping):
        got = short_repr(tree)
        raise ConfigError(f"{path or 'the experiment'}: expected a mapping, got {got}.")
    hints = get_type_hints(cls)
    fields = {key_of(f): f for f in dataclasses.fields(cls)}
    _check_keys(tree, fields, [n for n, f in fields.items() if _required(f)], path)
    names = {key: fields[key].name for key in tree}
    values = {names[k]: _value(hints[names[k]], raw, _join(path, k)) for k, raw in tree.items()}
    return _construct(cls, values, path)


def _value(hint: Any, raw: Any, path: str) -> Any:
    """Convert a plain value to the type of a field."""
    if get_origin(hint) in (Union, UnionType):
        if raw is None and type(None) in get_args(hint):
            return None
        arms = [arm for arm in get_args(hint) if arm is not type(None)]
        similar = [arm for arm in arms if dataclasses.is_dataclass(arm) == isinstance(raw, Mapping)]
        candidates = similar or arms
        hint = candidates[0] if len(candidates) == 1 else hint
    if hint is DataConfig:
        return _data(raw, path)
    if hint is Candidate:
        return _candidate(raw, path)
    if hint in _FINDERS:
        return _build_named(raw, *_FINDERS[hint], path)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        value = build(hint, raw, path)
        if isinstance(value, Recipe):
            _with_place(lambda: find_model(value.model), _join(path, "model"))
        return value
    arguments = get_args(hint)
    if any(argument in (*_FINDERS, Candidate) for argument in arguments):
        return _collection(get_origin(hint) is tuple, arguments, raw, path)
    return _validate(hint, raw, path)


def _collection(as_list: bool, arguments: Sequence[Any], raw: Any, path: str) -> Any:
    """Convert a list, or a mapping by subset, of named values."""
    if as_list:
        if not isinstance(raw, list | tuple):
            raise ConfigError(f"{path}: expected a list, got {short_repr(raw)}.")
        return tuple(_value(arguments[0], item, f"{path}[{i}]") for i, item in enumerate(raw))
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected a mapping of subsets, got {short_repr(raw)}.")
    return {str(k): _value(arguments[-1], v, _join(path, str(k))) for k, v in raw.items()}


def _build_named(raw: Any, find: Callable[[str], type], kind: str, path: str) -> Any:
    """Build an unlearner or refiner from `{name: ..., **fields}` or from a name alone."""
    _, cls, values = _resolve(raw, find, kind, path)
    return build(cls, values, path)


def _resolve(
    raw: Any, find: Callable[[str], type], kind: str, path: str
) -> tuple[str, type, dict[str, Any]]:
    """Return the name, its dataclass and the remaining keys of a named value."""
    raw = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise ConfigError(f"{path}: expected the name of a known {kind}, got {short_repr(raw)}.")
    cls = _with_place(lambda: find(raw["name"]), path)
    if kind == "unlearner" and not isinstance(getattr(cls, "name", None), str):
        raise ConfigError(
            f"{path}: the class of unlearner '{raw['name']}' has no name for tables and errors. "
            f'Add `name: ClassVar[str] = "..."`.'
        )
    return raw["name"], cls, {k: v for k, v in raw.items() if k != "name"}


def _candidate(raw: Any, path: str) -> Candidate:
    """Build a candidate of a search from `{name: ..., **narrowed}` or from a name alone."""
    name, cls, values = _resolve(raw, find_unlearner, "unlearner", path)
    hints, space = get_type_hints(cls), getattr(cls, "space", {})
    _check_keys(values, {key_of(f): f for f in dataclasses.fields(cls)}, [], path)
    narrowed = {k: _narrow(hints[k], space.get(k), v, _join(path, k)) for k, v in values.items()}
    candidate: Candidate = _construct(Candidate, {"name": name, "narrowed": narrowed}, path)
    return candidate


def _narrow(hint: Any, declared: Domain | None, raw: Any, path: str) -> Any:
    """Convert one value, or a part of a declared domain: a list of values, or `{low, high}`."""
    if declared is None or not isinstance(raw, list | tuple | Mapping):
        return _value(hint, raw, path)
    if not isinstance(raw, Mapping):
        return Choice(tuple(_value(hint, item, f"{path}[{i}]") for i, item in enumerate(raw)))
    if isinstance(declared, Choice):
        raise ConfigError(
            f"{path}: low and high are for numbers only. Write a list of values from "
            f"{describe(declared)}."
        )
    _check_keys(raw, {"low": None, "high": None}, [], path)
    if not raw:
        raise ConfigError(f"{path}: expected low, high or both, got an empty mapping.")
    bounds = {key: _value(hint, value, _join(path, key)) for key, value in raw.items()}
    if isinstance(declared, Rate):
        # Bounds in a file are rates, and the declared ones are multiples of the recipe's rate.
        if len(bounds) < 2:
            raise ConfigError(
                f"{path}: a learning rate needs both low and high, got {short_repr(raw)} alone. "
                f"The declared range is {describe(declared)}."
            )
        return LogUniform(**bounds)
    return dataclasses.replace(declared, **bounds)


def _data(raw: Any, path: str) -> DataConfig:
    """Build a data set from `{name: ..., **options}` or from a name alone."""
    raw = {"name": raw} if isinstance(raw, str) else raw
    if not isinstance(raw, Mapping) or not isinstance(raw.get("name"), str):
        raise ConfigError(f"{path}: expected the name of a data set, got {short_repr(raw)}.")
    name = raw["name"]
    function: Callable[..., Any] = _with_place(lambda: find_dataset(name), path)
    parameters = options_of(function)
    hints = get_type_hints(function)
    options = {k: v for k, v in raw.items() if k != "name"}
    required = [n for n, p in parameters.items() if p.default is inspect.Parameter.empty]
    _check_keys(options, parameters, required, path)
    values = {k: _validate(hints.get(k, Any), v, _join(path, k)) for k, v in options.items()}
    return DataConfig(name, values)


def _validate(hint: Any, raw: Any, path: str) -> Any:
    """Return a plain value of the right type; only lists and integers are converted."""
    if raw == "":
        raise ConfigError(f"{path}: expected a value, got ''. Give one, or remove the key.")
    adapter = TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False))
    try:
        return adapter.validate_python(tuple(raw) if isinstance(raw, list) else raw)
    except ValidationError as error:
        problems = error.errors()
        # The other parts of a location are names of the types that a value may have.
        places = [part for part in problems[0]["loc"] if isinstance(part, int)]
        place = ".".join([path, *map(str, places)])
        messages = [each["msg"] for each in problems if each["type"] != "missing"]
        allowed = dict.fromkeys(
            message.removeprefix("Input should be ").replace("valid tuple", "list")
            for message in (messages[:1] if places else messages)
        )
        message = f"input should be {' or '.join(allowed)}"
        raise ConfigError(f"{place}: {message}, got {short_repr(raw)}.{_hint(raw)}") from error


def _hint(raw: Any) -> str:
    """Return a hint for a value that YAML reads as an unexpected type, or an empty string."""
    if isinstance(raw, bool):
        return " YAML reads no, off, yes and on as booleans; put text in quotes."
    if isinstance(raw, datetime.date):
        return " YAML reads it as a date; put text in quotes."
    try:
        number = float(raw) if isinstance(raw, str) else math.nan
    except ValueError:
        return ""
    if not math.isfinite(number):
        return ""
    written = int(number) if number.is_integer() and "." not in raw else number
    return f" YAML reads it as text; write {written!r}."


def _check_keys(
    tree: Mapping[Any, Any], known: Mapping[str, Any], required: Sequence[str], path: str
) -> None:
    """Raise ConfigError if a key is unknown, or a required key is missing."""
    for key in tree:
        if key not in known:
            raise ConfigError(
                f"unknown key '{_join(path, str(key))}'. {did_you_mean(str(key), known)}"
            )
    for key in required:
        if key not in tree:
            raise ConfigError(f"missing key '{_join(path, key)}'.")


def _construct(cls: type, values: Mapping[str, Any], path: str) -> Any:
    """Return `cls(**values)`; add the place to its errors."""
    try:
        return cls(**values)
    except (ConfigError, ValueError) as error:
        message = str(error)
        # A message about a key of the mapping begins with it: "size must be", "also[0]: ".
        joint = "." if re.split(r"[ \[]", message)[0] in values else ": "
        raise ConfigError(f"{path}{joint}{message}" if path else message) from error


def _with_place(function: Callable[[], Any], path: str) -> Any:
    """Call a function; add the place in the file to its errors."""
    try:
        return function()
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def short_repr(value: Any) -> str:
    """Return the repr of a value, cut to 60 characters, for messages."""
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
