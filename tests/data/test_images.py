import io
import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from twins import twin

from rum_ray.data import load
from rum_ray.data.images import decode, images
from rum_ray.data.reading import Reading
from rum_ray.data.source import open_source
from rum_ray.errors import ConfigError, DataError, UnsafeError

RNG = np.random.default_rng(0)


def picture(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape or (6, 8), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def table(pictures, labels, *, struct=True, classes=None, **columns) -> pa.Table:
    """Bytes are stored as they are, arrays as PNG."""
    values = [encoded(p) if isinstance(p, np.ndarray) else p for p in pictures]
    if struct:
        values = [None if v is None else {"bytes": v, "path": "x"} for v in values]
    made = pa.table({"image": values, "label": labels, **columns})
    return made if classes is None else made.replace_schema_metadata({"classes": classes})


def write(path: Path, content: pa.Table) -> str:
    pq.write_table(content, path)
    return str(path)


def folder(root: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return str(root)


def tens(count: int = 10) -> pa.Table:
    """Return `count` grey pictures of each of two classes."""
    return table([picture() for _ in range(2 * count)], [0, 1] * count)


@pytest.fixture
def good(tmp_path) -> str:
    return write(tmp_path / "good.parquet", tens())


def together(bundle) -> tuple[np.ndarray, torch.Tensor]:
    """Return ids and inputs of D and V, in the order of the source."""
    ids = np.concatenate([bundle.train.ids, bundle.valid.ids])
    x = torch.cat([bundle.train.x, bundle.valid.x])
    return np.sort(ids), x[torch.from_numpy(np.argsort(ids))]


def test_only_row_groups_with_requested_rows_are_read(tmp_path):
    pictures = [picture() for _ in range(40)]
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for file, part in zip(files, (pictures[:30], pictures[30:]), strict=True):
        pq.write_table(table(part, [0, 1] * (len(part) // 2)), file, row_group_size=8)
    source = open_source(tmp_path)
    assert source.names is None
    for rows in ([0], [7, 8, 9], [29, 30, 39], list(range(40)), [31, 38]):
        x = decode(source, np.array(rows)).x
        assert np.array_equal(x, np.stack([pictures[row] for row in rows])[:, None])
    # A damaged row group is an error only where one of its rows is requested.
    content = bytearray(files[0].read_bytes())
    start = pq.ParquetFile(files[0]).metadata.row_group(0).column(0).dictionary_page_offset
    content[start : start + 200] = bytes(200)
    files[0].write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet"):
        decode(source, np.array([3]))
    rows = np.arange(8, 40)
    assert np.array_equal(decode(source, rows).x, np.stack(pictures[8:])[:, None])


@pytest.mark.parametrize("struct", [True, False])
@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3)])
def test_pixels_survive_parquet(tmp_path, shape, struct):
    pictures = [picture(*shape) for _ in range(20)]
    path = write(tmp_path / "d.parquet", table(pictures, [0, 1] * 10, struct=struct))
    bundle = images(train=path, test=twin(path))
    stack = np.stack(pictures)
    expected = stack[:, None] if stack.ndim == 3 else stack.transpose(0, 3, 1, 2)
    ids, x = together(bundle)
    assert x.dtype == torch.uint8
    assert np.array_equal(ids, np.arange(20))
    assert np.array_equal(x, expected)
    assert np.array_equal(bundle.test.x, expected)
    assert np.array_equal(bundle.test.y, [0, 1] * 10)
    assert np.array_equal(bundle.train.y, bundle.train.ids % 2)
    assert (len(bundle.train), len(bundle.valid)) == (18, 2)
    assert bundle.class_names == ("0", "1")


def test_jpeg_is_decoded_as_pillow_does(tmp_path):
    data = [encoded(picture(6, 8, 3), "JPEG") for _ in range(4)]
    path = write(tmp_path / "d.parquet", table(data, [0, 1] * 2))
    expected = np.stack([np.asarray(Image.open(io.BytesIO(d))) for d in data])
    assert np.array_equal(
        images(train=path, test=twin(path), valid_fraction=0.5).test.x,
        expected.transpose(0, 3, 1, 2),
    )


def test_one_colour_image_makes_all_rgb(tmp_path):
    grey, colour = picture(6, 8), picture(6, 8, 3)
    path = write(tmp_path / "d.parquet", table([grey, colour, grey, grey], [0, 1] * 2))
    x = images(train=path, test=twin(path), valid_fraction=0.5).test.x
    assert np.array_equal(x[0], np.stack([grey] * 3))
    assert np.array_equal(x[1], colour.transpose(2, 0, 1))


def test_class_folders(tmp_path, monkeypatch):
    pictures = {f"{name}/{i}.png": picture() for name in ("dog", "cat") for i in range(3)}
    files = {name: encoded(p) for name, p in pictures.items()}
    folder(tmp_path, {**files, ".DS_Store": b"", "cat/.hidden": b"", "README": b""})
    monkeypatch.setenv("HOME", str(tmp_path.parent))
    path = f"~/{tmp_path.name}"
    bundle = images(train=path, test=twin(tmp_path), valid_fraction=0.34)
    assert bundle.class_names == ("cat", "dog")
    assert bundle.test.y.tolist() == [0, 0, 0, 1, 1, 1]
    assert bundle.test.ids.tolist() == list(range(6))
    assert np.array_equal(bundle.test.x[:, 0], [pictures[name] for name in sorted(pictures)])
    assert torch.bincount(bundle.valid.y).tolist() == [1, 1]


def test_text_labels_and_other_names(tmp_path):
    source = table([picture() for _ in range(6)], ["no", "yes", "maybe"] * 2, weight=[0.5] * 6)
    path = write(tmp_path / "d.parquet", source.rename_columns(["img", "answer", "weight"]))
    bundle = images(train=path, test=twin(path), valid_fraction=0.5)
    assert bundle.class_names == ("maybe", "no", "yes")
    assert bundle.test.y.tolist() == [1, 2, 0] * 2


def test_rows_are_numbered_through_the_sorted_files(tmp_path):
    pictures = [picture() for _ in range(2500)]
    for name, rows in (("b", slice(1200, 2500)), ("a", slice(0, 1200))):
        part = table(pictures[rows], [0, 1] * ((rows.stop - rows.start) // 2), classes='["x", "y"]')
        write(tmp_path / f"{name}.parquet", part)
    bundle = images(train=str(tmp_path), test=twin(str(tmp_path)))
    assert np.array_equal(together(bundle)[1][:, 0], np.stack(pictures))
    assert bundle.class_names == ("x", "y")


def test_validation_is_stratified_and_seeded(tmp_path):
    labels = [0] * 30 + [1] * 60 + [2] * 10
    path = write(tmp_path / "d.parquet", table([picture() for _ in labels], labels))
    first, again, other = (
        images(train=path, test=twin(path), valid_fraction=0.2, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.bincount(first.valid.y).tolist() == [6, 12, 2]
    assert np.array_equal(first.valid.ids, again.valid.ids)
    assert not np.array_equal(first.valid.ids, other.valid.ids)
    assert not set(first.valid.ids) & set(first.train.ids)


def test_mean_and_std_are_those_of_the_training_part(tmp_path):
    pictures = [picture(6, 8, 3) for _ in range(20)]
    path = write(tmp_path / "d.parquet", table(pictures, [0, 1] * 10))
    bundle = images(train=path, test=twin(path), valid_fraction=0.5)
    x = bundle.train.x.double() / 255
    assert bundle.train.mean == pytest.approx(x.mean((0, 2, 3)).tolist())
    assert bundle.train.std == pytest.approx(x.std((0, 2, 3), correction=0).tolist())
    for part in (bundle.valid, bundle.test):
        assert (part.mean, part.std) == (bundle.train.mean, bundle.train.std)


def test_black_images_are_not_divided_by_zero(tmp_path):
    path = write(tmp_path / "d.parquet", table([np.zeros((4, 4), np.uint8)] * 4, [0, 1] * 2))
    assert images(train=path, test=twin(path), valid_fraction=0.5).train.std == (1.0,)


def damaged(*, keep: int | None = None, first: bytes = b"") -> bytes:
    stream = pa.BufferOutputStream()
    pq.write_table(tens(2), stream)
    return first + stream.getvalue().to_pybytes()[len(first) : keep]


FOLDERS = [
    ({}, r"/d: no \.parquet file"),
    ({"README": b"hello"}, r"/d: no \.parquet file"),
    ({"a.parquet": b""}, r"a\.parquet is empty"),
    ({"a.parquet": damaged(keep=-20)}, r"a\.parquet .*footer"),
    ({"a.parquet": damaged(keep=300)}, r"a\.parquet "),
    ({"a.parquet": b"not a parquet file at all"}, r"a\.parquet .*magic bytes"),
    ({"a.parquet": damaged(), "b.parquet": b""}, r"b\.parquet is empty"),
    ({"a.parquet/x": b""}, r"a\.parquet "),
    ({"cat/1.png": encoded(picture())}, r"/d has 1 images in 1 classes"),
    ({"cat/1.png": encoded(picture()), "dog/.x": b""}, r"class 1 \('dog'\) of .*/d"),
    ({"cat/1.png": encoded(picture()), "dog/1.txt": b"hi"}, r"dog.1\.txt .*unknown format"),
    ({"cat/1.png": encoded(picture()), "dog/1.png": b""}, r"dog.1\.png .*decode"),
    ({"cat/1.png": encoded(picture()), "dog/1.png": encoded(picture())[:80]}, r"1\.png .*decode"),
    ({"cat/1.png": encoded(picture()), "dog/x/1.png": b""}, r"dog.x .*folder"),
    (
        {"cat/1.png": encoded(picture()), "dog/1.png": encoded(picture(5, 7))},
        r"dog.1\.png .*7 x 5 .*8 x 6",
    ),
]


@pytest.mark.parametrize(("files", "message"), FOLDERS)
def test_an_invalid_folder_is_an_error_with_its_path(tmp_path, files, message):
    (tmp_path / "d").mkdir()
    path = folder(tmp_path / "d", files)
    with pytest.raises(DataError, match=message):
        images(train=path, test=twin(path), valid_fraction=0.5)


PICTURES = [encoded(picture()) for _ in range(4)]
TABLES = [
    (table(PICTURES, [0.0, 1.0] * 2), r"column 'label' of .*d\.parquet .*double"),
    (table(PICTURES, [0, 1, None, 1]), r"row 2 of .*d\.parquet .*null"),
    (table(PICTURES, ["a", "b", "c", None]), r"row 3 of .*d\.parquet .*null"),
    (table(PICTURES, [0, 1, 2, 7]), r"row 3 of .*d\.parquet .*label 7.* 0 \.\. 3"),
    (table(PICTURES, [0, 1, -1, 1]), r"row 2 of .*d\.parquet .*label -1.* 0 \.\. 2"),
    (table(PICTURES, pa.array([0, 1, 2, 2**63], pa.uint64())), r"d\.parquet .*not in range"),
    (table(PICTURES, [0, 1, 1, 2], classes='["a", "b"]'), r"row 3 of .*label 2.* 0 \.\. 1"),
    (table(PICTURES, [0, 1] * 2, classes='["a", "b", "c"]'), r"class 2 \('c'\) of .*d\.parquet"),
    (table(PICTURES, [0, 1] * 2, classes="{oops"), r"d\.parquet .*metadata 'classes'"),
    (table(PICTURES, [0, 1] * 2, classes="[1, 2]"), r"'classes' of .*d\.parquet .*b'\[1, 2"),
    (table(PICTURES, [3] * 4), r"d\.parquet has 4 images in 1 classes"),
    (table(PICTURES, ["a"] * 4), r"d\.parquet has 4 images in 1 classes"),
    (table([None] * 4, [0, 1] * 2, struct=False), r"d\.parquet has 0 image columns"),
    (table(PICTURES, [None] * 4), r"column 'label' of .*d\.parquet .*null"),
    (tens().slice(0, 0), r"d\.parquet has 0 images in 0 classes"),
    (pa.table({"label": [0, 1]}), r"d\.parquet has 0 image columns .*label \(int64\)"),
    (table(PICTURES, [0, 1] * 2, mask=PICTURES), r"d\.parquet has 2 image columns .*mask \(bin"),
    (pa.table({"image": PICTURES}), r"d\.parquet has 0 .*label columns"),
    (pa.table({"image": PICTURES, "a": [0] * 4, "b": [0] * 4}), r"d\.parquet has 2 .*label col"),
    (table([*PICTURES[:3], None], [0, 1] * 2), r"row 3 of .*d\.parquet .*bytes"),
    (table([*PICTURES[:3], None], [0, 1] * 2, struct=False), r"row 3 of .*d\.parquet .*bytes"),
    (table([*PICTURES[:3], b"GIF89a?"], [0, 1] * 2), r"row 3 of .*d\.parquet .*decoded"),
    (table([*PICTURES[:3], b"%!PS-Adobe-3.0 EPSF-3.0"], [0, 1] * 2), r"\(unknown format\)"),
    (table([*PICTURES[:3], PICTURES[3][:90]], [0, 1] * 2), r"row 3 of .*d\.parquet .*decoded"),
    (table([*PICTURES[:3], picture(9, 9)], [0, 1] * 2), r"row 3 of .* 9 x 9 .* 8 x 6"),
    (
        table([*PICTURES[:3], encoded(np.zeros((6, 8), np.uint16))], [0, 1] * 2),
        r"row 3 of .*mode I;16",
    ),
    (table([picture(5, 5) for _ in range(4)], [0, 1] * 2), r"\(1, 5, 5\).*\(1, 6, 8\)"),
    (table(PICTURES, [0, 1] * 2, classes='["1", "0"]'), r"good\.parquet .*d\.parquet.*order"),
]


@pytest.mark.parametrize(("content", "message"), TABLES)
def test_an_invalid_table_is_an_error_with_its_place(tmp_path, good, content, message):
    train = write(tmp_path / "d.parquet", content)
    with pytest.raises(DataError, match=message):
        images(train=train, test=good, valid_fraction=0.5)


def test_files_of_a_folder_have_the_same_columns(tmp_path, good):
    write(tmp_path / "x.parquet", table(PICTURES, ["a", "b"] * 2))
    with pytest.raises(DataError, match=r"x\.parquet .*text=True.*good\.parquet"):
        images(train=str(tmp_path))


@pytest.mark.parametrize("kind", ["same", "link", "hard link", "inside", "around"])
def test_a_test_source_that_is_the_training_source_is_refused(tmp_path, good, kind):
    path = Path(good)
    other = tmp_path / "other.parquet"
    if kind == "link":
        other.symlink_to(path)
    elif kind == "hard link":
        other.hardlink_to(path)
    train, test = {"same": (path, path), "inside": (path.parent, path)}.get(kind, (path, other))
    if kind == "around":
        test = path.parent
    with pytest.raises(ConfigError, match=r"^data\.test: .*training source"):
        images(train=str(train), test=str(test))


def test_a_missing_path_is_an_error(tmp_path, good):
    with pytest.raises(DataError, match="/nowhere"):
        images(train=good, test=str(tmp_path / "nowhere"))


@pytest.mark.parametrize("fraction", [1, -0.1, 1.5, 0.001, 0.999, float("nan")])
def test_a_fraction_without_training_or_validation_images_is_refused(good, fraction):
    with pytest.raises(ConfigError, match=rf"{fraction:g} of 20 .*\b0\.05\b"):
        images(train=good, test=twin(good), valid_fraction=fraction)


def test_with_fraction_0_all_images_are_training_images(good):
    bundle = images(train=good, test=twin(good), valid_fraction=0)
    assert (len(bundle.train), len(bundle.valid)) == (20, 0)


@pytest.mark.parametrize("size", [(10_000, 5_001), (10_000, 10_000), (20_000, 10_000)])
def test_an_image_of_more_than_50_megapixels_is_refused(tmp_path, good, size):
    header = b"P5 %d %d 255\n" % size
    path = write(tmp_path / "d.parquet", table([header, *PICTURES[:3]], [0, 1] * 2))
    with pytest.raises(UnsafeError, match=r"row 0 of .*d\.parquet .*50 megapixels"):
        images(train=path, test=good, valid_fraction=0.5)


class Pickled(pa.ExtensionType):
    """Like Ray's type for Python objects: its values run code when they are converted."""

    def __init__(self) -> None:
        super().__init__(pa.binary(), "test.pickled")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        return cls()

    def __arrow_ext_scalar_class__(self):
        return Explosive


class Explosive(pa.ExtensionScalar):
    def as_py(self, **_):
        raise AssertionError("code of the file ran")


@pytest.fixture(params=[True, False], ids=["registered", "unknown"])
def _registered(request):
    if not request.param:
        yield
        return
    pa.register_extension_type(Pickled())
    yield
    pa.unregister_extension_type("test.pickled")


def objects() -> pa.Array:
    return pa.ExtensionArray.from_storage(Pickled(), pa.array([b"x"] * 4, pa.binary()))


UNSAFE = [
    lambda: {"image": PICTURES, "label": [0, 1] * 2, "o": objects()},
    lambda: {"image": PICTURES, "label": objects()},
    lambda: {"image": objects(), "label": [0, 1] * 2},
    lambda: {
        "image": pa.StructArray.from_arrays([objects()], ["bytes"]),
        "label": [0, 1] * 2,
    },
    lambda: {"image": PICTURES, "label": [0, 1] * 2, "o": [[1]] * 4},
]


@pytest.mark.usefixtures("_registered")
@pytest.mark.parametrize("columns", UNSAFE)
def test_columns_that_could_run_code_are_refused(tmp_path, good, columns):
    path = write(tmp_path / "d.parquet", pa.table(columns()))
    with pytest.raises(UnsafeError, match=r"column '\w+' of .*d\.parquet .*(test\.pick|list<)"):
        images(train=path, test=good)


@pytest.fixture
def little_cifar(tmp_path) -> Path:
    """Return a folder like CIFAR-10's, with 200 and 50 images."""
    names = json.dumps([f"class {c}" for c in range(10)])
    for name, count in (("train", 200), ("test", 50)):
        pictures = [picture(32, 32, 3) for _ in range(count)]
        labels = [i % 10 for i in range(count)]
        write(tmp_path / f"{name}.parquet", table(pictures, labels, classes=names))
    return tmp_path


def test_cifar10_is_stratified(little_cifar):
    bundle = load("cifar10", root=str(little_cifar), size=100, test_size=20)
    counts = [torch.bincount(s.y).tolist() for s in (bundle.train, bundle.valid, bundle.test)]
    assert counts == [[9] * 10, [1] * 10, [2] * 10]
    assert bundle.train.mean == bundle.test.mean == (0.4914, 0.4822, 0.4465)
    assert bundle.valid.std == (0.2470, 0.2435, 0.2616)
    whole = load("cifar10", root=str(little_cifar))
    assert (len(whole.train), len(whole.valid), len(whole.test)) == (180, 20, 50)
    assert np.array_equal(together(whole)[1][torch.from_numpy(bundle.train.ids)], bundle.train.x)


def test_cifar10_decodes_only_its_own_rows(little_cifar):
    path = little_cifar / "test.parquet"
    good = pq.read_table(path).to_pylist()
    used = set(load("cifar10", root=str(little_cifar), test_size=20).test.ids.tolist())
    bad = [row["image"]["bytes"] if i in used else b"damaged" for i, row in enumerate(good)]
    write(
        path,
        table(
            bad,
            [row["label"] for row in good],
            classes=json.dumps([f"class {c}" for c in range(10)]),
        ),
    )
    assert len(load("cifar10", root=str(little_cifar), test_size=20).test) == 20


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 1}, ConfigError, r"0\.1 of 1 "),
        ({"size": -5}, ConfigError, r"0\.1 of -5 "),
        ({"size": 201}, DataError, r"\b201 .*\b200\b"),
        ({"test_size": 0}, ConfigError, r"^test_size .*\b0\b"),
        ({"test_size": 51}, DataError, r"\b51 .*\b50\b"),
        ({"root": "nowhere"}, DataError, r"nowhere: train\.parquet"),
    ],
)
def test_an_invalid_option_of_cifar10_is_an_error(little_cifar, options, error, message):
    with pytest.raises(error, match=message):
        load("cifar10", **{"root": str(little_cifar), **options})


def test_another_data_set_is_not_cifar10(tmp_path):
    for name in ("train", "test"):
        write(tmp_path / f"{name}.parquet", tens())
    with pytest.raises(DataError, match=r"CIFAR-10.*\(2, 1, 6, 8\)"):
        load("cifar10", root=str(tmp_path))


def test_the_real_cifar10():
    root = os.environ.get("RUM_RAY_DATA")
    if not root:
        pytest.skip("set RUM_RAY_DATA to the folder of CIFAR-10's train.parquet and test.parquet")
    bundle = load("cifar10", root=root, size=4000, test_size=1000)
    counts = [torch.bincount(s.y).tolist() for s in (bundle.train, bundle.valid, bundle.test)]
    assert counts == [[360] * 10, [40] * 10, [100] * 10]
    assert bundle.train.shape == (3, 32, 32)
    assert bundle.class_names[3] == "cat"
    mean = (bundle.train.x.double() / 255).mean((0, 2, 3)).tolist()
    assert mean == pytest.approx(bundle.train.mean, abs=0.01)


def test_the_channels_of_a_model_stay_when_the_coloured_images_go(good, tmp_path):
    kept = images(train=good, reading=Reading(channels=3)).train
    alone = images(train=good).train
    assert (kept.shape[0], alone.shape[0]) == (3, 1)
    assert torch.equal(kept.x, alone.x.expand_as(kept.x))
    coloured = table([picture(6, 8, 3), *(picture() for _ in range(19))], [0, 1] * 10)
    path = write(tmp_path / "coloured.parquet", coloured)
    with pytest.raises(DataError, match="has colours"):
        images(train=path, reading=Reading(channels=1))
