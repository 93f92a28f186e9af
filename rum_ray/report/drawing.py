"""How a figure is drawn: twice, on light and on dark paper, as SVG whose text is text.

Nothing of pyplot is used, so that no figure outlives its drawing; no clock and no random id gets
into the SVG, so that equal numbers give equal bytes.
"""

import html
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

POINTS_TO_PIXELS = 4 / 3
WIDE = 10.0  # inches: 960 pixels, the page's full width

Look = dict[str, Any]  # how a mark looks: keyword arguments of matplotlib


@dataclass(frozen=True)
class Theme:
    """Colours for one kind of paper; the page's own come from here too.

    Attributes:
        ink: text and the marks that matter.
        muted: second text, axes.
        grey: marks that only give context.
        rule: lines of tables, grids.
        panel: background of boxes.
        paper: the page.
        accent: RUM's plan, and labels that are wrong; nothing else.
        families: one hue a family of methods. They and the accent are chosen to stay apart for
            the three kinds of colour blindness, and to be legible as text.
    """

    name: str
    ink: str
    muted: str
    grey: str
    rule: str
    panel: str
    paper: str
    accent: str
    families: tuple[str, ...]

    def family(self, index: int) -> str:
        """Return the hue of a family; they repeat, since marks carry their names as well."""
        return self.families[index % len(self.families)]


LIGHT = Theme(
    name="light",
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
    name="dark",
    ink="#e7eaed",
    muted="#a2abb5",
    grey="#78828c",
    rule="#343b43",
    panel="#20252a",
    paper="#15181b",
    accent="#ff8f4f",
    families=("#8196e9", "#2caf7b", "#efa4e7", "#93ecda", "#dada2b", "#bfe699"),
)

_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "lines.solid_capstyle": "round",
    "hatch.linewidth": 0.8,
}


def draw(name: str, alt: str, figure: Callable[[Theme], Figure]) -> str:
    """Return a figure as two pictures, of which the page's style shows one.

    The result is markup, in which all names are escaped.

    Args:
        name: of the figure, unique in the page; its ids derive from it.
        alt: the finding, for those who do not see the figure.
        figure: draws it in the colours of a theme.
    """
    return "\n".join(_svg(f"{name}-{theme.name}", alt, figure, theme) for theme in (LIGHT, DARK))


def _svg(name: str, alt: str, figure: Callable[[Theme], Figure], theme: Theme) -> str:
    buffer = io.StringIO()
    # Of any type, since matplotlib's stubs take none but literal keys.
    settings: Any = {**_SETTINGS, "svg.hashsalt": name}
    settings |= {"text.color": theme.ink, "axes.titlecolor": theme.ink}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # Text is drawn in the reader's fonts: what the one that measures it lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        drawn = figure(theme)
        drawn.patch.set_alpha(0)
        drawn.savefig(buffer, format="svg", metadata={"Date": None})
        points = [72 * side for side in drawn.get_size_inches()]
    box = f"0 0 {points[0]:.6g} {points[1]:.6g}"
    width, height = (round(POINTS_TO_PIXELS * side) for side in points)
    size = f'viewBox="{box}" width="{width}" height="{height}"'
    opening = f'<svg class="{theme.name}" role="img" aria-label="{html.escape(alt)}" {size}>'
    return f"{opening}\n{_body(buffer.getvalue())}\n</svg>"


def _body(svg: str) -> str:
    """Return what an SVG file holds, fit to stand in a page beside others.

    Its text takes the page's fonts; ids that nothing refers to, comments and the style that would
    apply to the whole page go.
    """
    body = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    for pattern in (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style .*?</style>"):
        body = re.sub(pattern, "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"font-family: [^;\"]*; ", "", body)
    body = re.sub(r"font: (?:(bold|\d+) )?([\d.]+px) [^;\"]*", _font, body)
    body = body.replace("xlink:href", "href").replace("<defs>\n </defs>", "")
    body = body.replace("RUM^F", 'RUM<tspan dy="-0.35em" font-size="75%">F</tspan>')
    return re.sub(r"\n\s*", "\n", body).strip()


def _font(match: re.Match[str]) -> str:
    weight = f"font-weight: {match[1]}; " if match[1] else ""
    return f"{weight}font-size: {match[2]}"


def canvas(height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of a height in inches, with a canvas that can measure text."""
    figure = Figure(figsize=(WIDE, height), dpi=72, layout=layout)
    FigureCanvasAgg(figure)
    return figure


def quiet(axes: Axes, theme: Theme, grid: str = "both") -> None:
    """Leave of an axes what is read: two spines, faint lines, muted numbers."""
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(theme.grey)
    axes.tick_params(colors=theme.muted, length=3, width=0.8)
    axes.xaxis.label.set_color(theme.muted)
    axes.yaxis.label.set_color(theme.muted)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(axis=grid, color=theme.rule, linewidth=0.6)  # type: ignore[arg-type]
