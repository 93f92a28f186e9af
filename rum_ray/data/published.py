"""Published data sets: two sources of a known form, and the parts that an experiment uses.

On the hubs a split is one Parquet file, `train.parquet`, or numbered ones such as
`train-00000-of-00002.parquet`. Other formats hold plain pixels; as PPM images, these take the same
way as all others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rum_ray.data.bundle import DataBundle, Indices
from rum_ray.data.classes import check_labels, check_range
from rum_ray.data.images import assemble, split_train
from rum_ray.data.parquet import as_data_error, open_parquet
from rum_ray.data.pixels import DecodeBatch, Layout, Pixels, decode_batch
from rum_ray.data.source import Source, open_parquet_files
from rum_ray.data.splits import stratified_split
from rum_ray.errors import ConfigError, DataError, first_ten
from rum_ray.files import read_regular
from rum_ray.seeding import Seed

SPLITS = ("train", "test")
MOST_BYTES = 2**29
"""Largest file that is read as a whole; those of plain pixels have 154 to 225 million bytes."""
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})\.parquet")


@dataclass(frozen=True)
class Form:
    """The form of a published data set.

    Attributes:
        name: its name in experiment files.
        title: its name in messages.
        classes: number of classes.
        shape: channels, height and width of the images.
        mean: mean of the pixels in [0, 1] per channel.
        std: standard deviation, likewise.
    """

    name: str
    title: str
    classes: int
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def bundle(
        self,
        sources: tuple[Source, Source],
        *,
        size: int | None,
        test_size: int | None,
        valid_fraction: float,
        seed: int,
        threads: int = 1,
    ) -> DataBundle:
        """Return D and V from the first source and T from the second, all stratified.

        Args:
            sources: the training and the test images.
            size: images in D and V together; None for all.
            test_size: images in T; None for all.
            valid_fraction: share of D and V in V.
            seed: seed of the splits.
            threads: threads that decode.

        Raises:
            ConfigError: a size is too small.
            DataError: there are too few images, or they have another form.
        """
        train, test = sources
        d, v = split_train(train.y, len(train.y) if size is None else size, valid_fraction, seed)
        t = np.arange(len(test.y))
        if test_size is not None:
            [t] = stratified_split(test.y, (test_size,), Seed(seed) / "data" / "test")
        decode: DecodeBatch = (
            decode_batch if threads == 1 else partial(decode_batch, threads=threads)
        )
        rows, statistics = (d, v, t), (self.mean, self.std)
        bundle = assemble(self.name, sources, rows, statistics, train.layout, decode)
        found, expected = (bundle.num_classes, *bundle.train.shape), (self.classes, *self.shape)
        if found != expected:
            raise DataError(
                f"{train.path} is not {self.title}: (classes, channels, height, width) are "
                f"{found}, not {expected}. For your own images, use the data set 'images'."
            )
        return bundle


def check_size(test_size: int | None) -> None:
    """Raise ConfigError unless T has an image."""
    if test_size is not None and test_size < 1:
        raise ConfigError(f"test_size must be at least 1, got {test_size}.")


def find_parquet(root: Path, title: str, others: str = "") -> tuple[list[Path], list[Path]]:
    """Return the Parquet files of the training and of the test images, in order.

    Args:
        root: their folder.
        title: name of the data set, for messages.
        others: other forms that the folder may have, for messages.

    Raises:
        DataError: a file is missing; the message has its name.
    """
    train, test = (_parquet_files(root, split) for split in SPLITS)
    missing = [f"{s}.parquet" for s, files in zip(SPLITS, (train, test), strict=True) if not files]
    if missing:
        raise DataError(
            f"data not found in {root}: {first_ten(missing, quote='')}. `root` must be the folder "
            f"with train.parquet and test.parquet of {title}{others}."
        )
    return train, test


def _parquet_files(root: Path, split: str) -> list[Path]:
    """Return the files of a split: one, or all of the numbered ones."""
    whole = root / f"{split}.parquet"
    if whole.exists():
        return [whole]
    found = {
        file: _SHARD.fullmatch(file.name.removeprefix(split)) for file in root.glob(f"{split}-*")
    }
    shards = {(int(match[1]), int(match[2])): file for file, match in found.items() if match}
    if not shards:
        return []
    total = max(total for _, total in shards)
    names = [f"{split}-{at:05}-of-{total:05}.parquet" for at in range(total)]
    missing = [name for name in names if not (root / name).exists()]
    if missing:
        raise DataError(f"{root} lacks {first_ten(missing)}. Get the data set again.")
    return [root / name for name in names]


def open_parquet_splits(
    files: tuple[list[Path], list[Path]], label: str | None, title: str
) -> tuple[Source, Source]:
    """Return the sources of training and test images.

    Args:
        files: Parquet files of either split.
        label: column of the labels; None looks for one.
        title: name of the data set, for messages.

    Raises:
        DataError: a file is damaged, or it has no such column.
        UnsafeError: a column could run code.
    """
    sources: list[Source] = []
    for paths in files:
        with open_parquet(paths[0]) as parquet:
            columns = parquet.schema_arrow.names
        if label is not None and label not in columns:
            raise DataError(
                f"{paths[0]} is not {title}: it has no column '{label}'; its columns are "
                f"{first_ten(columns)}."
            )
        root = paths[0] if len(paths) == 1 else paths[0].parent
        like = sources[0].classes if sources else None
        sources.append(open_parquet_files(root, paths, label, None, like))
    return sources[0], sources[1]


def raw_source(
    path: Path, pixels: Pixels, y: NDArray[Any], names: tuple[str, ...], like: Source | None = None
) -> Source:
    """Return the source of plain pixels.

    Args:
        path: their file, for messages.
        pixels: uint8 [N, 3, H, W].
        y: [N] integer labels.
        names: [K] names of the classes.
        like: the training images; None if these are they, which need all classes.

    Raises:
        DataError: a label is not in 0 .. K - 1, or a class has no training images.
    """
    labels = y.astype(np.int64)
    (check_labels if like is None else check_range)(labels, names, path)

    def encoded(rows: Indices) -> Iterator[tuple[str, bytes | None]]:
        for row in rows:
            image = pixels[row].transpose(1, 2, 0)
            header = f"P6 {image.shape[1]} {image.shape[0]} 255\n".encode()
            yield f"image {row} of {path}", header + image.tobytes()

    return Source(path, torch.from_numpy(labels), names, encoded, Layout(channels=3), numbered=True)


def read_file(path: Path) -> bytes:
    """Return the content of a plain file of at most 512 MiB; DataError otherwise."""
    with as_data_error(path):
        return read_regular(path, MOST_BYTES)
