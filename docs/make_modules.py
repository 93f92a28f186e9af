"""Render modules.md: every module of the package with the first line of its docstring."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "rum_ray"
INTRODUCTION = """\
# Modules

Every module of `rum_ray` with the first line of its docstring. `python docs/make.py` writes this
page; do not edit it. [Architecture](architecture.md) says how the folders depend on each other.
"""


def render() -> dict[str, str]:
    """Return the page by its name."""
    paths = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
    folders = dict.fromkeys(path.parent for path in paths)
    return {"modules.md": "\n".join([INTRODUCTION, *map(_folder, folders)])}


def _folder(folder: Path) -> str:
    """Return the section of one folder."""
    name = "/".join(("rum_ray", *folder.parts))
    return (
        "\n".join([f"## `{name}/`", "", "| module | content |", "| :-- | :-- |", *_rows(folder)])
        + "\n"
    )


def _rows(folder: Path) -> Iterator[str]:
    """Yield one row of the table per module of a folder, the package itself first."""
    for path in sorted(
        (PACKAGE / folder).glob("*.py"), key=lambda p: (p.stem != "__init__", p.stem)
    ):
        doc = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        line = doc.partition("\n")[0].replace("|", "&#124;")
        yield f"| `{path.stem}` | {line} |"


if __name__ == "__main__":
    print(render()["modules.md"])
