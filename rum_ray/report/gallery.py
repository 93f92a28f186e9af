"""Pictures of examples, as PNG inside the page: sharp, small, and drawn from what was learned."""

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.image
import numpy as np
from numpy.typing import NDArray

LARGEST_SIDE = 64


@dataclass(frozen=True)
class Picture:
    """One training example and how hard it is to forget.

    Attributes:
        id: its row in the source.
        pixels: uint8 [C, H, W] with one channel or three.
        label: the label it was learned with.
        true_label: the right one; None where nobody knows.
        score: higher is harder to forget; NaN where unknown.
        group: `most` for the most memorized, `low` and `medium` for those to compare with.
    """

    id: int
    pixels: NDArray[np.uint8]
    label: str
    true_label: str | None
    score: float
    group: Literal["most", "low", "medium"]

    @property
    def is_mislabelled(self) -> bool:
        """Return whether the label is known to be wrong."""
        return self.true_label is not None and self.true_label != self.label

    def png(self) -> str:
        """Return the picture as a `data:` address, at most 64 pixels a side."""
        pixels = np.moveaxis(_shrunk(self.pixels), 0, -1)
        if pixels.shape[-1] == 1:
            pixels = np.repeat(pixels, 3, axis=-1)
        # Without `Software`, which would name a version of matplotlib.
        buffer = io.BytesIO()
        options: dict[str, Any] = {"format": "png", "metadata": {"Software": None}}
        matplotlib.image.imsave(buffer, np.ascontiguousarray(pixels), **options)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


@dataclass(frozen=True)
class Gallery:
    """The most memorized examples, and some of low and medium score to compare with."""

    pictures: tuple[Picture, ...] = ()

    def group(self, name: str) -> tuple[Picture, ...]:
        """Return the pictures of one group, in the order given."""
        return tuple(picture for picture in self.pictures if picture.group == name)


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average blocks until no side is longer than 64: a page of large photographs stays small."""
    channels, height, width = pixels.shape
    k = -(-max(height, width) // LARGEST_SIDE)
    if k == 1 or min(height, width) < k:
        return pixels
    height, width = height // k * k, width // k * k
    blocks = pixels[:, :height, :width].reshape(channels, height // k, k, width // k, k)
    means: NDArray[np.float64] = blocks.mean(axis=(2, 4))
    return means.round().astype(np.uint8)
