"""An experiment for readers who may not know its data: paths, seeds and texts are left out."""

import os
from collections.abc import Mapping
from typing import Any

import yaml

from rum_ray.experiment import Experiment, to_plain

LEFT_OUT = "(left out)"
_PATHS = {"ids", "file", "weights", "init", "modules"}
"""Keys whose values are paths."""
_SEEDS = {"seed", "seeds"}
"""Keys of seeds: with the data, they tell which examples a model has learned."""


def dump_public(experiment: Experiment) -> tuple[str, frozenset[str]]:
    """Return an experiment as YAML, and the texts that were left out of it.

    Left out are paths, seeds, and every text among the options of the data set. Names of data sets,
    models and algorithms stay, also those of plug-ins.
    """
    hidden: set[str] = set()
    tree = to_plain(experiment)
    name, options = tree["data"].pop("name"), tree["data"]
    hide = {key: _public(value, True, hidden) for key, value in options.items()}
    tree = {**_public(tree, False, hidden), "data": {"name": name, **hide}}
    return yaml.safe_dump(tree, sort_keys=False, width=100), frozenset(hidden)


def without_paths(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part of an experiment, as plain values, without its paths."""
    found: dict[str, Any] = _public(tree, False, set())
    return found


def _public(value: Any, hides: bool, hidden: set[str]) -> Any:
    """Return plain values without private texts.

    Args:
        value: plain values.
        hides: True if every text in them is private.
        hidden: receives the private texts.
    """
    if isinstance(value, Mapping):
        return {
            key: LEFT_OUT if key in _SEEDS else _public(item, hides or key in _PATHS, hidden)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_public(item, hides, hidden) for item in value]
    if not isinstance(value, str) or not (hides or os.sep in value):
        return value
    hidden.add(value)
    return LEFT_OUT
