"""The report's pictures: the most memorized examples, and some to compare with."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rum_ray.data.bundle import LabeledData
from rum_ray.report.gallery import Gallery, Picture
from rum_ray.study.study import Study


def gallery(study: Study, most: int = 20, others: int = 10) -> Gallery:
    """Return pictures of the most memorized examples, and of low and medium ones.

    Empty if the data are no images of one or three channels.
    """
    train = study.context.bundle.train
    if train.x.ndim != 4 or train.x.shape[1] not in (1, 3):
        return Gallery()
    values = study.scores.values
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(-values[known], kind="stable")]
    middle = known[np.argsort(np.abs(values[known] - 0.5), kind="stable")]
    chosen = [("most", row) for row in order[:most]]
    chosen += [("medium", row) for row in middle[:others]]
    chosen += [("low", row) for row in order[::-1][:others]]
    return Gallery(tuple(_picture(study, group, int(row)) for group, row in chosen))


def _picture(study: Study, group: Any, row: int) -> Picture:
    """Return the picture of a training example."""
    bundle = study.context.bundle
    names = bundle.class_names or tuple(map(str, range(bundle.num_classes)))
    truth = bundle.true_labels
    return Picture(
        id=int(bundle.train.ids[row]),
        pixels=_bytes(bundle.train, row),
        label=names[int(bundle.train.y[row])],
        true_label=None if truth is None else names[int(truth[row])],
        score=float(study.scores.values[row]),
        group=group,
    )


def _bytes(data: LabeledData, row: int) -> NDArray[np.uint8]:
    """Return one image as bytes [C, H, W]."""
    image = data.x[row]
    if image.dtype != torch.uint8:
        image = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels: NDArray[np.uint8] = image.numpy()
    return pixels
