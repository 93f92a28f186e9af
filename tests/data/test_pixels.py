"""Decoding against Pillow and torchvision as references, on images that Pillow writes."""

import importlib
import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from rum_ray.data.pixels import Images, Layout, decode_image
from rum_ray.errors import DataError, UnsafeError
from rum_ray.models.vision import vision  # torchvision imports after this only

assert vision
transforms = importlib.import_module("torchvision.transforms")
RNG = np.random.default_rng(0)
ORIENTATION = 0x0112


def picture(*shape: int) -> Image.Image:
    return Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def listed(*files: bytes) -> Images:
    return Images(lambda rows: ((f"image {row}", files[row]) for row in rows))


def shown(image: Image.Image) -> np.ndarray:
    """Return the pixels of an RGB image, [3, H, W]."""
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


SHAPES = [(40, 60, 3), (60, 40, 3), (33, 97, 3), (50, 50, 3), (7, 9, 3), (16, 16, 3), (201, 16, 3)]


@pytest.mark.parametrize("side", [16, 31])
@pytest.mark.parametrize("shape", SHAPES)
def test_crop_is_resize_and_center_crop_of_torchvision(shape, side):
    image = picture(*shape)
    reference = transforms.Compose([transforms.Resize(side), transforms.CenterCrop(side)])
    found = decode_image(encoded(image), "x", Layout((side, side)))
    assert np.array_equal(found, shown(reference(image)))


