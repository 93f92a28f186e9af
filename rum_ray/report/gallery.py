"""Pictures of training examples, as small PNG inside the page."""

import base64
import io
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib.image
import numpy as np
import torch
from numpy.typing import NDArray

from rum_ray.data import DataBundle
from rum_ray.scores import Scores

LARGEST_SIDE = 64

Group = Literal["most", "low", "medium"]


@dataclass(frozen=True)
class Picture:
    """One training example and its difficulty.

    Attributes:
        id: its row in the source.
        pixels: uint8 [C, H, W] with one channel or three.
        label: the label it was trained with.
        true_label: the correct one; None where it is unknown.
        score: higher is harder to forget; NaN where unknown.
        group: `most` for the highest scores, `low` and `medium` for comparison.
    """

    id: int
    pixels: NDArray[np.uint8]
    label: str
    true_label: str | None
    score: float
    group: Group

    @property
    def is_mislabelled(self) -> bool:
        """Return True if the label is known to be wrong."""
        return self.true_label is not None and self.true_label != self.label

    def png(self) -> str:
        """Return the picture as a `data:` address, at most 64 pixels per side."""
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
    """The examples with the highest scores, and some of low and medium score for comparison.

    Empty if the data are not images of one or three channels.
    """

    pictures: tuple[Picture, ...] = ()

    @classmethod
    def of(cls, bundle: DataBundle, scores: Scores, most: int = 20, others: int = 10) -> "Gallery":
        """Choose the pictures by score; examples without a score are left out."""
        if bundle.train.x.ndim != 4 or bundle.train.x.shape[1] not in (1, 3):
            return cls()
        values = scores.values
        known = np.flatnonzero(np.isfinite(values))
        order = known[np.argsort(-values[known], kind="stable")]
        middle = known[np.argsort(np.abs(values[known] - 0.5), kind="stable")]
        chosen: list[tuple[Group, int]] = [("most", row) for row in order[:most]]
        chosen += [("medium", row) for row in middle[:others]]
        chosen += [("low", row) for row in order[::-1][:others]]
        return cls(tuple(_picture(bundle, values, group, int(row)) for group, row in chosen))

    def group(self, name: Group) -> tuple[Picture, ...]:
        """Return the pictures of one group, in the order given."""
        return tuple(picture for picture in self.pictures if picture.group == name)


def _picture(bundle: DataBundle, values: NDArray[np.float64], group: Group, row: int) -> Picture:
    names = bundle.class_names or tuple(map(str, range(bundle.num_classes)))
    truth, image = bundle.true_labels, bundle.train.x[row]
    if image.dtype != torch.uint8:
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    return Picture(
        id=int(bundle.train.ids[row]),
        pixels=image.numpy(),
        label=names[int(bundle.train.y[row])],
        true_label=None if truth is None else names[int(truth[row])],
        score=float(values[row]),
        group=group,
    )


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average blocks of pixels until no side is longer than 64."""
    channels, height, width = pixels.shape
    k = -(-max(height, width) // LARGEST_SIDE)
    if k == 1 or min(height, width) < k:
        return pixels
    height, width = height // k * k, width // k * k
    blocks = pixels[:, :height, :width].reshape(channels, height // k, k, width // k, k)
    means: NDArray[np.float64] = blocks.mean(axis=(2, 4))
    return means.round().astype(np.uint8)
