"""Decoding of images to pixels: bitmap formats only, up to 50 megapixels."""

import io
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from rum_ray.data.bundle import Indices
from rum_ray.errors import DataError, UnsafeError

MAX_PIXELS = 50_000_000
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "WEBP")
GREY = ("1", "L", "LA")
COLOUR = ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")

Encoded: TypeAlias = Callable[[Indices], Iterator[tuple[str, bytes | None]]]
"""Function from sorted rows to the place and the bytes of each image."""


def decode_pixels(encoded: Encoded, rows: Indices) -> Tensor:
    """Return the images at sorted rows, uint8: [N, 1, H, W] if all are grey, else [N, 3, H, W]."""
    pixels: NDArray[np.uint8] | None = None
    for i, (where, data) in enumerate(encoded(rows)):
        image = _pixels(data, where)
        if pixels is None:
            pixels = np.empty((len(rows), *image.shape), dtype=np.uint8)
        (_, channels, *expected), (_, *size) = pixels.shape, image.shape
        if size != expected:
            raise DataError(
                f"{where} has {size[1]} x {size[0]} pixels, but earlier images have {expected[1]} "
                f"x {expected[0]}. All images must have one size. Resize it."
            )
        if len(image) > channels:
            pixels = pixels.repeat(len(image), axis=1)
        pixels[i] = image
    return torch.from_numpy(pixels)


def _pixels(data: bytes | None, where: str) -> NDArray[np.uint8]:
    """Return an image as uint8: [1, H, W] if it is grey, else [3, H, W]; alpha is dropped."""
    if data is None:
        raise DataError(f"{where} has no image bytes (null). Store the bytes, not only the path.")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError(f"{image.width} x {image.height}")
            if image.mode not in (*GREY, *COLOUR):
                raise ValueError(f"mode {image.mode}; only 8 bits per channel are supported")
            pixels = np.asarray(image.convert("L" if image.mode in GREY else "RGB"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnsafeError(
            f"{where} is refused: it has more than {MAX_PIXELS // 10**6} megapixels ({error}). "
            f"Resize it."
        ) from error
    except Exception as error:  # Pillow's decoders raise many types of errors on damaged bytes.
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(
            f"{where} cannot be decoded ({reason}). Allowed formats are {', '.join(FORMATS)}. "
            f"Replace or remove it."
        ) from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
