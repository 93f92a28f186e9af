"""The catalogue of the paper's items: each is one study or several, as changes of a file."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from rum_ray import config
from rum_ray.config.strict_yaml import read
from rum_ray.config.values import build
from rum_ray.errors import ConfigError, did_you_mean
from rum_ray.experiment import Experiment

FOLDER = Path(__file__).parent
Changes: TypeAlias = Mapping[str, Any]
PRESETS = ("small", "paper")
"""The presets: a part of CIFAR-10, and the paper's own size. Each is a file beside this one."""
SMALL = ("cifar10",)
"""The data sets of the preset "small"."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A table, a figure or a question of the paper or of its reviews.

    Attributes:
        title: the comparison in words.
        place: in the paper, or in its discussion.
        changes: of the preset's file, by dotted key, in every study.
        small: further changes with the preset "small".
        data: names of the data sets; empty for all.
        studies: further changes by name of a study; empty for one study without a name.
        of: other items whose studies these are.
    """

    title: str
    place: str
    changes: Changes = field(default_factory=dict)
    small: Changes = field(default_factory=dict)
    data: tuple[str, ...] = ()
    studies: Mapping[str, Changes] = field(default_factory=dict)
    of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Catalogue:
    """All items.

    Attributes:
        settings: changes of the file of the preset "paper", by name of the data set.
        items: by name.
    """

    settings: Mapping[str, Changes]
    items: Mapping[str, Item]


@dataclass(frozen=True)
class Study:
    """One study of an item: a file and its changes.

    Attributes:
        name: of the study within its item; empty if it is the only one.
        file: the experiment file.
        changes: of the file, in the form of `--set`; the first one is its name.
    """

    name: str
    file: Path
    changes: tuple[str, ...]

    def experiment(self, overrides: tuple[str, ...] = ()) -> Experiment:
        """Return the experiment, with further changes."""
        return config.load(self.file, [*self.changes, *overrides])


@cache
def catalogue() -> Catalogue:
    """Return the catalogue of this package."""
    tree = read(FOLDER / "catalogue.yaml", "catalogue")
    items = {name: build(Item, value, f"items.{name}") for name, value in tree["items"].items()}
    return Catalogue(tree["settings"], items)


def studies(item: str, data: str = "cifar10", preset: str = "small") -> tuple[Study, ...]:
    """Return the studies of an item.

    Args:
        item: a key of the catalogue's items.
        data: a key of its settings.
        preset: one of `PRESETS`.

    Raises:
        ConfigError: a name is unknown, or the item does not have this data set or preset.
    """
    known = catalogue()
    _check("item", item, known.items)
    _check("--preset", preset, PRESETS)
    _check("--data", data, known.settings)
    if preset == "small" and data not in SMALL:
        raise ConfigError(
            f"--data: the preset small is {', '.join(SMALL)} only, got {data}. Add --preset paper."
        )
    chosen = known.items[item]
    if chosen.data and data not in chosen.data:
        raise ConfigError(
            f"--data: {item} needs memorization scores, so it is for {' and '.join(chosen.data)}; "
            f"got {data}. 'table1' of {data} is by C-proxy."
        )
    return tuple(
        Study(
            f"{part}-{name}" if chosen.of else name,
            FOLDER / f"{preset}.yaml",
            _changes(part, name, own, data, preset),
        )
        for part in chosen.of or (item,)
        for name, own in (known.items[part].studies or {"": {}}).items()
    )


def _check(what: str, name: str, known: Iterable[str]) -> None:
    """Raise ConfigError if a name is unknown."""
    if name not in known:
        raise ConfigError(f"{what}: unknown '{name}'. {did_you_mean(name, known)}")


def _changes(part: str, name: str, own: Changes, data: str, preset: str) -> tuple[str, ...]:
    """Return the changes of one study of an item in the form of `--set`."""
    known = catalogue()
    setting = known.settings[data] if preset == "paper" else {}
    sized = known.items[part].small if preset == "small" else {}
    merged = {**setting, **known.items[part].changes, **sized, **own}
    title = "-".join(filter(None, (part, data, preset, name)))
    return (f"name={title}", *(f"{key}={json.dumps(value)}" for key, value in merged.items()))
