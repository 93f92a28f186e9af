"""The canonical form of a value, and its SHA-256.

Values with equal digests determine the same result. Digests are the names of artifacts in the
store.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

SPARSE: Mapping[str, Any] = {"sparse": None}
"""Metadata of a field that has no part in digests where it has this value: here None."""


def canonical(value: Any) -> Any:
    """Return `value` as plain JSON types.

    - A dataclass becomes the name of its type and its fields, except those with `compare=False`,
      and those with the value of their metadata "sparse". The name of a plug-in includes its
      module.
    - An array or tensor becomes its dtype, its shape and the SHA-256 of its bytes.
    - A class or function becomes its importable name.

    Raises:
        TypeError: the value has no canonical form.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value) if _counts(field, value))
        fields = {name: canonical(getattr(value, name)) for name in names}
        return {"type": _type_name(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): canonical(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [canonical(item) for item in value]
    if isinstance(value, type) or callable(value):
        return f"{value.__module__}:{value.__qualname__}"
    if hasattr(value, "__array__"):
        array = np.asarray(value, order="C")
        # Bytes of the array itself; a copy would double the memory of large data.
        content = hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()
        return {"dtype": array.dtype.str, "shape": list(array.shape), "sha256": content}
    raise TypeError(f"{type(value).__qualname__} has no canonical form: {value!r}")


def digest(value: Any) -> str:
    """Return the SHA-256 of the canonical form, as 64 hexadecimal digits."""
    text = json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _counts(field: "dataclasses.Field[Any]", value: object) -> bool:
    """Return True if a field is part of the canonical form."""
    if not field.compare or "sparse" not in field.metadata:
        return field.compare
    found, sparse = getattr(value, field.name), field.metadata["sparse"]
    # An array is compared with None by its type; `==` would compare its elements.
    return not (isinstance(found, type(sparse)) and found == sparse)


def _type_name(kind: type) -> str:
    """Return the name of a type; names of plug-ins never equal names of this package.

    The class attribute `key_name` is the name of a type in keys where it differs from the class
    name.
    """
    if kind.__module__.partition(".")[0] == "rum_ray":
        return str(vars(kind).get("key_name", kind.__qualname__))
    return f"{kind.__module__}:{kind.__qualname__}"
