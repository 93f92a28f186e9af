"""The canonical form of a value, and its SHA-256.

Two values with equal digests determine the same result; that is what artifacts are stored under.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np


def canonical(value: Any) -> Any:
    """Return `value` as plain JSON types.

    Dataclasses become their type's name (with its module, if a plug-in's) and their fields, but for
    those that do not compare; arrays and tensors their type, shape and the SHA-256 of their bytes;
    a class or function, its importable name.

    Raises:
        TypeError: the value has no canonical form.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        counting = (field.name for field in dataclasses.fields(value) if field.compare)
        fields = {name: canonical(getattr(value, name)) for name in counting}
        return {"type": _type_name(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    if isinstance(value, type) or callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    if hasattr(value, "__array__"):
        array = np.asarray(value, order="C")
        content = hashlib.sha256(array.tobytes()).hexdigest()
        return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": content}
    raise TypeError(f"{type(value).__qualname__} has no canonical form: {value!r}")


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical form, as 64 hexadecimal digits."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _type_name(kind: type) -> str:
    """Return the name of a type, which no plug-in's type shares with one of this package.

    A class that was renamed keeps its old name in keys as its own `key_name`.
    """
    if kind.__module__.partition(".")[0] == "rum_ray":
        return str(vars(kind).get("key_name", kind.__qualname__))
    return f"{kind.__module__}:{kind.__qualname__}"
