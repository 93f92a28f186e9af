"""Names in experiment files: keys of a table, or importable plug-ins.

An experiment file names code, and code that is imported runs. So a name is checked twice: before
the import by its module, and afterwards by the mark that a plug-in of its kind bears.
"""

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, TypeAlias, get_type_hints

from rum_ray.errors import ConfigError, RumRayError, did_you_mean

OURS = "rum-ray"
"""Distribution that a package with plug-ins requires."""
Mark: TypeAlias = Callable[[Any], str | None]
"""Returns the mark that an object lacks, in words; None if it bears the mark."""


def annotated(returned: type) -> Mark:
    """Return the mark of a function that is annotated to return a type."""

    def missing(thing: Any) -> str | None:
        try:
            hint = get_type_hints(thing).get("return") if inspect.isfunction(thing) else None
        except Exception:
            # A name of the annotations is unknown at run time.
            hint = None
        marked = isinstance(hint, type) and issubclass(hint, returned)
        return None if marked else f"a function annotated '-> {returned.__name__}'"

    return missing


def implementing(protocol: type) -> Mark:
    """Return the mark of a dataclass that has all methods of a protocol."""
    methods = [name for name, each in vars(protocol).items() if inspect.isfunction(each)]
    wanted = [name for name in methods if name == "__call__" or not name.startswith("_")]

    def missing(thing: Any) -> str | None:
        own = {name for base in getattr(thing, "__mro__", ()) for name in vars(base)}
        if dataclasses.is_dataclass(thing) and own.issuperset(wanted):
            return None
        return f"a dataclass with the methods of {protocol.__name__}: {', '.join(wanted)}"

    return missing


def instance(kind: type) -> Mark:
    """Return the mark of an instance of a type."""
    return lambda thing: None if isinstance(thing, kind) else f"a rum_ray.{kind.__name__}"


def find(name: str, table: Mapping[str, Any], kind: str, mark: Mark) -> Any:
    """Return `table[name]`, or the plug-in that `package.module:name` refers to.

    Args:
        name: the name in the experiment file.
        table: objects of this package by name.
        kind: kind of the objects, for messages.
        mark: of a plug-in of this kind.

    Raises:
        ConfigError: the name is unknown; the module is of the standard library, or of an installed
            package without plug-ins; or the plug-in cannot be imported or lacks the mark.
    """
    if name in table:
        return table[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigError(f"unknown {kind} '{name}'. {did_you_mean(name, table)}")
    found = _imported(module, attribute, f"{kind} '{name}'")
    if missing := mark(found):
        got = type(found).__name__ if found is not None else "None"
        raise ConfigError(f"{kind} '{name}' must be {missing}; got {got}.")
    return found


@contextlib.contextmanager
def blamed(name: str, kind: str, error: type[RumRayError]) -> Iterator[None]:
    """Turn what a plug-in raises within a `with` block into an error with its name and cause.

    Args:
        name: the name in the experiment file; the package's own names pass errors on.
        kind: kind of the plug-in, for the message.
        error: class of the new error; errors of this package and interrupts pass as they are.
    """
    try:
        yield
    except RumRayError:
        raise
    except (Exception, SystemExit) as cause:
        if ":" not in name:
            raise
        raise error(f"{kind} '{name}' raised {_described(cause)}.") from cause


def _imported(module: str, attribute: str, label: str) -> Any:
    """Return an attribute of a module that may be imported."""
    parts = module.split(".")
    if not all(part.isidentifier() for part in (*parts, attribute)):
        raise ConfigError(f"{label} is no name of a plug-in. Write package.module:name.")
    if refusal := _refusal(parts[0]):
        raise ConfigError(f"{label} is refused: {refusal}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"{label} cannot be imported: {_described(error)}. "
            "Write package.module:name of an installed module."
        ) from error


@cache
def _refusal(package: str) -> str | None:
    """Return the reason for which a package may not be imported; nothing of it is imported."""
    if package in sys.stdlib_module_names or package == "__main__":
        return f"'{package}' is a module of Python itself, and no plug-in."
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None or package == __name__.partition(".")[0]:
        return None
    places = [*(spec.submodule_search_locations or ()), *filter(None, [spec.origin])]
    roots = {str(Path(place).parent) for place in places}
    owners = [each for each in distributions(path=[*roots]) if package in _packages(each)]
    if not owners or any(_requires_us(each) for each in owners):
        return None
    return (
        f"the installed package '{package}' does not say that it has plug-ins. It must list "
        f"{OURS} in its requirements."
    )


def _packages(distribution: Distribution) -> set[str]:
    """Return the names of the top-level packages and modules that a distribution has."""
    return {file.parts[0].partition(".")[0] for file in distribution.files or ()}


def _requires_us(distribution: Distribution) -> bool:
    names = (each.replace("_", "-").lower() for each in distribution.requires or ())
    return any(
        name.startswith(OURS) and name[len(OURS) : len(OURS) + 1] in {*" ;<>=!~[("} | {""}
        for name in names
    )


def _described(error: BaseException) -> str:
    """Return the type and text of an error; SystemExit as the call that made it."""
    if isinstance(error, SystemExit):
        return f"SystemExit: it called sys.exit({error.code!r})"
    return f"{type(error).__name__}: {str(error).rstrip('.')}"
