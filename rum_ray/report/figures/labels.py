"""Labels of marks, placed without overlap.

The placement is greedy, the most important label first. A label tries places around its mark, near
ones before far ones, and takes the one that covers least. A label that would cover another one is
left out, unless it is required.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # left, low, right, high, in pixels

_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
_DISTANCES = (7.0, 11.0, 18.0, 27.0, 38.0, 52.0)
_LEADER_FROM = 14.0
_ALLOWED = 6.0  # square points that a label may cover


@dataclass(frozen=True)
class Tag:
    """A label of a mark.

    Attributes:
        x: place of the mark, in data coordinates.
        y: the same.
        text: of the label.
        color: of the text and its leader line.
        bold: True for the most important label.
        must: True to draw it even if it covers something.
    """

    x: float
    y: float
    text: str
    color: str
    bold: bool = False
    must: bool = False


def place(
    axes: Axes, tags: Sequence[Tag], marks: Sequence[tuple[float, float]], bars: Sequence[Bbox] = ()
) -> None:
    """Write `tags` into `axes` in their order, clear of `marks` and where possible of `bars`.

    Limits and layout must be final. `marks` and `bars` are in data coordinates.
    """
    around = 4.5
    points = axes.transData.transform(np.array(marks, dtype=float).reshape(-1, 2))
    boxes = [(x - around, y - around, x + around, y + around, 3.0) for x, y in points]
    for bar in bars:
        (left, low), (right, high) = axes.transData.transform([[bar.x0, bar.y0], [bar.x1, bar.y1]])
        boxes.append((left - 1, low - 1, right + 1, high + 1, 0.6))
    taken = np.array(boxes, dtype=float).reshape(-1, 5)
    for tag in tags:
        box = _write(axes, tag, taken)
        if box is not None:
            taken = np.vstack([taken, [*box, 20.0]])


def _write(axes: Axes, tag: Tag, taken: NDArray[np.float64]) -> Box | None:
    """Write one label at its best place; return its box, or None if there is no place."""
    mark = axes.transData.transform((tag.x, tag.y))
    weight = "bold" if tag.bold else "normal"
    look: dict[str, Any] = {
        "color": tag.color,
        "weight": weight,
        "size": 8.5,
        "annotation_clip": False,
    }
    text = axes.annotate(tag.text, (tag.x, tag.y), **look)
    extent, frame = text.get_window_extent(), axes.get_window_extent()
    best = min(_spots(mark, extent.width, extent.height, taken, frame), key=lambda spot: spot.cost)
    if best.covered > _ALLOWED and not tag.must:
        text.remove()
        return None
    box, side = best.box, best.side
    anchor = box[0] if side > 0 else box[2] if side < 0 else (box[0] + box[2]) / 2
    text.set(ha="left" if side > 0 else "right" if side < 0 else "center", va="center")
    text.xyann = (anchor - mark[0], (box[1] + box[3]) / 2 - mark[1])
    text.anncoords = "offset points"
    if best.distance >= _LEADER_FROM:
        _leader(axes, tag, mark, box)
    return box


@dataclass(frozen=True)
class _Spot:
    """A place for a label: its box, its cost, and its side of the mark."""

    box: Box
    cost: float
    covered: float
    side: int
    distance: float


def _spots(
    mark: NDArray[np.float64], width: float, height: float, taken: NDArray[np.float64], frame: Bbox
) -> Iterator[_Spot]:
    """Yield the candidate places around a mark for a label of a size, near ones first."""
    for rank, distance in enumerate(_DISTANCES):
        for order, (dx, dy) in enumerate(_AROUND):
            reach = distance if 0 in (dx, dy) else 0.7 * distance
            left = mark[0] + dx * reach + (dx - 1) * width / 2
            low = mark[1] + dy * reach + (dy - 1) * height / 2
            box = (left, low, left + width, low + height)
            covered = _covered(box, taken) + _outside(box, frame)
            cost = covered + 6.0 * rank + 0.5 * order + 100.0 * (covered > _ALLOWED)
            yield _Spot(box, cost, covered, dx, distance)


def _leader(axes: Axes, tag: Tag, mark: NDArray[np.float64], box: Box) -> None:
    """Draw the line from a mark to the nearest edge of its label."""
    end = (np.clip(mark[0], box[0], box[2]), np.clip(mark[1], box[1], box[3]))
    to_data = axes.transData.inverted()
    (x0, y0), (x1, y1) = to_data.transform(np.array([mark, end]))
    axes.plot([x0, x1], [y0, y1], color=tag.color, linewidth=0.5, alpha=0.7, zorder=1)


def _covered(box: Box, taken: NDArray[np.float64]) -> float:
    """Return the weighted overlap of a box with the taken ones."""
    wide = np.minimum(box[2], taken[:, 2]) - np.maximum(box[0], taken[:, 0])
    high = np.minimum(box[3], taken[:, 3]) - np.maximum(box[1], taken[:, 1])
    return float((np.clip(wide, 0, None) * np.clip(high, 0, None) * taken[:, 4]).sum())


def _outside(box: Box, frame: Bbox) -> float:
    """Return the excess of a box over the frame, as a large cost."""
    beyond = (frame.x0 - box[0], box[2] - frame.x1, frame.y0 - box[1], box[3] - frame.y1)
    return 50.0 * float(sum(max(0.0, excess) for excess in beyond))
