"""Photos of several sizes in folders: size, ids, splits, and files that are gone."""

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from twins import twin

from rum_ray.data import Reading, load
from rum_ray.data.cache import FILE
from rum_ray.data.images import images
from rum_ray.digest import digest
from rum_ray.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def photo(path: Path, height: int, width: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (height, width, 3) if height % 2 else (height, width)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)


@pytest.fixture
def photos(tmp_path) -> Path:
    """40 photos of two classes, all of other sizes, grey and coloured."""
    root = tmp_path / "photos"
    for i in range(40):
        photo(root / ("cat" if i % 2 else "dog") / f"{i:02d}.png", 20 + i % 7, 30 - i % 5)
    return root


def names(data) -> list[str]:
    return data.names.values.tolist()


def test_photos_of_any_size_have_one_key(photos):
    with pytest.raises(DataError, match=r"cat.03\.png .*`size`"):
        images(train=str(photos), test=twin(str(photos)))
    bundle = images(train=str(photos), test=twin(str(photos)), size=(8, 12))
    assert bundle.train.shape == bundle.valid.shape == bundle.test.shape == (3, 8, 12)
    assert bundle.train.x.dtype == torch.uint8
    assert (len(bundle.train), len(bundle.valid), len(bundle.test)) == (36, 4, 40)
    whole = dict(zip(names(bundle.test), bundle.test.x, strict=True))
    for part in (bundle.train, bundle.valid):
        assert all(torch.equal(whole[n], x) for n, x in zip(names(part), part.x, strict=True))
        assert [n[:3] for n in names(part)] == [bundle.class_names[y] for y in part.y]


def test_a_missing_test_set_is_held_out_and_told(photos, caplog):
    with caplog.at_level(logging.WARNING, "rum_ray"):
        bundle = images(train=str(photos), size=8)
    assert "data.test" in caplog.text
    assert "8 of the 40" in caplog.text
    parts = [set(part.ids) for part in (bundle.train, bundle.valid, bundle.test)]
    assert [len(part) for part in parts] == [29, 3, 8]
    assert set.union(*parts) == set(range(40))
    assert torch.bincount(bundle.test.y).tolist() == [4, 4]
    again = images(train=str(photos), size=8)
    assert digest(again.test) == digest(bundle.test)


def test_classes_that_the_test_set_lacks_are_told(photos, tmp_path, caplog):
    photo(tmp_path / "test" / "dog" / "1.png", 20, 20)
    with caplog.at_level(logging.WARNING, "rum_ray"):
        bundle = images(train=str(photos), test=str(tmp_path / "test"), size=8)
    assert "1 of the 2 classes: 'cat'" in caplog.text
    assert bundle.test.num_classes == 2
    # Channels are those of the training images.
    assert bundle.test.shape == (3, 8, 8)


@pytest.fixture
def grey(tmp_path) -> Path:
    for name in ("cat", "dog"):
        for i in range(2):
            photo(tmp_path / "grey" / name / f"{i}.png", 20, 20)
    return tmp_path / "grey"


def test_a_colour_image_in_the_test_set_alone_is_refused(photos, grey):
    with pytest.raises(DataError, match=r"\.png has colours"):
        images(train=str(grey), test=str(photos), size=8, valid_fraction=0)


def test_listed_photos_are_training_data(photos):
    bundle = images(train=str(photos), test=twin(str(photos)), size=8)
    listed = [
        *names(bundle.valid)[:2],
        names(bundle.train)[0],
        str(bundle.valid.ids[2]),
        "no/x.png",
    ]
    reading = Reading(trained=tuple(listed))
    found = load("images", reading=reading, train=str(photos), test=twin(str(photos)), size=8)
    moved = bundle.with_trained(listed)
    for one, other in ((found.train, moved.train), (found.valid, moved.valid)):
        assert one.ids.tolist() == other.ids.tolist()
        assert names(one) == names(other)
        assert torch.equal(one.x, other.x)
    assert len(found.valid) == 1
    # Listed ids are in no other part, also where the test set comes from the same photos.
    bundle = images(train=str(photos), size=8)
    reading = Reading(trained=[*names(bundle.test), *names(bundle.valid)])
    with pytest.raises(DataError):
        images(train=str(photos), size=8, reading=reading)
    found = images(train=str(photos), size=8, reading=Reading(trained=names(bundle.test)[:3]))
    assert set(names(bundle.test)[:3]) <= set(names(found.train))
    assert len(found.test) == 5


def test_names_are_no_part_of_a_key(photos):
    bundle = images(train=str(photos), test=twin(str(photos)), size=8)
    (photos / "cat" / "01.png").rename(photos / "cat" / "01-renamed.png")
    again = images(train=str(photos), test=twin(str(photos)), size=8)
    assert names(again.train) != names(bundle.train)
    assert digest(again.train) == digest(bundle.train)


def test_the_parts_of_an_earlier_split_hold_without_files_that_are_gone(photos):
    first = images(train=str(photos), size=8)
    parts = {
        name: part
        for part in ("train", "valid", "test")
        for name in getattr(first, part).known_ids.texts()
    }
    gone = [*names(first.train)[:5], names(first.valid)[0], names(first.test)[0]]
    for name in gone:
        (photos / name).unlink()
    second = images(train=str(photos), size=8, reading=Reading(part=parts.__getitem__))
    for part in ("train", "valid", "test"):
        left = [name for name in names(getattr(first, part)) if name not in gone]
        assert names(getattr(second, part)) == left
    # A new draw of fewer photos would have moved others.
    drawn = images(train=str(photos), size=8)
    assert names(drawn.valid) != names(second.valid)


