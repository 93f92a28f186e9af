"""Render api.md: one mkdocstrings entry per public name, grouped by part of the package."""

import inspect
from collections.abc import Iterator

import rum_ray

INTRODUCTION = """\
# Python API

`import rum_ray as rr` offers these names. They load on first use: the import itself loads neither
PyTorch nor Ray. Everything else in the package may change between versions. `python docs/make.py`
writes this page; do not edit it.
"""


TITLES = {
    "api": "Experiments and reports",
    "study": "Executors",
    "cluster": "On Ray",
    "data": "Data sets",
    "models": "Models",
    "seeding": "Seeds",
    "training": "Training",
    "scores": "Scores",
    "refinement": "Forget sets and refiners",
    "rum": "Plans",
    "unlearning": "Unlearners",
    "evaluation": "Metrics and attacks",
}
"""Headings of the parts of the package, in the order of the page; others follow by name."""


def render() -> dict[str, str]:
    """Return the page by its name."""
    return {"api.md": "\n".join([INTRODUCTION, *_sections()])}


def _sections() -> Iterator[str]:
    """Yield one section per part of the package that has public names."""
    parts: dict[str, list[str]] = {}
    for name, module in rum_ray._MODULE_OF.items():
        parts.setdefault(module.partition(".")[0], []).append(_path(module, name))
    order = [*TITLES, *sorted(parts)]
    for part in sorted(parts, key=order.index):
        yield f"## {TITLES.get(part, part.capitalize())}\n"
        yield from (f"::: {path}\n" for path in parts[part])


def _path(module: str, name: str) -> str:
    """Return where a public name is defined."""
    thing = getattr(rum_ray, name)
    if inspect.isroutine(thing) or inspect.isclass(thing):
        return f"{thing.__module__}.{thing.__qualname__}"
    return f"rum_ray.{module}.{name}"


if __name__ == "__main__":
    print(render()["api.md"])
