import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rum_ray.data import LabeledData
from rum_ray.data.batches import Batches, crop_and_flip, fixed_batches, to_float
from rum_ray.seeding import Seed

CPU = torch.device("cpu")


def pictures(count: int, channels: int = 2) -> LabeledData:
    pixels = Seed(0).integers(count * channels * 30, 256).reshape(count, channels, 5, 6)
    return LabeledData(pixels.astype(np.uint8), np.arange(count) % 3, ids=3 * np.arange(count))


def test_an_epoch_has_each_example_once_in_its_own_order():
    batches = Batches(pictures(50), 16, CPU)
    epoch = list(batches.epoch(Seed(1)))
    assert [len(rows) for rows, _, _ in epoch] == [16, 16, 16, 2]
    rows, x, y = (torch.cat(parts) for parts in zip(*epoch, strict=True))
    assert torch.equal(rows.sort().values, torch.arange(50))
    assert torch.equal(x, batches.data.x[rows] / 255)
    assert torch.equal(y, batches.data.y[rows])
    again, other = (torch.cat([b[0] for b in batches.epoch(Seed(s))]) for s in (1, 2))
    assert torch.equal(rows, again)
    assert not torch.equal(rows, other)


def test_the_order_does_not_depend_on_the_batch_size():
    orders = [
        torch.cat([rows for rows, _, _ in Batches(pictures(50), size, CPU).epoch(Seed(1))])
        for size in (1, 7, 100)
    ]
    assert torch.equal(orders[0], orders[1])
    assert torch.equal(orders[0], orders[2])


def shifted_one_by_one(x, draws):
    """Pad each image by 4, cut its own size out at (dy, dx), and mirror it."""
    result = torch.zeros_like(x)
    _, channels, height, width = x.shape
    for i, draw in enumerate(draws.tolist()):
        dy, dx, flip = draw % 9, draw // 9 % 9, draw // 81 % 2
        for channel in range(channels):
            padded = np.pad(x[i, channel].numpy(), 4)
            cut = padded[dy : dy + height, dx : dx + width]
            result[i, channel] = torch.from_numpy((cut[:, ::-1] if flip else cut).copy())
    return result


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crop_and_flip_equals_a_loop_over_images(dtype):
    x = pictures(162).x.to(dtype)
    draws = torch.arange(162)  # every shift, mirrored and not
    result = crop_and_flip(x, draws)
    assert torch.equal(result, shifted_one_by_one(x, draws))
    assert result.dtype == dtype
    assert torch.equal(crop_and_flip(x, draws + 162 * 10**9), result)
    # A centred crop without mirroring is the image itself.
    assert torch.equal(result[4 + 9 * 4], x[4 + 9 * 4])


def test_augmentation_depends_on_the_example_not_on_the_data_set():
    everything = pictures(40)
    some = everything.take(np.arange(0, 40, 3))

    def augmented(data, seed):
        made = {}
        for rows, x, _ in Batches(data, 8, CPU, augment=True).epoch(seed):
            made.update(zip(data.ids[rows].tolist(), x, strict=True))
        return made

    whole, part = augmented(everything, Seed(1)), augmented(some, Seed(1))
    assert all(torch.equal(whole[i], part[i]) for i in part)
    later = augmented(everything, Seed(2))
    assert sum(torch.equal(whole[i], later[i]) for i in whole) < 5


def test_augmentation_reaches_every_shift():
    dots = LabeledData(
        torch.zeros(5000, 1, 9, 9).index_fill_(3, torch.tensor([4]), 1.0), [0] * 5000
    )
    [(_, x, _)] = Batches(dots, 5000, CPU, augment=True).epoch(Seed(0))
    places = x[:, 0, 4].argmax(1)
    assert torch.bincount(places, minlength=9).tolist() == pytest.approx([5000 / 9] * 9, rel=0.15)


def test_uint8_images_are_scaled_to_0_1():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_float(pixels), torch.arange(256) / 255)
    assert pixels.dtype == torch.uint8
    floats = torch.tensor([0.5, 300.0])
    assert to_float(floats) is floats


@given(st.integers(1, 760))
def test_fixed_batches_are_padded_to_250(count):
    x = torch.arange(count, dtype=torch.float32)[:, None] + 1
    batches = list(fixed_batches(x, CPU))
    assert all(part.shape == (250, 1) for part, _ in batches)
    assert torch.equal(torch.cat([part[:real] for part, real in batches]), x)
    last, real = batches[-1]
    assert not last[real:].any()
