"""Your own images: Parquet files with image bytes, or a folder with one sub-folder per class.

Images have 1 channel if all training images are grey, else 3 (RGB). Classes and channels are those
of the training source; the test source may lack classes. The mean and the standard deviation of D
normalise the inputs. With fit: crop, the pixels are those of torchvision's Resize and CenterCrop.
"""

import logging
import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from rum_ray.data.bundle import DataBundle, Indices, LabeledData
from rum_ray.data.cache import PixelCache
from rum_ray.data.classes import Classes
from rum_ray.data.ids import KnownIds
from rum_ray.data.pixels import DecodeBatch, Exif, Fit, Images, Layout, decode_batch
from rum_ray.data.reading import Reading
from rum_ray.data.source import Source, make_layout, open_source
from rum_ray.data.splits import stratified_split
from rum_ray.errors import ConfigError, DataError, first_ten
from rum_ray.seeding import Seed

TEST_FRACTION = 0.2
"""Share of the training images that become T where there is no test source."""
MOST_THREADS = 16
COUNTED = 2**20
"""Pixels that are counted at once; counting takes 8 bytes per pixel and channel."""
Parts: TypeAlias = tuple[Indices, Indices, Indices]
"""Sorted rows of D, V and T."""


def images(
    *,
    train: str,
    test: str | None = None,
    size: int | tuple[int, int] | None = None,
    fit: Fit = "crop",
    exif: Exif = "apply",
    label: str | None = None,
    id: str | None = None,
    valid_fraction: float = 0.1,
    seed: int = 0,
    reading: Reading = Reading(),  # noqa: B008 - an immutable value
) -> DataBundle:
    """Return your own images, with V as a stratified part of the training images.

    Args:
        train: path of D and V, see `open_source`; `~` is the home folder.
        test: path of T; by default a stratified fifth of the images of `train`.
        size: pixels per side, or [height, width]; by default the one size that all images have.
        fit: how an image fills `size`: `crop` scales the smaller side and cuts the middle, `pad`
            scales the larger side and adds black, `stretch` scales both sides.
        exif: `apply` turns an image as its EXIF orientation says; `ignore` leaves it as stored, as
            torchvision does.
        label: Parquet column of labels; by default `label`, `labels`, or the only possible one.
        id: Parquet column of ids, in place of row numbers.
        valid_fraction: share of the training images in V, in [0, 1); only a search and the proxy
            `heldout` need V.
        seed: seed of the split into D, V and, without `test`, T.
        reading: ids in D whatever the split, a cache, and the parts, classes and channels of an
            earlier reading.

    Raises:
        ConfigError: `valid_fraction` leaves D or V empty, or an option does not fit the source.
        DataError: a source is missing or damaged, or an image does not fit the others.
        UnsafeError: a column could run code, or an image has more than 50 megapixels.
    """
    layout = replace(make_layout(size, fit, exif), channels=reading.channels)
    if test is not None:
        _check_apart(Path(train).expanduser(), Path(test).expanduser())
    source = open_source(train, label=label, id=id, like=Classes.of_model(reading.classes))
    tested = source if test is None else open_source(test, label=label, like=source)
    rows = _split(source, tested, valid_fraction, seed, reading)
    decode = _decoder(layout, reading.cache)
    return assemble("images", (source, tested), rows, layout=layout, decode=decode)


def _check_apart(train: Path, test: Path) -> None:
    """Raise ConfigError if the test source is the training source, is in it, or has it."""
    ours, theirs = train.resolve(), test.resolve()
    same = ours.exists() and theirs.exists() and ours.samefile(theirs)
    if same or ours in theirs.parents or theirs in ours.parents:
        raise ConfigError(
            f"data.test: {test} {'is' if same else 'overlaps with'} the training source {train}, "
            "so the test set would be training data. Name other images, or leave data.test out: a "
            "fifth of the images of data.train is then held out."
        )


def _split(
    source: Source, tested: Source, valid_fraction: float, seed: int, reading: Reading
) -> Parts:
    """Return the rows of D, V and T; T is a part of `source` if `tested` is the same."""
    everything, apart = np.arange(len(source.y)), tested is not source
    known = KnownIds(everything, source.names)
    t = np.arange(len(tested.y))
    if apart:
        _tell_missing(tested)
    if reading.part is not None:
        parts = np.array([reading.part(id) for id in known.texts()])
        d, v, own = (np.flatnonzero(parts == name) for name in ("train", "valid", "test"))
        t = t if apart else own
    else:
        kept, t = (everything, t) if apart else _hold_out(source, seed)
        d, v = (kept[rows] for rows in split_train(source.y[kept], len(kept), valid_fraction, seed))
    listed = {row for found in known.find(reading.trained) for row in found}
    moved = np.array(sorted(listed & {*v, *(() if apart else t)}), dtype=np.int64)
    return np.union1d(d, moved), np.setdiff1d(v, moved), t if apart else np.setdiff1d(t, moved)


def _decoder(layout: Layout, cache: Path | None) -> DecodeBatch:
    """Return the function that decodes a batch; images that are scaled take threads and a cache."""
    if layout.size is None:
        return decode_batch
    decode = partial(decode_batch, threads=min(MOST_THREADS, os.cpu_count() or 1))
    return decode if cache is None else PixelCache(cache, decode).decode