def test_the_cache_changes_no_bit_and_may_be_deleted(photos, tmp_path, monkeypatch):
    options = {"train": str(photos), "test": twin(photos), "size": 8}
    plain = images(**options)
    reading = Reading(cache=tmp_path / "store" / "cache")
    assert digest(images(**options, reading=reading).train) == digest(plain.train)
    path = reading.cache / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    refuse = "rum_ray.data.pixels.decode_image"
    with monkeypatch.context() as patch:
        patch.setattr(refuse, lambda *_: pytest.fail("an image was decoded again"))
        assert digest(images(**options, reading=reading).train) == digest(plain.train)
        (photos / "cat" / "01.png").unlink()
        images(**options, reading=reading)
        photo(photos / "cat" / "01.png", 21, 21)
        with pytest.raises(pytest.fail.Exception):
            images(**options, reading=reading)
        with pytest.raises(pytest.fail.Exception):
            images(**{**options, "fit": "pad"}, reading=reading)
    changed = digest(images(**options).train)
    for content in (None, b"no database", path.read_bytes()[:9000]):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        assert digest(images(**options, reading=reading).train) == changed


def test_a_damaged_record_of_the_cache_is_decoded_again(photos, tmp_path):
    import sqlite3

    options = {"train": str(photos), "test": twin(photos), "size": 8}
    reading = Reading(cache=tmp_path)
    plain = images(**options, reading=reading)
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("UPDATE pixels SET value = zeroblob(length(value))")
    database.close()
    assert digest(images(**options, reading=reading).train) == digest(plain.train)


def test_a_cache_that_cannot_be_written_is_left_out(photos, tmp_path):
    (tmp_path / "file").write_text("")
    options = {"train": str(photos), "test": twin(photos), "size": 8}
    found = images(**options, reading=Reading(cache=tmp_path / "file" / "cache"))
    assert digest(found.train) == digest(images(**options).train)


def test_images_of_one_size_take_no_cache(grey, tmp_path):
    images(
        train=str(grey),
        test=twin(str(grey)),
        valid_fraction=0,
        reading=Reading(cache=tmp_path / "c"),
    )
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("class_name", ["2", 2])
def test_a_number_is_the_name_of_a_class_that_has_a_number(tmp_path, class_name):
    for name in range(12):
        photo(tmp_path / str(name) / "1.png", 8, 8)
        photo(tmp_path / str(name) / "2.png", 8, 8)
    bundle = images(train=str(tmp_path), test=twin(str(tmp_path)), valid_fraction=0)
    assert bundle.class_names[bundle.class_index(class_name)] == "2"
    with pytest.raises(ConfigError, match=r"no class '12'"):
        bundle.class_index(12)


PEAK = """
import sys
from pathlib import Path
from rum_ray.data.images import images
from rum_ray.digest import digest

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

train, test, size = sys.argv[1:]
images(train=test, size=int(size))
before = peak()
bundle = images(train=train, test=test, size=int(size))
digest(bundle.train)
held = sum(part.x.nbytes for part in (bundle.train, bundle.valid, bundle.test))
print((peak() - before) / held)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_photos_are_held_once(tmp_path):
    for i in range(1200):
        Image.new("RGB", (64, 64), (i % 256, 0, 0)).save(
            _made(tmp_path / "train" / "ab"[i % 2]) / f"{i}.png"
        )
    for i in range(64):
        Image.new("RGB", (64, 64)).save(_made(tmp_path / "test" / "ab"[i % 2]) / f"{i}.png")
    command = [sys.executable, "-c", PEAK, str(tmp_path / "train"), str(tmp_path / "test"), "256"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    # 236 MB of pixels: held twice, the ratio would be 2.
    assert float(done.stdout) < 1.3


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_photo_that_is_no_plain_file_is_refused_and_does_not_hang(grey):
    os.mkfifo(grey / "cat" / "2.png")
    with pytest.raises(DataError, match=r"cat.2\.png .*a FIFO, not a plain file"):
        images(train=str(grey), valid_fraction=0)


def test_a_photo_of_a_camera_is_upright(tmp_path):
    steps = np.tile(np.arange(16, dtype=np.uint8)[:, None, None] * 15, (1, 24, 3))
    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("a/1", "a/2", "b/1", "b/2"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(steps).save(tmp_path / f"{name}.jpg", exif=turned, quality=95)
    options = {"train": str(tmp_path), "test": twin(tmp_path), "valid_fraction": 0}
    assert images(**options).train.shape == (3, 24, 16)
    assert images(**options, exif="ignore").train.shape == (3, 16, 24)


def test_bytes_in_parquet_take_the_same_options(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    def encoded(side: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(RNG.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(stream, "PNG")
        return stream.getvalue()

    columns = {"image": [encoded(9 + i) for i in range(10)], "label": ["a", "b"] * 5}
    path = str(tmp_path / "d.parquet")
    pq.write_table(pa.table({**columns, "user": [100 + i for i in range(10)]}), path)
    bundle = images(train=path, test=twin(path), size=6, id="user", valid_fraction=0.2)
    assert bundle.train.shape == (3, 6, 6)
    assert sorted(names(bundle.train) + names(bundle.valid)) == [f"{100 + i}" for i in range(10)]
    assert bundle.train.known_ids.rows([names(bundle.train)[3]]).tolist() == [3]
    assert images(train=path, test=twin(path), size=6, valid_fraction=0).train.names is None
