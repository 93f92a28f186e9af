"""Names in experiment files: of a literal table, or of something that the user installed."""

import importlib
from collections.abc import Mapping
from typing import Any

from rum_ray.errors import ConfigError, did_you_mean


def find(name: str, table: Mapping[str, Any], kind: str) -> Any:
    """Return `table[name]`, or the object that `package.module:name` names.

    Args:
        name: what the experiment file says.
        table: what comes with the package.
        kind: what the table holds, for messages.

    Raises:
        ConfigError: there is no such name.
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
            "Write package.module:name of something that is installed."
        ) from error
