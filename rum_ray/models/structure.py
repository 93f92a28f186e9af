"""The values around the weights in a file, as a tree of JSON types, and back.

A node of the tree is [type, content]. Only plain values stay. An optimizer keeps its groups and
loses its state, and other tensors than numbers are left out: they follow from the training data.
"""

import argparse
import pathlib
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LEFT: list[Any] = ["left", None]


def is_state(value: Any) -> bool:
    """Return True if a value is a `state_dict`: a non-empty mapping from text to tensors."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def encode(value: Any, place: Sequence[str] | None, left: list[str], count: Iterator[int]) -> Any:
    """Return a value as a tree.

    Args:
        value: to encode.
        place: keys that lead from `value` to the `state_dict`; None if it is not inside.
        left: receives the keys of the values that are left out.
        count: has one item per value that is allowed.

    Raises:
        StopIteration: there are more values.
    """
    next(count)
    if place is not None and not place:
        return ["state", type(value).__name__]
    if isinstance(value, list | tuple):
        items = [encode(item, None, left, count) for item in value]
        kind = "tuple" if isinstance(value, tuple) else "list"
        return _LEFT if _LEFT in items else [kind, items]
    is_namespace = isinstance(value, argparse.Namespace)
    pairs = vars(value) if is_namespace else value
    if not isinstance(pairs, Mapping):
        return _leaf(value)
    if place is None and is_state(pairs):
        return _LEFT
    if {"state", "param_groups"} <= {*pairs}:
        pairs = {**pairs, "state": {}}
    entries = []
    for key, item in pairs.items():
        inside = place[1:] if place and key == place[0] else None
        coded = encode(item, inside, left, count)
        if coded == _LEFT or not isinstance(key, str | int):
            left.append(str(key)[:80])
        else:
            entries.append([key, coded])
    kind = "OrderedDict" if isinstance(value, OrderedDict) else "dict"
    return ["namespace" if is_namespace else kind, entries]


def _leaf(value: Any) -> list[Any]:
    """Return the node of a value without parts."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, pathlib.PurePath):
        value = str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return ["plain", value]
    if isinstance(value, Tensor) and not value.ndim and not value.is_complex():
        return ["number", [str(value.dtype).removeprefix("torch."), value.item()]]
    return _LEFT


def decode(tree: Any, state: Mapping[str, Tensor], hidden: Collection[str], left: list[str]) -> Any:
    """Return the value of a tree.

    Args:
        tree: of `encode`.
        state: the weights in it.
        hidden: texts that no value may be, also as the last part of a path.
        left: receives a word for each entry that has one.
    """
    kind, content = tree
    if kind == "state":
        return OrderedDict(state) if content == "OrderedDict" else dict(state)
    if kind == "number":
        return torch.tensor(content[1], dtype=getattr(torch, content[0]))
    if kind == "plain":
        return content
    if kind in ("list", "tuple"):
        items = [decode(item, state, hidden, left) for item in content]
        return tuple(items) if kind == "tuple" else items
    entries = {}
    for key, item in content:
        if _is_hidden(["plain", key], hidden) or _is_hidden(item, hidden):
            left.append("a value with a hidden text")
        else:
            entries[key] = decode(item, state, hidden, left)
    if kind == "namespace":
        return argparse.Namespace(**entries)
    return OrderedDict(entries) if kind == "OrderedDict" else entries


def _is_hidden(tree: Any, hidden: Collection[str]) -> bool:
    """Return True if a text, or one in a list, is hidden; mappings check their own entries."""
    kind, content = tree
    if kind == "plain" and isinstance(content, str):
        return content in hidden or pathlib.PurePosixPath(content).name in hidden
    return kind in ("list", "tuple") and any(_is_hidden(item, hidden) for item in content)
