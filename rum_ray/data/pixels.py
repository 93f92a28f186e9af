"""Decoding of images to pixels: bitmap formats only, up to 50 megapixels, 8 bits per channel."""

import contextlib
import io
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from rum_ray.data.bundle import Indices
from rum_ray.errors import DataError, UnsafeError

MAX_PIXELS = 50_000_000
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP")
GREY = ("1", "L", "LA")
COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
ORIENTATION = 0x0112
"""The EXIF tag of the orientation; its values name the turn that shows an image upright."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
OTHER_FORMATS = {
    "TIFF": (b"II*\0", b"MM\0*"),
    "HEIC or AVIF": (b"\0\0\0\x18ftyp", b"\0\0\0\x1cftyp", b"\0\0\0 ftyp", b"\0\0\0$ftyp"),
    "PDF": (b"%PDF",),
}
"""First bytes of formats that people store as photos and that are not decoded."""
TOGETHER = 64
"""Images that are read before they are decoded, by several threads if asked for."""

Fit = Literal["crop", "pad", "stretch"]
Exif = Literal["apply", "ignore"]
Encoded: TypeAlias = Callable[[Indices], Iterator[tuple[str, bytes | None]]]
"""Function from sorted rows to the place and the bytes of each image."""
Pixels: TypeAlias = NDArray[np.uint8]
"""An image: uint8 [C, H, W]; C is 1 if it is grey, else 3 (RGB)."""


@dataclass(frozen=True)
class Layout:
    """The form of decoded images.

    Attributes:
        size: height and width in pixels; None keeps the size of the images, which must be one.
        fit: how an image fills the size: "crop" scales the smaller side and cuts the middle, "pad"
            scales the larger side and adds black, "stretch" scales both sides.
        exif: "apply" turns an image as its EXIF orientation says; "ignore" leaves it as stored.
        channels: 1 for grey, 3 for RGB; None makes the images RGB if one of them has colours.
    """

    size: tuple[int, int] | None = None
    fit: Fit = "crop"
    exif: Exif = "apply"
    channels: int | None = None


@dataclass(frozen=True, eq=False)
class Images:
    """Encoded images and the form in which they are decoded.

    Attributes:
        encoded: function from rows to encoded images.
        layout: form of the pixels.
    """

    encoded: Encoded
    layout: Layout = Layout()

    def decode(
        self,
        rows: Indices,
        place: Indices | None = None,
        decode: "DecodeBatch | None" = None,
    ) -> Tensor:
        """Return the images at sorted rows, uint8 [N, C, H, W], in one array.

        Args:
            rows: [N] sorted rows.
            place: [N] position of each row in the result; the order of the rows by default.
            decode: decodes a batch; one image after another by default.

        Raises:
            DataError: an image cannot be decoded, or has another size or more channels than asked.
            UnsafeError: an image has more than 50 megapixels.
        """
        decode = decode or decode_batch
        places = np.arange(len(rows)) if place is None else place
        pixels: Pixels | None = None
        done, encoded = 0, iter(self.encoded(rows))
        while batch := list(islice(encoded, TOGETHER)):
            for (where, _), image in zip(batch, decode(batch, self.layout), strict=True):
                if pixels is None:
                    channels = self.layout.channels or len(image)
                    pixels = _empty((len(rows), channels, *image.shape[1:]))
                if len(image) > pixels.shape[1]:
                    pixels = self._coloured(pixels, places[:done], where)
                _check_size(image, pixels, where)
                pixels[places[done]] = image
                done += 1
        return torch.from_numpy(pixels)

    def _coloured(self, grey: Pixels, done: Indices, where: str) -> Pixels:
        """Return an array of three channels with the grey images decoded so far."""
        if self.layout.channels == 1:
            raise DataError(
                f"{where} has colours, but the training images are all grey. Convert it to grey, "
                f"or train on RGB images."
            )
        count, _, *size = grey.shape
        pixels = np.empty((count, 3, *size), dtype=np.uint8)
        for row in done:
            pixels[row] = grey[row]
        return pixels

    def channels(self, count: int) -> int:
        """Return 1 if all images are grey, else 3, from their headers; stop at the first of 3."""
        for where, data in self.encoded(np.arange(count)):
            with _reported(where, data) as known, _opened(known) as image:
                if image.mode not in GREY:
                    return 3
        return 1


Batch: TypeAlias = Sequence[tuple[str, bytes | None]]
DecodeBatch: TypeAlias = Callable[[Batch, Layout], Sequence[Pixels]]


def decode_batch(batch: Batch, layout: Layout, threads: int = 1) -> list[Pixels]:
    """Return the pixels of encoded images with their places, by a number of threads."""
    if threads == 1:
        return [decode_image(data, where, layout) for where, data in batch]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda one: decode_image(one[1], one[0], layout), batch))


def decode_image(data: bytes | None, where: str, layout: Layout) -> Pixels:
    """Return an image as uint8: [1, H, W] if it is grey, else [3, H, W].

    Of an animation it is the first frame. Palettes, CMYK and YCbCr become RGB; alpha is dropped.
    """
    with _reported(where, data) as known, _opened(known) as image:
        turned = _turned(image) if layout.exif == "apply" else image
        if turned.mode == "P" and "transparency" in turned.info:
            turned = turned.convert("RGBA")
        plain = turned.convert("L" if turned.mode in GREY else "RGB")
        pixels = np.asarray(plain if layout.size is None else _fitted(plain, layout))
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open an image of 8 bits per channel and of at most 50 megapixels; decode nothing."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise Image.DecompressionBombError(f"{image.width} x {image.height}")
        if image.mode not in (*GREY, *COLOUR):
            raise ValueError(f"mode {image.mode}; only 8 bits per channel are supported")
        if _is_deep(image, data):
            raise ValueError("16 bits per channel; only 8 bits per channel are supported")
        yield image


@contextlib.contextmanager
def _reported(where: str, data: bytes | None) -> Iterator[bytes]:
    """Yield the bytes of an image; turn errors about them into errors with its place."""
    if data is None:
        raise DataError(f"{where} has no image bytes (null). Store the bytes, not only the path.")
    try:
        yield data
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnsafeError(
            f"{where} is refused: it has more than {MAX_PIXELS // 10**6} megapixels ({error}). "
            f"Resize it."
        ) from error
    except Exception as error:  # Pillow's decoders raise many types of errors on damaged bytes.
        reason = _format(data) if isinstance(error, UnidentifiedImageError) else error
        raise DataError(
            f"{where} cannot be decoded ({reason}). Allowed formats are {', '.join(FORMATS)}. "
            f"Convert, replace or remove it."
        ) from error


def _format(data: bytes) -> str:
    """Return the name of a format that is not decoded."""
    known = (name for name, starts in OTHER_FORMATS.items() if data.startswith(starts))
    return next(known, "unknown format")


def _is_deep(image: Image.Image, data: bytes) -> bool:
    """Return True if Pillow would cut 16 bits per channel to 8 without a word."""
    if image.format == "PNG":
        return data[24] == 16
    if image.format == "PPM":
        arguments = image.tile[0][3]  # type: ignore[attr-defined]
        return isinstance(arguments, tuple) and arguments[-1] > 255
    return False


def _turned(image: Image.Image) -> Image.Image:
    """Return an image as its EXIF orientation says; unreadable metadata say nothing."""
    try:
        turn = TURNS.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # Pillow raises many types of errors on damaged metadata.
        return image
    return image if turn is None else image.transpose(turn)


def _fitted(image: Image.Image, layout: Layout) -> Image.Image:
    """Return an image of the size of a layout; the scaling is bilinear, with antialiasing."""
    assert layout.size is not None
    height, width = layout.size
    if layout.fit == "stretch":
        return image.resize((width, height), Image.Resampling.BILINEAR)
    if layout.fit == "pad":
        return ImageOps.pad(image, (width, height), Image.Resampling.BILINEAR)
    if image.width * height > image.height * width:
        scaled = (int(height * image.width / image.height), height)
    else:
        scaled = (width, int(width * image.height / image.width))
    if scaled[0] * scaled[1] > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{scaled[0]} x {scaled[1]} when scaled")
    left, top = round((scaled[0] - width) / 2), round((scaled[1] - height) / 2)
    enlarged = image.resize(scaled, Image.Resampling.BILINEAR)
    return enlarged.crop((left, top, left + width, top + height))


def _empty(shape: tuple[int, ...]) -> Pixels:
    """Return an array for pixels; raise DataError if there is not so much memory."""
    try:
        return np.empty(shape, dtype=np.uint8)
    except (MemoryError, ValueError) as error:
        raise DataError(
            f"{shape[0]:,} images of {shape[3]} x {shape[2]} pixels need "
            f"{math.prod(shape) / 2**30:,.0f} GiB of memory. Set a smaller data.size."
        ) from error


def _check_size(image: Pixels, pixels: Pixels, where: str) -> None:
    """Raise DataError unless an image has the size of the images before it."""
    (_, _, *expected), (_, *size) = pixels.shape, image.shape
    if size != expected:
        raise DataError(
            f"{where} has {size[1]} x {size[0]} pixels, but earlier images have {expected[1]} "
            f"x {expected[0]}. Images of several sizes need the key `size`, such as size: 64 or "
            f"size: [{expected[0]}, {expected[1]}]; `fit` says how they fill it."
        )