def _hold_out(source: Source, seed: int) -> tuple[Indices, Indices]:
    """Return the rows of D and V, and those of T: a stratified fifth, which is told."""
    total = len(source.y)
    held_out = max(1, round(total * TEST_FRACTION))
    kept, t = stratified_split(source.y, (total - held_out, held_out), Seed(seed) / "data" / "test")
    logging.getLogger("rum_ray").warning(
        "data.test is not given: %d of the %d images of %s are held out as test set (seed %d). "
        "Training, validation and forget set do not have them.",
        *(held_out, total, source.path, seed),
    )
    return kept, t


def _tell_missing(tested: Source) -> None:
    """Tell which classes the test source lacks."""
    present = np.unique(tested.y.numpy())
    lacking = [name for at, name in enumerate(tested.class_names) if at not in present]
    if lacking:
        logging.getLogger("rum_ray").warning(
            "%s has no images of %d of the %d classes: %s.",
            *(tested.path, len(lacking), len(tested.class_names), first_ten(lacking)),
        )


def split_train(y: Tensor, total: int, valid_fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Return the rows of D and V, both stratified; together they have `total` rows.

    Args:
        y: [N] labels.
        total: rows in D and V.
        valid_fraction: share of them in V.
        seed: seed of the split.
    """
    valid = round(total * valid_fraction) if 0 <= valid_fraction < 1 else 0
    if not 0 <= valid_fraction < 1 or (valid_fraction > 0 and not 0 < valid < total):
        raise ConfigError(
            f"data.valid_fraction: {valid_fraction:g} of {total} training images leaves training "
            f"or validation without images. Use 0, or at least {1 / total:.2g} and "
            f"below 1."
        )
    d, v = stratified_split(y, (total - valid, valid), Seed(seed) / "data")
    return d, v


def assemble(
    name: str,
    sources: tuple[Source, Source],
    rows: Parts,
    normalization: tuple[tuple[float, ...], tuple[float, ...]] | None = None,
    layout: Layout = Layout(),  # noqa: B008 - an immutable value
    decode: DecodeBatch = decode_batch,
) -> DataBundle:
    """Decode D and V from the first source and T from the second; other rows are not decoded.

    D and V are parts of one array, so the pixels are held once.

    Args:
        name: name of the bundle.
        sources: source of D and V, and of T.
        rows: sorted rows of D, V and T.
        normalization: mean and standard deviation per channel; those of D by default.
        layout: form of the images.
        decode: decodes a batch of images.
    """
    train, test = sources
    d, v, t = rows
    if not len(d) or not len(t):
        what, source = ("testing", test) if len(d) else ("training", train)
        raise DataError(f"{source.path} has no images left for {what}. Add some.")
    used = np.union1d(d, v)
    place = np.empty(len(used), dtype=np.int64)
    place[np.searchsorted(used, np.concatenate([d, v]))] = np.arange(len(used))
    pixels = Images(train.encoded, layout).decode(used, place, decode)
    layout = replace(layout, channels=pixels.shape[1])
    tested = Images(test.encoded, layout).decode(t, decode=decode)
    if pixels.shape[1:] != tested.shape[1:]:
        raise DataError(
            f"images of {train.path} have (channels, height, width) {tuple(pixels.shape[1:])}, but "
            f"images of {test.path} have {tuple(tested.shape[1:])}. Give all images one size with "
            f"the key `size`, such as size: {pixels.shape[2]}."
        )
    mean, std = normalization or _mean_std(pixels[: len(d)])
    given = (train, d, pixels[: len(d)]), (train, v, pixels[len(d) :]), (test, t, tested)
    ours, valid, unseen = (replace(_labelled(*part), mean=mean, std=std) for part in given)
    return DataBundle(name, ours, valid, unseen, class_names=train.class_names)


def _labelled(source: Source, rows: Indices, x: Tensor) -> LabeledData:
    """Return the examples at some rows, with their pixels."""
    names = None if source.names is None else source.names.take(rows)
    classes = len(source.class_names)
    return LabeledData(x, source.y[rows], ids=rows, num_classes=classes, names=names)


def decode(source: Source, rows: Indices) -> LabeledData:
    """Return the decoded examples at sorted rows; see `Images.decode`."""
    return _labelled(source, rows, Images(source.encoded, source.layout).decode(rows))


def _mean_std(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of uint8 [N, C, H, W], scaled to [0, 1]."""
    values = torch.arange(256, dtype=torch.float64) / 255
    counts = torch.zeros(x.shape[1], 256, dtype=torch.int64)
    for part in x.split(max(1, COUNTED // (x.shape[2] * x.shape[3]))):
        counts += torch.stack(
            [channel.flatten().bincount(minlength=256) for channel in part.unbind(1)]
        )
    shares = counts.double() / counts.sum(1, keepdim=True)
    mean = shares @ values
    std = (shares * (values - mean[:, None]).square()).sum(1).sqrt()
    # A constant channel has deviation 0; it is not divided.
    return tuple(mean.tolist()), tuple(s or 1.0 for s in std.tolist())
