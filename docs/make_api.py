"""Render api.md: one mkdocstrings entry per public name, grouped by module."""

import importlib
import inspect
from collections.abc import Iterator

import rum_ray

INTRODUCTION = """\
# Python API

`import rum_ray as rr` offers these names. They load on first use: the import itself loads neither
PyTorch nor Ray. Everything else in the package may change between versions. `python docs/make.py`
writes this page; do not edit it.
"""


def render() -> dict[str, str]:
    """Return the page by its name."""
    return {"api.md": "\n".join([INTRODUCTION, *_sections()])}


def _sections() -> Iterator[str]:
    """Yield one section per module that has public names."""
    modules: dict[str, list[str]] = {}
    for name, module in rum_ray._MODULE_OF.items():
        modules.setdefault(module, []).append(name)
    for module, names in sorted(modules.items()):
        doc = inspect.getdoc(importlib.import_module(f"rum_ray.{module}")) or ""
        summary = " ".join(doc.partition("\n\n")[0].split())
        yield f"## {module}\n\n{summary}\n"
        yield from (f"::: {_path(module, name)}\n" for name in names)


def _path(module: str, name: str) -> str:
    """Return where a public name is defined."""
    thing = getattr(rum_ray, name)
    if inspect.isroutine(thing) or inspect.isclass(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    return f"rum_ray.{module}.{name}"


if __name__ == "__main__":
    print(render()["api.md"])
