"""YAML that says each thing once: no tags, no aliases, no duplicate keys."""

from pathlib import Path
from typing import Any

import yaml

from rum_ray.errors import ConfigError, UnsafeError

MAX_BYTES = 2**20


def read(path: str | Path) -> dict[str, Any]:
    """Return the plain values of a YAML file: no tags, aliases or duplicate keys.

    Raises:
        ConfigError: it cannot be read, or is no mapping.
        UnsafeError: it has tags or aliases.
    """
    path = Path(path).expanduser()
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise ConfigError(f"experiment {path} is larger than 1 MiB.")
        tree = yaml.load(content.decode("utf-8"), Loader=StrictLoader)
    except OSError as error:
        raise ConfigError(f"experiment {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"experiment {path} is not UTF-8 at byte {error.start}.") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"experiment {path} is not valid YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"experiment {path} must be a mapping of keys, got {tree!r}.")
    return tree


class StrictLoader(yaml.SafeLoader):
    """YAML without tags, aliases and duplicate keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Refuse aliases and tags: a file that says each thing once needs neither."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        what = "alias" if isinstance(event, yaml.AliasEvent) else "tag"
        if what == "alias" or getattr(event, "tag", None):
            line = event.start_mark.line + 1
            raise UnsafeError(f"a YAML {what} in line {line} is not allowed; write the value out.")
        node: yaml.Node | None = super().compose_node(parent, index)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is there twice."""
        keys: list[str] = []
        for key, _ in node.value:
            if key.value in keys:
                line = key.start_mark.line + 1
                raise ConfigError(f"key '{key.value}' is there twice, again in line {line}.")
            keys.append(key.value)
        return super().construct_mapping(node, deep)
