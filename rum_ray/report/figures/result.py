"""Figure of the result: ToW against MIA gap, one mark per method."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.transforms import Bbox

from rum_ray.report.figures.labels import Tag, place
from rum_ray.report.figures.style import COLORS, Look, new_figure, style_axes
from rum_ray.report.ranking import contestants, find, mean, metric, subject
from rum_ray.report.text import KNOWLEDGE, VARIANTS, finite, label, unlearner_title
from rum_ray.results.schema import Row

_ALONG = [step / 30 for step in range(1, 30)]  # points of a line that labels keep off
SHAPES = {"vanilla": "o", "shuffle": "^", "rum_f": "s"}


@dataclass(frozen=True)
class Mark:
    """A method in the plane: its place, half of its intervals, and its look."""

    row: Row
    x: float
    y: float
    dx: float
    dy: float
    shape: str
    color: str
    size: float


def families(rows: Sequence[Row]) -> list[str]:
    """Return the unlearners that have a hue of their own, in order of appearance."""
    return list(dict.fromkeys(str(row.unlearner) for row in rows if row.method in VARIANTS))


def marks(rows: Sequence[Row], x: str, y: str) -> list[Mark]:
    """Return the marks of all rows with both metrics, except the retrained model's."""
    hues = {name: COLORS.family(i) for i, name in enumerate(families(rows))}
    found, picked = [], subject(rows)
    for row in rows:
        across, up = mean(row, x), mean(row, y)
        if row.method == "retrained" or across is None or up is None:
            continue
        shape, color, size = "D", COLORS.muted, 6.0
        if row.method in SHAPES:
            shape, color = SHAPES[row.method], hues[str(row.unlearner)]
        elif row.method == "rum":
            beside = row is not picked
            shape, color, size = "*", COLORS.accent, 9.0 if beside else 15.0
        elif row.method in ("original", "retrained_again"):
            shape, color = ("X" if row.method == "original" else "P"), COLORS.grey
            size = 8.0
        dx, dy = (finite(metric(row, name).ci95) or 0.0 for name in (x, y))
        found.append(Mark(row, across, up, dx, dy, shape, color, size))
    return found


def draw_marks(axes: Axes, shown: Sequence[Mark], bars: bool = True) -> None:
    """Draw marks with their interval bars, RUM's last and on top."""
    for order, mark in enumerate(sorted(shown, key=lambda mark: mark.size)):
        if bars:
            line: Look = {"color": mark.color, "linewidth": 1.0, "alpha": 0.55, "zorder": 2}
            axes.plot([max(0.0, mark.x - mark.dx), mark.x + mark.dx], [mark.y] * 2, **line)
            axes.plot([mark.x] * 2, [mark.y - mark.dy, mark.y + mark.dy], **line)
        size = mark.size if bars else mark.size * 0.7
        edge: Look = {"markeredgecolor": COLORS.paper, "markeredgewidth": 0.7}
        axes.plot(mark.x, mark.y, mark.shape, color=mark.color, ms=size, zorder=3 + order, **edge)


def tags(shown: Sequence[Mark]) -> list[Tag]:
    """Return the labels of marks: one per family, at its most telling mark, and all others."""
    found, families_seen = [], set()
    order = {"rum": 0, "retrained_again": 1, "original": 2, "best_single": 3, "rum_f": 4}

    def rank(mark: Mark) -> int:
        if mark.row.source in KNOWLEDGE or mark.row.method not in order:
            return 5
        return order[mark.row.method]

    for mark in sorted(shown, key=rank):
        method = mark.row.method
        text, color = label(mark.row), mark.color
        if method in VARIANTS:
            if mark.row.unlearner in families_seen:
                continue
            families_seen.add(mark.row.unlearner)
            text = unlearner_title(mark.row.unlearner)
        elif method != "rum":
            color = COLORS.muted
        text = "noise floor: retrained again" if method == "retrained_again" else text
        found.append(Tag(mark.x, mark.y, text, color, bold=rank(mark) == 0, must=rank(mark) < 4))
    return found


def write_tags(axes: Axes, shown: Sequence[Mark]) -> None:
    """Label the marks, clear of each other, of their bars, and of the lines that join them."""
    boxes = [Bbox.from_extents(m.x - m.dx, m.y, m.x + m.dx, m.y) for m in shown]
    boxes += [Bbox.from_extents(m.x, m.y - m.dy, m.x, m.y + m.dy) for m in shown]
    for kin in _kin(shown):
        for a, b in pairwise(kin):
            along = [(a.x + t * (b.x - a.x), a.y + t * (b.y - a.y)) for t in _ALONG]
            boxes += [Bbox.from_extents(x, y, x, y) for x, y in along]
    place(axes, tags(shown), [(mark.x, mark.y) for mark in shown], boxes)


