"""Blocks as Markdown, for a terminal or a pull request."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from rum_ray.report.blocks import (
    Block,
    Bullets,
    Code,
    Command,
    Details,
    Figure,
    KeyNumbers,
    Pair,
    Paragraph,
    Pictures,
    PlanSteps,
    Section,
    Strip,
    Table,
)

# Intervals keep their brackets, words their underscores; the rest may be markup somewhere.
_SPECIAL = re.compile(r"([\\`*|~$]|\[(?![\d\u2212])|^[#>+-](?= )|(?<!\w)_|_(?!\w))")


def render(sections: Sequence[Section]) -> str:
    """Return the sections as Markdown; the first one is the head."""
    parts = []
    for place, section in enumerate(sections):
        parts.append(f"{'##' if place else '#'} {_text(section.title)}")
        parts += [_text(section.eyebrow)] if section.eyebrow else []
        parts += [part for block in section.blocks for part in _block(block)]
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> list[str]:
    return _RENDERERS[type(block)](block)


def _paragraph(block: Paragraph) -> list[str]:
    return [_text(block.text)]


def _key_numbers(block: KeyNumbers) -> list[str]:
    rows = [[each.name, each.value, each.note] for each in block.numbers]
    return [_grid(["number", "value", ""], rows, {0, 2})]


def _table(block: Table) -> list[str]:
    shown = [column for column in block.columns if column.medium != "page"]
    words = {place for place, column in enumerate(shown) if column.words}
    table = _grid(*block.texts(), words)
    return [*_title(block.title), table, *([_text(block.caption)] if block.caption else [])]


def _figure(block: Figure | Pictures | Strip) -> list[str]:
    """Return the finding alone; its picture is on the page."""
    return _title(block.title)


def _plan(block: PlanSteps) -> list[str]:
    parts = []
    for step in block.steps:
        inside = f" ({', '.join(step.settings)})" if step.settings else ""
        parts.append(f"{step.subset}: {step.unlearner}{inside}")
    return [*_title(block.title), _text(f"{' → '.join(parts)} (cost {block.cost})")]


def _bullets(block: Bullets) -> list[str]:
    items = "\n".join(f"- {_text(item)}" for item in block.items)
    return [*_title(block.title), items or _text(block.absent)]


def _command(block: Command) -> list[str]:
    return [f"`{block.command}` {_text(block.purpose)}"]


def _code(block: Code) -> list[str]:
    """Fence a text with more backticks than it has in a row."""
    longest = max((len(run) for run in re.findall("`+", block.text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}yaml\n{block.text.rstrip()}\n{fence}"]


def _details(block: Details) -> list[str]:
    return [*_title(block.summary), *(part for each in block.blocks for part in _block(each))]


def _pair(block: Pair) -> list[str]:
    return [*_block(block.left), *_block(block.right)]


_RENDERERS: dict[type, Callable[[Any], list[str]]] = {
    Paragraph: _paragraph,
    KeyNumbers: _key_numbers,
    Table: _table,
    Figure: _figure,
    Pictures: _figure,
    Strip: _figure,
    PlanSteps: _plan,
    Bullets: _bullets,
    Command: _command,
    Code: _code,
    Details: _details,
    Pair: _pair,
}


def _title(title: str) -> list[str]:
    return [f"**{_text(title)}**"] if title else []


def _text(value: str) -> str:
    """Escape markup of Markdown and of HTML inside it, and keep the text on one line."""
    value = " ".join(value.split()).replace("&", "&amp;")
    value = re.sub(r"<(?! )", "&lt;", value)
    return _SPECIAL.sub(r"\\\1", value)


def _grid(header: Sequence[str], rows: Sequence[Sequence[str]], words: set[int]) -> str:
    rules = (":--" if place in words else "--:" for place in range(len(header)))
    head, *body = (f"| {' | '.join(map(_text, line))} |" for line in (header, *rows))
    return "\n".join([head, f"| {' | '.join(rules)} |", *body])
