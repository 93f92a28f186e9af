"""Seeded batches of data that are resident on the device.

The order of examples is a function of a `Seed` alone. The augmentation of an example is a function
of the `Seed` and the example's id. Neither depends on workers, restarts or the other examples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rum_ray.data.bundle import Indices, LabeledData
from rum_ray.seeding import Seed

PREDICTION_BATCH = 250
CROP_PADDING = 4


@dataclass(frozen=True, eq=False)
class Batches:
    """Shuffled batches of a data set; each epoch has its own order.

    Attributes:
        data: the data set.
        size: examples per batch; the last batch may be smaller.
        device: device of the batches.
        augment: crop images at random (4 pixels of padding) and mirror them at random.
        rows: rows of the examples to use; all by default.
    """

    data: LabeledData
    size: int
    device: torch.device
    augment: bool = False
    rows: Indices | None = None

    def __len__(self) -> int:
        return -(-len(self.data if self.rows is None else self.rows) // self.size)

    def epoch(self, seed: Seed) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (rows [B], inputs [B, ...], labels [B]); `seed` fixes order and augmentation."""
        inputs, labels = self._inputs
        rows = np.arange(len(self.data)) if self.rows is None else self.rows
        shuffled = rows[(seed / "order").permutation(len(rows))]
        order = torch.from_numpy(shuffled).to(self.device)
        draws = self._draws(seed / "augment") if self.augment else None
        for rows in order.split(self.size):
            x = inputs.index_select(0, rows)
            if draws is not None:
                x = crop_and_flip(x, draws[rows])
            yield rows, to_float(x), labels[rows]

    @cached_property
    def _inputs(self) -> tuple[Tensor, Tensor]:
        """Inputs and labels on the device; they are copied once, not once per epoch."""
        if self.rows is not None:
            return resident(self.data, self.device)
        return self.data.x.to(self.device), self.data.y.to(self.device)

    def _draws(self, seed: Seed) -> Tensor:
        """Return [N] random words; each depends on its example's id alone."""
        ids = self.data.ids
        words = seed.words(int(ids.max()) + 1)[ids] >> np.uint64(1)
        return torch.from_numpy(words.astype(np.int64)).to(self.device)


@lru_cache(maxsize=2)
def resident(data: LabeledData, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return inputs and labels on the device; the last two data sets stay cached there.

    D is therefore copied once per process, not once per model.
    """
    return data.x.to(device), data.y.to(device)


def crop_and_flip(x: Tensor, draws: Tensor) -> Tensor:
    """Return images [B, C, H, W], shifted by up to 4 pixels and mirrored according to `draws` [B].

    The result is channels-last. Whole pixels are gathered from the flattened padded images.
    """
    count, channels, height, width = x.shape
    side = 2 * CROP_PADDING + 1
    dy, dx, flip = draws % side, draws // side % side, draws // side**2 % 2
    columns = torch.arange(width, device=x.device).expand(count, -1)
    columns = torch.where(flip[:, None] == 1, width - 1 - columns, columns) + dx[:, None]
    padded = F.pad(x, [CROP_PADDING] * 4).permute(0, 2, 3, 1)
    first = torch.arange(count, device=x.device) * padded.shape[1] + dy
    rows = torch.arange(height, device=x.device) + first[:, None]
    pixels = (rows[:, :, None] * padded.shape[2] + columns[:, None, :]).flatten()
    cut = padded.reshape(-1, channels).index_select(0, pixels)
    return cut.view(count, height, width, channels).permute(0, 3, 1, 2)


def to_float(x: Tensor) -> Tensor:
    """Return inputs as float32; uint8 images are scaled to [0, 1]."""
    return x.float().div_(255.0) if x.dtype == torch.uint8 else x


def fixed_batches(x: Tensor, device: torch.device) -> Iterator[tuple[Tensor, int]]:
    """Yield (inputs [250, ...], number of real inputs) in order; zeros pad the last batch.

    With a fixed batch size, an example's prediction has the same bits whatever the other examples.
    """
    for part in x.split(PREDICTION_BATCH):
        inputs = to_float(part.to(device))
        missing = PREDICTION_BATCH - len(part)
        if missing:
            inputs = torch.cat([inputs, inputs.new_zeros(missing, *inputs.shape[1:])])
        yield inputs, len(part)