def _near(shown: Sequence[Mark]) -> list[Mark]:
    """Return the marks that are not as far from the best one as doing nothing is."""
    nothing = [mark.y - mark.x for mark in shown if mark.row.method == "original"]
    top = max(mark.y - mark.x for mark in shown)
    if not nothing or top - nothing[0] < 0.1:
        return list(shown)
    near = [mark for mark in shown if top - (mark.y - mark.x) < 0.6 * (top - nothing[0])]
    return near if len(near) < len(shown) else list(shown)


def _frame(axes: Axes, shown: Sequence[Mark]) -> None:
    """Set limits that include the marks, their bars, and the ideal corner."""
    right = max(mark.x + mark.dx for mark in shown)
    low = min(mark.y - mark.dy for mark in shown)
    high = max(1.0 if right < 0.5 else 0.0, max(mark.y + mark.dy for mark in shown))
    axes.set_xlim(-0.03 * right - 1e-3, 1.1 * right + 1e-3)
    axes.set_ylim(low - 0.08 * (high - low) - 1e-3, min(high + 0.02 * (high - low), 1.02))


def _floor(axes: Axes, rows: Sequence[Row], gap: str) -> None:
    """Shade the corner of results better than the noise floor: no method belongs there."""
    floor = find(rows, "retrained_again")
    across, tow = mean(floor, gap), mean(floor, "tow")
    if across is None or tow is None:
        return
    left, top = axes.get_xlim()[0], axes.get_ylim()[1]
    look: Look = {"facecolor": COLORS.grey, "alpha": 0.22, "linewidth": 0, "zorder": 0}
    axes.add_patch(Rectangle((left, tow), across - left, top - tow, **look))


def join(axes: Axes, shown: Sequence[Mark]) -> None:
    """Join the relatives of a family with a line: vanilla, shuffle, RUM^F."""
    for kin in _kin(shown):
        line: Look = {"color": kin[0].color, "linewidth": 0.8, "alpha": 0.6, "zorder": 1}
        axes.plot([mark.x for mark in kin], [mark.y for mark in kin], **line)


def _kin(shown: Sequence[Mark]) -> list[list[Mark]]:
    """Return the relatives of each family, from vanilla to RUM^F."""
    found: dict[str, list[Mark]] = {}
    for kind in SHAPES:
        for mark in shown:
            if mark.row.method == kind:
                found.setdefault(str(mark.row.unlearner), []).append(mark)
    return list(found.values())


def result(rows: Sequence[Row], gap: str) -> Figure:
    """Draw ToW against MIA gap: all methods on the left, the better ones enlarged on the right."""
    shown = marks([*contestants(rows), *_floor_rows(rows)], gap, "tow")
    near = _near(shown)
    split = len(near) < len(shown)
    figure = new_figure(5.2)
    grid = figure.add_gridspec(1, 2 if split else 1, width_ratios=[1, 2.7] if split else None)
    main = figure.add_subplot(grid[0, -1])
    style_axes(main)
    _frame(main, near)
    _floor(main, rows, gap)
    join(main, near)
    draw_marks(main, near)
    main.set_xlabel("MIA gap to the retrained model  (fraction; left is better)")
    main.set_title("Near: the part in the frame" if split else "")
    main.set_ylabel("" if split else "ToW  (fraction; up is better)")
    if split:
        far = figure.add_subplot(grid[0, 0])
        _overview(far, shown, main)
        _floor(far, rows, gap)
    figure.get_layout_engine().execute(figure)  # type: ignore[union-attr]
    figure.set_layout_engine("none")
    write_tags(main, near)
    if split:
        write_tags(far, [mark for mark in shown if mark not in near or mark.size > 9])
    return figure


def _floor_rows(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.method == "retrained_again"]


def _overview(axes: Axes, shown: Sequence[Mark], main: Axes) -> None:
    """Draw all marks small, with a frame around the enlarged part."""
    style_axes(axes)
    _frame(axes, shown)
    draw_marks(axes, shown, bars=False)
    (left, right), (low, high) = main.get_xlim(), main.get_ylim()
    look: Look = {"fill": False, "edgecolor": COLORS.muted, "linewidth": 0.8, "zorder": 1}
    axes.add_patch(Rectangle((left, low), right - left, high - low, linestyle=(0, (3, 2)), **look))
    axes.set_title("From afar: all methods")
    axes.set_xlabel("MIA gap  (fraction)")
    axes.set_ylabel("ToW  (fraction; up is better)")
