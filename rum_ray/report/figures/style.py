"""Style of the figures: SVG whose text stays text, in the colours of the page.

A figure is drawn once, in the colours of `COLORS`. `draw` replaces each of them by the variable of
the page's style that has its name, so that one drawing serves light and dark pages. Pyplot is not
used, so no figure outlives its drawing. Neither a clock nor a random id enters the SVG: equal
numbers give equal bytes.
"""

import html
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rum_ray.report.text import clean

POINTS_TO_PIXELS = 4 / 3
WIDE = 10.0  # inches: 960 pixels, the page's full width

Look = dict[str, Any]  # of a mark: keyword arguments of matplotlib


@dataclass(frozen=True)
class Theme:
    """Colours of the page and its figures; no two of a theme are equal.

    Attributes:
        ink: text and the marks that matter.
        muted: secondary text, axes.
        grey: marks that only give context.
        rule: lines of tables, grids.
        panel: background of boxes.
        paper: the page.
        accent: RUM's plan, and wrong labels; nothing else.
        families: one hue per family of methods. They and the accent can be told apart with the
            three kinds of colour blindness, and are legible as text.
    """

    ink: str
    muted: str
    grey: str
    rule: str
    panel: str
    paper: str
    accent: str
    families: tuple[str, ...]

    def family(self, index: int) -> str:
        """Return the hue of a family; hues repeat, since marks carry their names as well."""
        return self.families[index % len(self.families)]

    def variables(self) -> dict[str, str]:
        """Return the variables of the page's style and their colours."""
        names = [field.name for field in fields(self) if field.name != "families"]
        hues = {f"--hue{index}": hue for index, hue in enumerate(self.families)}
        return {f"--{name}": getattr(self, name) for name in names} | hues


LIGHT = Theme(
    ink="#1c2127",
    muted="#59626c",
    grey="#8d96a0",
    rule="#dde1e5",
    panel="#f3f4f2",
    paper="#fdfdfc",
    accent="#c8420a",
    families=("#3773cd", "#1d5841", "#c1449b", "#6d3295", "#7e4620", "#3030c0"),
)
DARK = Theme(
    ink="#e7eaed",
    muted="#a2abb5",
    grey="#78828c",
    rule="#343b43",
    panel="#20252a",
    paper="#15181b",
    accent="#ff8f4f",
    families=("#8196e9", "#2caf7b", "#efa4e7", "#93ecda", "#dada2b", "#bfe699"),
)
COLORS = LIGHT
"""Colours to draw in; the page replaces them."""
_VARIABLES = {color: f"var({name})" for name, color in COLORS.variables().items()}

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.color": COLORS.ink,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.titlecolor": COLORS.ink,
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.8,
}


def draw(name: str, alt: str, figure: Callable[[], Figure]) -> str:
    """Return a figure as an SVG element, in which all names are escaped.

    Args:
        name: of the figure, unique in the page; its ids derive from it.
        alt: the finding, for those who do not see the figure.
        figure: draws it in the colours of `COLORS`.
    """
    buffer = io.StringIO()
    # Of any type, since matplotlib's stubs take none but literal keys.
    settings: Any = {**_SETTINGS, "svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # The reader's fonts draw the text, so glyphs missing in the measuring font do not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        drawn = figure()
        drawn.patch.set_alpha(0)
        drawn.savefig(buffer, format="svg", metadata={"Date": None})
        points = [72 * side for side in drawn.get_size_inches()]
    box = f"0 0 {points[0]:.6g} {points[1]:.6g}"
    width, height = (round(POINTS_TO_PIXELS * side) for side in points)
    size = f'viewBox="{box}" width="{width}" height="{height}"'
    opening = f'<svg role="img" aria-label="{html.escape(alt)}" {size}>'
    return clean(f"{opening}\n{_body(buffer.getvalue())}\n</svg>")


def _body(svg: str) -> str:
    """Return the content of an SVG file, fit to stand in a page beside others.

    Its text takes the page's fonts, its colours the page's variables. Ids without a reference,
    comments, and the style that would apply to the whole page are removed.
    """
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    for pattern in (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style .*?</style>"):
        body = re.sub(pattern, "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"font-family: [^;\"]*; ", "", body)
    body = re.sub(r"font: (?:(bold|\d+) )?([\d.]+px) [^;\"]*", _font, body)
    body = re.sub(r'(<[^>]*?) fill="(#[0-9a-f]{6})"', r'\1 style="fill: \2"', body)
    body = re.sub(r"((?:fill|stroke): )(#[0-9a-f]{6})", _color, body)
    body = body.replace("xlink:href", "href").replace("<defs>\n </defs>", "")
    body = body.replace("RUM^F", 'RUM<tspan dy="-0.35em" font-size="75%">F</tspan>')
    return re.sub(r"\n\s*", "\n", body).strip()


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1]}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}"


def _color(match: re.Match[str]) -> str:
    color = _VARIABLES[match[2]] if match[2] in _VARIABLES else match[2]
    return f"{match[1]}{color}"


def new_figure(height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of a height in inches, with a canvas that can measure text."""
    figure = Figure(figsize=(WIDE, height), dpi=72, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def style_axes(axes: Axes, grid: str = "both") -> None:
    """Style the axes: two spines, light grid, muted tick labels."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(COLORS.grey)
    axes.tick_params(colors=COLORS.muted, length=3, width=0.8)
    axes.xaxis.label.set_color(COLORS.muted)
    axes.yaxis.label.set_color(COLORS.muted)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(axis=grid, color=COLORS.rule, linewidth=0.6)  # type: ignore[arg-type]
