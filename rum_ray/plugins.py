"""Names in experiment files: keys of a table, or importable plug-ins."""

import importlib
from collections.abc import Mapping
from typing import Any

from rum_ray.errors import ConfigError, did_you_mean


def find(name: str, table: Mapping[str, Any], kind: str) -> Any:
    """Return `table[name]`, or the object that `package.module:name` refers to.

    Args:
        name: the name in the experiment file.
        table: objects of this package by name.
        kind: kind of the objects, for messages.

    Raises:
        ConfigError: the name is unknown, or the plug-in cannot be imported.
    """
    if name in table:
        return table[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ConfigError(f"unknown {kind} '{name}'. {did_you_mean(name, table)}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(
            f"{kind} '{name}' cannot be imported: {error}. "
            "Write package.module:name of an installed module."
        ) from error
