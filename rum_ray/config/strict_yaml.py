"""Strict YAML: no tags, no aliases, no merge keys, no duplicate keys, no ambiguous numbers."""

import re
from pathlib import Path
from typing import Any

import yaml

from rum_ray.errors import ConfigError, UnsafeError
from rum_ray.files import read_regular

MAX_BYTES = 2**20
MERGE = "tag:yaml.org,2002:merge"


def read(path: str | Path, what: str = "experiment") -> dict[str, Any]:
    """Return the plain values of a YAML file.

    Args:
        path: the file; at most 1 MiB.
        what: name of the kind of file, for messages.

    Raises:
        ConfigError: the file cannot be read, is not valid YAML, or is not a mapping.
        UnsafeError: the file has tags, aliases or merge keys.
    """
    path = Path(path).expanduser()
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what} {path} is not UTF-8 at byte {error.start}.") from error
    tree = parse_value(text, f"{what} {path}")
    if not isinstance(tree, dict):
        got = "nothing" if tree is None else f"{tree!r:.60}"
        raise ConfigError(f"{what} {path} must be a mapping of keys, got {got}.")
    return tree


def parse_value(text: str, what: str) -> Any:
    """Return the plain value of a YAML text.

    Args:
        text: one YAML document.
        what: name of the text, for messages.

    Raises:
        ConfigError: the text is not valid YAML.
        UnsafeError: the text has tags, aliases or merge keys.
    """
    try:
        return yaml.load(text, Loader=StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = _hint(text, mark.line if mark else -1)
        problem = f"{error.problem or error.context}{place}"
        raise ConfigError(f"{what} is not valid YAML: {problem}.{hint}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{what} is not valid YAML: {str(error).splitlines()[0]}.") from error
    except RecursionError as error:
        raise ConfigError(f"{what} is nested too deeply.") from error


def _hint(text: str, line: int) -> str:
    """Return a hint for a line with invalid YAML, or an empty string."""
    lines = text.splitlines()
    tabbed = 0 <= line < len(lines) and lines[line].lstrip(" ").startswith("\t")
    return " The line starts with a tab; use spaces." if tabbed else ""


class StrictLoader(yaml.SafeLoader):
    """YAML loader that refuses what `rum_ray.config.strict_yaml` names."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases and tags."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        what = "alias" if isinstance(event, yaml.AliasEvent) else "tag"
        if what == "alias" or getattr(event, "tag", None):
            line = event.start_mark.line + 1
            raise UnsafeError(f"a YAML {what} in line {line} is not allowed; write the value out.")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse duplicate keys and merge keys."""
        keys: list[str] = []
        for key, _ in node.value:
            if key.tag == MERGE:
                line = key.start_mark.line + 1
                raise UnsafeError(
                    f"the YAML merge key '<<' in line {line} is not allowed; write the values out."
                )
            if key.value in keys:
                line = key.start_mark.line + 1
                raise ConfigError(f"duplicate key '{key.value}' in line {line}. Remove one.")
            keys.append(key.value)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Refuse numbers that YAML 1.1 reads in base 2, 8, 16 or 60, such as 012 and 12:30."""
        number: int = super().construct_yaml_int(node)
        if not re.fullmatch(r"[-+]?(0|[1-9][0-9_]*)", node.value):
            line = node.start_mark.line + 1
            raise ConfigError(
                f"ambiguous number '{node.value}' in line {line}: YAML reads it as {number}. "
                f"Write {number}, or put the text in quotes."
            )
        return number


StrictLoader.add_constructor("tag:yaml.org,2002:int", StrictLoader.construct_yaml_int)