@pytest.mark.parametrize("shape", SHAPES)
def test_stretch_and_pad_are_those_of_torchvision_and_pillow(shape):
    image, size = picture(*shape), (24, 32)
    stretched = decode_image(encoded(image), "x", Layout(size, "stretch"))
    assert np.array_equal(stretched, shown(transforms.Resize(size)(image)))
    padded = decode_image(encoded(image), "x", Layout(size, "pad"))
    pad = ImageOps.pad(image, size[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(padded, shown(pad))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_every_fit_fills_the_size(shape, fit):
    white = Image.new("RGB", shape[1::-1], "white")
    found = decode_image(encoded(white), "x", Layout((12, 20), fit))
    assert found.shape == (3, 12, 20)
    # Only padding adds black.
    assert (found == 255).all() == (fit != "pad" or shape[0] * 20 == shape[1] * 12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_or_ignored(orientation):
    image, exif = picture(4, 6, 3), Image.Exif()
    exif[ORIENTATION] = orientation
    for kind in ("PNG", "WEBP"):
        data = encoded(image, kind, exif=exif, lossless=True)
        with Image.open(io.BytesIO(data)) as stored:
            upright = ImageOps.exif_transpose(stored)
            assert np.array_equal(decode_image(data, "x", Layout()), shown(upright))
        assert np.array_equal(decode_image(data, "x", Layout(exif="ignore")), shown(image))


def test_damaged_metadata_say_nothing():
    image = picture(4, 6, 3)
    data = encoded(image, exif=b"Exif\0\0garbage that is no TIFF header")
    assert np.array_equal(decode_image(data, "x", Layout()), shown(image))


MODES = {"1": 1, "L": 1, "LA": 1, "P": 3, "RGB": 3, "RGBA": 3}


@pytest.mark.parametrize("mode", MODES)
def test_modes_become_grey_or_rgb(mode):
    image = picture(6, 8, 3).convert(mode)
    found = decode_image(encoded(image), "x", Layout())
    assert len(found) == MODES[mode]
    assert np.array_equal(np.broadcast_to(found, (3, 6, 8)), shown(image.convert("RGBA")))


def test_cmyk_becomes_rgb():
    data = encoded(picture(16, 16, 3).convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as stored:
        assert stored.mode == "CMYK"
        assert np.array_equal(decode_image(data, "x", Layout()), shown(stored))


def test_a_palette_with_a_transparency_per_colour_becomes_rgb():
    image = picture(6, 8, 3).convert("P")
    data = encoded(image, transparency=bytes(range(256)))
    assert np.array_equal(decode_image(data, "x", Layout()), shown(image.convert("RGB")))


def test_the_first_frame_of_an_animation_counts():
    frames = [picture(6, 8, 3).convert("P") for _ in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert np.array_equal(decode_image(data, "x", Layout()), shown(frames[0]))


def deep_png(color: int) -> bytes:
    """Return a PNG of 2 x 2 pixels of 16 bits per channel; color 2 is RGB, 6 is RGBA."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 2, 2, 16, color, 0, 0, 0)
    rows = (b"\0" + bytes(2 * 2 * {2: 3, 6: 4}[color])) * 2
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


two = [picture(4, 4), picture(4, 4)]
REFUSED = {
    "16 bits": encoded(Image.fromarray(np.zeros((4, 4), np.uint16))),
    "16 bits RGB": deep_png(2),
    "16 bits RGBA": deep_png(6),
    "16 bits PPM": b"P6 2 2 65535\n" + bytes(24),
    "TIFF": encoded(two[0], "TIFF"),
    "pages": encoded(two[0], "TIFF", save_all=True, append_images=two[1:]),
    "PDF": encoded(two[0], "PDF"),
    "HEIC": b"\0\0\0\x18ftypheic" + bytes(40),
    "text": b"no picture at all",
    "empty": b"",
    "cut": encoded(picture(40, 40, 3))[:300],
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("size", [None, (8, 8)])
def test_what_is_no_picture_of_8_bits_is_refused_by_its_place(case, size):
    with pytest.raises(DataError, match=r"^photos/1\.png cannot be decoded"):
        decode_image(REFUSED[case], "photos/1.png", Layout(size))


@pytest.mark.parametrize(
    ("case", "reason"),
    [("16 bits RGB", "16 bits"), ("16 bits PPM", "16 bits"), ("pages", "TIFF"), ("HEIC", "HEIC")],
)
def test_a_refusal_names_the_cause(case, reason):
    with pytest.raises(DataError, match=rf"\({reason}"):
        decode_image(REFUSED[case], "x", Layout())


def test_an_image_without_bytes_is_refused():
    with pytest.raises(DataError, match=r"^x .*null"):
        decode_image(None, "x", Layout())


def test_a_huge_image_is_refused_before_it_is_scaled():
    with pytest.raises(UnsafeError, match="50 megapixels"):
        decode_image(b"P5 10000 5001 255\n", "x", Layout((8, 8)))


def test_channels_are_decided_for_all_images():
    grey, colour = picture(6, 8), picture(6, 8, 3)
    files = [encoded(grey)] * 70 + [encoded(colour)] + [encoded(grey)] * 3
    images = listed(*files)
    assert (images.channels(70), images.channels(74)) == (1, 3)
    x = images.decode(np.arange(74))
    assert x.shape == (74, 3, 6, 8)
    for at in (0, 69, 71, 73):
        assert np.array_equal(x[at], np.stack([np.asarray(grey)] * 3))
    assert np.array_equal(x[70], shown(colour))
    assert images.decode(np.arange(70)).shape == (70, 1, 6, 8)


def test_places_permute_the_images_before_and_after_the_first_colour():
    files = [encoded(picture(6, 8)) for _ in range(5)]
    files += [encoded(picture(6, 8, 3)) for _ in range(3)]
    images, place = listed(*files), RNG.permutation(8)
    plain, permuted = (images.decode(np.arange(8), each) for each in (None, place))
    assert torch.equal(permuted[torch.from_numpy(place)], plain)


def test_grey_images_may_be_asked_for_as_rgb_but_not_the_reverse():
    grey, colour = encoded(picture(6, 8)), encoded(picture(6, 8, 3))
    as_rgb = Images(listed(grey).encoded, Layout(channels=3)).decode(np.array([0]))
    assert as_rgb.shape == (1, 3, 6, 8)
    with pytest.raises(DataError, match=r"^image 1 has colours"):
        Images(listed(grey, colour).encoded, Layout(channels=1)).decode(np.arange(2))


def test_threads_change_no_bit():
    from functools import partial

    from rum_ray.data.pixels import decode_batch

    images = Images(
        listed(*(encoded(picture(9, 9 + i, 3)) for i in range(70))).encoded, Layout((8, 8))
    )
    alone = images.decode(np.arange(70))
    assert torch.equal(images.decode(np.arange(70), decode=partial(decode_batch, threads=4)), alone)
