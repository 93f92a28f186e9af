"""Columns of untrusted Parquet files: which of them are safe, and which have labels and images."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from rum_ray.errors import ConfigError, DataError, did_you_mean

EXTENSION = b"ARROW:extension:name"
PLAIN = "int, float, bool, string, binary, date, time, decimal, and category or struct of these"


class Columns(NamedTuple):
    """Columns and class names; all files of one data set must have the same ones.

    Attributes:
        image: name of the image column.
        label: name of the label column.
        text: True for text labels, False for integers.
        class_names: names of integer labels in the metadata, or empty.
        id: name of the column of ids; None if row numbers are the only ids.
    """

    image: str
    label: str
    text: bool
    class_names: tuple[str, ...]
    id: str | None = None


def find_columns(
    schema: pa.Schema, path: Path, label: str | None = None, id: str | None = None
) -> Columns:
    """Return the columns of a file, and the names of its classes.

    Args:
        schema: of the file.
        path: of the file, for messages.
        label: name of the label column; None looks for one.
        id: name of the column of ids; None for none.

    Raises:
        ConfigError: a named column does not exist.
        DataError: columns are missing, ambiguous or of a wrong type.
    """
    for key, name in (("label", label), ("id", id)):
        if name is not None and name not in schema.names:
            raise ConfigError(
                f"data.{key}: {path} has no column '{name}'. {did_you_mean(name, schema.names)}"
            )
    listed = ", ".join(f"{field.name} ({field.type})" for field in schema)
    images = [field for field in schema if _is_image(field.type)]
    if len(images) != 1:
        raise DataError(
            f"{path} has {len(images)} image columns (binary, or a struct with binary 'bytes'); "
            f"exactly one is required. Columns: {listed}. Remove or convert columns."
        )
    rest = [field for field in schema if not _is_image(field.type) and field.name != id]
    named = _class_features(schema, path)
    labels = (
        [field for field in rest if field.name == label]
        if label is not None
        else [field for field in rest if field.name == "label"]
        or [field for field in rest if field.name == "labels"]
        or [field for field in rest if field.name in named]
        or [field for field in rest if is_text(field.type) or _is_integer(field.type)]
    )
    if len(labels) != 1:
        raise DataError(
            f"{path} has {len(labels)} possible label columns; exactly one is required, or one "
            f"named 'label'. Columns: {listed}. Name one in data.label."
        )
    chosen = labels[0]
    _check_values("labels", chosen, path)
    if id is not None:
        _check_values("ids", schema.field(id), path)
    names = _class_names(schema, path) or named.get(chosen.name, ())
    return Columns(images[0].name, chosen.name, is_text(chosen.type), names, id)


def _check_values(what: str, field: pa.Field, path: Path) -> None:
    """Raise DataError unless a column has integers or text, or categories of these."""
    if not (is_text(field.type) or _is_integer(field.type)):
        raise DataError(
            f"{what} must be integers or text, but column '{field.name}' of {path} has type "
            f"{field.type}. Cast the column."
        )


def unsafe_type(field: pa.Field) -> str:
    """Return why the type of a column is refused, or an empty string for a plain type."""
    # An extension type that is not registered looks like its storage type.
    name: bytes | None = (field.metadata or {}).get(EXTENSION)
    if name is not None or isinstance(field.type, pa.BaseExtensionType):
        known = (name or b"").decode(errors="replace") or str(field.type)
        return f"type {known} may run code. Write the file without that column."
    if pa.types.is_struct(field.type):
        return next(filter(None, map(unsafe_type, field.type)), "")
    if pa.types.is_dictionary(field.type):
        return unsafe_type(pa.field(field.name, field.type.value_type))
    t = pa.types
    plain = (
        *(t.is_null, t.is_boolean, t.is_integer, t.is_floating, t.is_decimal, t.is_temporal),
        *(is_text, _is_binary, t.is_fixed_size_binary),
    )
    if any(is_type(field.type) for is_type in plain):
        return ""
    return (
        f"type {field.type} is not a plain type; plain types are {PLAIN}. Cast the column to one "
        f"of them, or write the file without it."
    )


def is_text(kind: pa.DataType) -> bool:
    """Return True for text, and for categories of text."""
    kind = _value_type(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _value_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: that of the categories for a categorical column."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_integer(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(_value_type(kind)))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _is_binary(field.type) for field in kind)
    return _is_binary(kind)


def _metadata(schema: pa.Schema, key: str, path: Path) -> Any:
    """Return a JSON value of the metadata of a file; None if there is none."""
    raw = (schema.metadata or {}).get(key.encode(), b"null")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path} cannot be searched for metadata '{key}': {error} Correct or remove them."
        ) from error


def _class_names(schema: pa.Schema, path: Path) -> tuple[str, ...]:
    """Return the class names in the metadata `classes`; empty if there are none."""
    names = _metadata(schema, "classes", path)
    if names is not None and not _are_names(names):
        raw = schema.metadata[b"classes"]
        raise DataError(
            f"metadata 'classes' of {path} must be a JSON list of names, got {raw[:80]}."
        )
    return tuple(names or ())


def _class_features(schema: pa.Schema, path: Path) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes per column, as the library `datasets` stores them."""
    try:
        features = _metadata(schema, "huggingface", path)["info"]["features"]
        found = {name: value["names"] for name, value in features.items() if _is_class(value)}
    except (AttributeError, KeyError, TypeError, DataError):
        return {}
    return {name: tuple(names) for name, names in found.items() if _are_names(names)}


def _is_class(feature: Any) -> bool:
    return isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and "names" in feature


def _are_names(names: Any) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
