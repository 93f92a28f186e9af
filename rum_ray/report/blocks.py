"""The blocks of a section: data only, the same for HTML, Markdown and the terminal."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rum_ray.report.gallery import Picture


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; `lead` opens the page, `conditions` and `note` are set smaller."""

    text: str
    style: Literal["", "lead", "conditions", "note"] = ""


@dataclass(frozen=True)
class KeyNumber:
    """A large number: its name above, a note below."""

    name: str
    value: str
    note: str
    strong: bool = False


@dataclass(frozen=True)
class KeyNumbers:
    """The few numbers at the top."""

    numbers: tuple[KeyNumber, ...]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its header.
        words: True for words, set left; numbers are set right.
        medium: "page" for drawings, which HTML alone shows; "text" for what stands in their place
            in Markdown and on the terminal.
    """

    title: str
    words: bool = False
    medium: Literal["all", "page", "text"] = "all"


@dataclass(frozen=True)
class Bar:
    """A value in [0, 1] beside the one it is compared with; None where it is unknown."""

    name: str
    value: float | None
    target: float | None


@dataclass(frozen=True)
class Bars:
    """A drawing: one bar per value, with a stroke at its target."""

    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class Share:
    """A drawing: a bar filled from 0 to 1."""

    value: float


@dataclass(frozen=True)
class Range:
    """A drawing: an interval with its middle, on the axis from `left` to `right`, and zero."""

    low: float
    mean: float
    high: float
    left: float
    right: float


@dataclass(frozen=True)
class Chip:
    """A drawing: the number of a part of a strip, in its colour."""

    number: int


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what every medium shows.
        tag: a mark behind the text, such as "best".
        drawing: what HTML draws beside the text.
        link: a page beside this one, to which the text leads in HTML.
    """

    text: str = ""
    tag: str = ""
    drawing: Bars | Share | Range | Chip | None = None
    link: str = ""

    @property
    def plain(self) -> str:
        """The text with its tag."""
        return f"{self.text}, {self.tag}" if self.tag else self.text


@dataclass(frozen=True)
class TableRow:
    """A row of a table; its first cell names it.

    Attributes:
        cells: one per column.
        style: "rum" and "best" stand out in results, "shown" in claims.
        group: rows of different groups are set apart by a rule.
    """

    cells: tuple[Cell, ...]
    style: Literal["", "rum", "best", "rum best", "shown"] = ""
    group: int = 0


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of the table, unique in the page.
        columns: the header.
        rows: the body.
        title: the finding above it; empty for none.
        caption: how to read it.
        legend: how to read its drawings; shown with them.
        style: of its layout.
    """

    name: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    title: str = ""
    caption: str = ""
    legend: str = ""
    style: Literal["", "compact", "results", "metrics"] = ""

    def texts(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows as text, without the columns of drawings."""
        shown = [place for place, column in enumerate(self.columns) if column.medium != "page"]
        rows = [[row.cells[place].plain for place in shown] for row in self.rows]
        return [self.columns[place].title for place in shown], rows


@dataclass(frozen=True)
class Figure:
    """A figure: the finding above it, SVG markup, and how to read it."""

    name: str
    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class PictureGroup:
    """Pictures with a heading; empty for none."""

    title: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Pictures:
    """Pictures of examples: the first group across the page, the others side by side."""

    title: str
    caption: str
    groups: tuple[PictureGroup, ...]


@dataclass(frozen=True)
class PlanBox:
    """A step of a plan: the subset with a note on it, the unlearner and its settings."""

    subset: str
    note: str
    unlearner: str
    settings: tuple[str, ...]


@dataclass(frozen=True)
class PlanSteps:
    """A plan, drawn as a row of boxes in the order of unlearning."""

    title: str
    caption: str
    steps: tuple[PlanBox, ...]
    cost: str


@dataclass(frozen=True)
class Strip:
    """A bar of labelled parts, such as stages by their share of the time."""

    title: str
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Bullets:
    """A list with a heading; `absent` stands where it is empty."""

    title: str
    items: tuple[str, ...]
    absent: str


@dataclass(frozen=True)
class Command:
    """A command to type, and what it does."""

    command: str
    purpose: str


@dataclass(frozen=True)
class Code:
    """Text to copy as it is."""

    name: str
    text: str


@dataclass(frozen=True)
class Details:
    """Blocks that a reader may fold away."""

    summary: str
    blocks: "tuple[Block, ...]"
    is_open: bool = False


@dataclass(frozen=True)
class Pair:
    """Two blocks side by side where there is room."""

    left: "Block"
    right: "Block"


Block: TypeAlias = (
    Paragraph | KeyNumbers | Table | Figure | Pictures | PlanSteps | Strip
    | Bullets | Command | Code | Details | Pair
)  # fmt: skip
"""Everything that a section may contain."""


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: of its heading, unique in the page.
        title: the heading.
        blocks: its content.
        eyebrow: a line above the title of the page.
    """

    id: str
    title: str
    blocks: tuple[Block, ...]
    eyebrow: str = ""


def text_table(
    name: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    words: Sequence[int] = (0,),
    title: str = "",
    caption: str = "",
    style: Literal["", "compact", "metrics"] = "",
) -> Table:
    """Return a table of plain text; `words` are the places of columns that are set left."""
    return Table(
        name,
        tuple(Column(column, place in words) for place, column in enumerate(columns)),
        tuple(TableRow(tuple(map(Cell, row))) for row in rows),
        title,
        caption,
        style=style,
    )
