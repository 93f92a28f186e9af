"""Folders and tables of images, lists of ids, and scores: the place is the file, id or key."""

import io
import os

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from refusals import Row, sets, table

from rum_ray.errors import ConfigError, DataError, PlanError, ScoreError, UnsafeError

OWN = """
name: own
data: {name: images, train: d, test: t, valid_fraction: 0}
recipe: {model: small_cnn, epochs: 1, batch_size: 4}
score: {name: confidence}
forget: {size: 3}
"""
RUN = ("run", "own.yaml")


def png(shade: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB", kind: str = "PNG"):
    stream = io.BytesIO()
    Image.new(mode, size, shade).save(stream, kind)
    return stream.getvalue()


def parquet(**columns):
    """Return a function that writes a table to a path."""
    return lambda path: pq.write_table(pa.table(columns), path)


def cut(path):
    """Write a table, and only its first half."""
    parquet(image=IMAGES, label=LABELS)(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def holed(path):
    """Write a table with zeros in place of some of its data."""
    parquet(image=IMAGES, label=LABELS)(path)
    content = path.read_bytes()
    third = len(content) // 3
    path.write_bytes(content[:third] + bytes(third) + content[2 * third :])


IMAGES = [png(9 * i) for i in range(12)]
GOOD = {f"d/{name}/{i}.png": IMAGES[i] for name in "ab" for i in range(6)}
ACCENT = {f"d/{name}/{i}.png": IMAGES[i] for name in ("caf\u00e9", "b c") for i in range(6)}
SPACES = {name.replace("d/", "my d\u00e4ta/"): content for name, content in GOOD.items()}
LABELS = [0, 1] * 6
TEST = {"t/a/0.png": png(200), "t/b/0.png": png(201)}
TEST_OF_ACCENT = {"t/caf\u00e9/0.png": png(200), "t/b c/0.png": png(201)}

# A file in a good folder.
FILES = [
    ("another size", "9.png", png(size=(9, 8)), "9 x 8"),
    ("16 bits", "9.png", png(mode="I;16"), "I;16"),
    ("TIFF", "9.tif", png(kind="TIFF"), "TIFF"),
    ("SVG", "9.svg", b"<svg/>", "unknown format"),
    ("HEIC", "9.heic", b"\0\0\0\x18ftypheic", "HEIC"),
    ("no bytes", "9.png", b"", "replace"),
    ("a cut image", "9.png", png()[:40], "replace"),
    ("a web page in place of an image", "9.jpg", b"<html>404</html>", "unknown format"),
    ("a list beside the images", "labels.csv", b"0,1", "unknown format"),
    ("thumbnails of a file manager", "Thumbs.db", b"x", "unknown format"),
    ("a folder in a class", "b/1.png", png()),
    ("a dangling link", "9.png", lambda path: path.symlink_to("nowhere"), "does not exist"),
    ("a pipe", "9.png", os.mkfifo),
]
# Files, settings, place and further parts of the message.
FOLDERS = [
    ("no folder", {}, (), "d"),
    ("a folder of images without classes", GOOD, ("data.train=d/a",), "d/a"),
    ("one class", {f"d/a/{i}.png": png() for i in range(4)}, (), "d", "1 classes"),
    ("an empty class", {**GOOD, "d/c/.keep": b""}, (), "'c'"),
    ("two classes that look alike",
     {**ACCENT, **{f"d/cafe\u0301/{i}.png": png() for i in range(6)}}, (), "d", "alike"),
    ("folders of splits",
     {f"d/{s}/{c}/1.png": png() for s in ("train", "test") for c in "ab"}, (), "d", "d/train"),
    ("another case", GOOD, ("data.train=D",), "D"),
    ("a space at the end", GOOD, ("data.train='d '",), "d "),
    ("a pattern of names", GOOD, ("data.train=d/*",), "d/*"),
    ("no test set there", GOOD, ("data.test=nowhere",), "nowhere"),
    ("accents in another encoding", SPACES,
     ("data.train='my da\u0308ta'", "data.test=t"), "my da\u0308ta", "accents"),
    ("an archive", {"d": b"PK\x03\x04 and more"}, (), "d", "Parquet"),
    ("an image as the data", GOOD, ("data.train=d/a/0.png",), "d/a/0.png", "Parquet"),
    ("a table of text", {"d/t.csv": b"a,b"}, (), "d"),
    ("text that is called Parquet", {"d/t.parquet": b"image,label\n" * 9}, (), "d/t.parquet"),
    ("a table of no bytes", {"d/t.parquet": b""}, (), "d/t.parquet"),
    ("a cut table", {"d/t.parquet": cut}, (), "d/t.parquet"),
    ("a table without its middle", {"d/t.parquet": holed}, (), "d/t.parquet"),
    ("a pipe", {"d": os.mkfifo}, (), "d"),
    ("a device", {}, ("data.train=/dev/zero",), "/dev/zero"),
]  # fmt: skip
TABLES = [
    ("labels of numbers with a point", DataError, {"label": [0.0, 1.0] * 6}, "label", "double"),
    ("labels of truth", DataError, {"label": [True, False] * 6}, "label", "bool"),
    ("labels of dates", DataError, {"label": pa.array(LABELS, pa.timestamp("s"))}, "label"),
    ("labels in lists", UnsafeError, {"label": [[0], [1]] * 6}, "label", "list"),
    ("labels with a hole", DataError, {"label": [0, 2] * 6}, "row 1", "0 .. 1"),
    ("labels from 1", DataError, {"label": [1, 2] * 6}, "row 1", "0 .. 1"),
    ("a negative label", DataError, {"label": [0, -1] * 6}, "row 1", "-1"),
    ("no label in a row", DataError, {"label": [None, *LABELS[1:]]}, "row 0", "null"),
    ("no column of labels", DataError, {}, "d/t.parquet", "data.label"),
    ("no image in a row", DataError, {"image": [None, *IMAGES[1:]], "label": LABELS}, "row 0"),
    ("paths in place of images", DataError,
     {"image": [f"{i}.png" for i in range(12)], "label": LABELS}, "d/t.parquet", "string"),
    ("pixels in place of images", UnsafeError, {"image": [[0] * 64] * 12, "label": LABELS},
     "image", "list"),
    ("no row", DataError,
     {"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "d", "0 images"),
]  # fmt: skip
COLUMNS = [
    ("no such column of ids", ConfigError, "data.id=usr", "data.id", "'user'?"),
    ("no such column of labels", ConfigError, "data.label=kind", "data.label"),
    ("ids of nothing", DataError, "data.id=none", "d/t.parquet", "null"),
    ("ids that are not unique", DataError, "data.id=user", "data.id", "row 0"),
    ("images as labels", DataError, "data.label=image", "d/t.parquet"),
]
# A setting on the good folder.
SETTINGS = [
    ("a column of a folder", "data.label=x", "data.label"),
    ("a size of 8.5", "data.size=8.5", "data.size", "8.5"),
    ("a size of text", "data.size='8'", "data.size", "write 8."),
    ("a size of one side", "data.size=[8]", "data.size"),
    ("a size with a cross", "data.size=8x8", "data.size"),
    ("a size of 0", "data.size=0", "data.size"),
    ("a size of a poster", "data.size=100000", "data.size", "megapixels"),
    ("a fit that is none", "data.fit=zoom", "data.fit", "'zoom'"),
    ("EXIF of no", "data.exif=no", "data.exif", "quotes"),
    ("a share of V of 10", "data.valid_fraction=10", "data.valid_fraction"),
    ("a share of V in per cent", "data.valid_fraction=10%", "data.valid_fraction"),
    ("a share of V without an image", "data.valid_fraction=0.01", "data.valid_fraction"),
    ("the key of CIFAR-10", "data.root=d", "data.root"),
    ("a list of folders", "data.train=[d]", "data.train"),
    ("an empty path", "data.train=''", "data.train"),
    ("a class in capitals", "forget={class: A}", "forget.class", "'A'"),
    ("a class that is absent", "forget={class: c}", "forget.class", "a, b"),
    ("a share to forget", "forget.size=0.1", "forget.size"),
    ("a share to forget in per cent", "forget.size=10%", "forget.size"),
    ("statistics from 0 to 255", "recipe.normalize={mean: [128, 128, 128], std: [50, 50, 50]}",
     "recipe.normalize.mean", "255"),
    ("statistics of one sign", "recipe.normalize={mean: [-0.5], std: [0.5]}",
     "recipe.normalize.mean"),
    ("a search without V", "search={}", "search", "data.valid_fraction"),
]  # fmt: skip
# A list of ids on the good folder.
LISTS = [
    ("no id", "", "ids.txt"),
    ("an empty line", "a/0.png\n\na/1.png\n", "line 2"),
    ("the name in another case", "A/0.png\n", "entry 1"),
    ("an absolute path", "/d/a/0.png\n", "entry 1"),
    ("a path with the folder", "d/a/0.png\n", "entry 1"),
    ("a path with a point", "./a/0.png\n", "entry 1"),
    ("a backslash", "a\\0.png\n", "entry 1"),
    ("a pattern", "a/*.png\n", "entry 1"),
    ("a name without a suffix", "a/0\n", "entry 1"),
    ("ids in one line", "a/0.png, a/1.png\n", "entry 1"),
    ("JSON", '["a/0.png"]\n', "ids.txt"),
    ("quotes", '"a/0.png"\n', "ids.txt"),
    ("a comment", "# ids\na/0.png\n", "entry 1"),
    ("a header", "id\na/0.png\n", "entry 1"),
    ("a second column", "a/0.png\t1\n", "ids.txt"),
    ("a range", "0-3\n", "entry 1"),
    ("a mask", "0\n1\n0\n1\n", "ids.txt", "twice"),
    ("a number with a point", "1.0\n", "entry 1"),
    ("a number with an exponent", "1e0\n", "entry 1"),
    ("a hexadecimal number", "0x1\n", "entry 1"),
    ("Arabic digits", "\u0663\n", "entry 1"),
    ("a number too large", "12\n", "entry 1"),
    ("a negative number", "-1\n", "entry 1"),
    ("an id twice", "a/0.png\na/0.png\n", "ids.txt", "entry 1 = 2"),
    ("an id as name and number", "a/0.png\n0\n", "ids.txt", "entry 1 = 2"),
    ("UTF-16", "a/0.png".encode("utf-16"), "ids.txt", "UTF-8"),
    ("a null byte", "a/0.png\0", "ids.txt"),
]
# A table of scores on the good folder.
ROWS_OF_SCORES, SOME = list(range(12)), [0.1] * 12
SCORES = [
    ("no id", {"memorization": SOME}, "s.parquet", "'id'"),
    ("no score", {"id": ROWS_OF_SCORES}, "s.parquet", "'memorization'"),
    ("an id twice", {"id": [0] * 12, "memorization": SOME}, "s.parquet", "twice"),
    ("ids of other data", {"id": [90 + i for i in range(12)], "memorization": SOME}, "s.parquet",
     "training set"),
    ("ids of text", {"id": list("abcdefghijkl"), "memorization": SOME}, "'id'", "string"),
    ("ids with a point", {"id": [i + 0.0 for i in range(12)], "memorization": SOME}, "'id'"),
    ("scores of text", {"id": ROWS_OF_SCORES, "memorization": ["x"] * 12}, "'memorization'"),
    ("a part of the rows", {"id": ROWS_OF_SCORES[:9], "memorization": SOME[:9]}, "forget",
     "3 of 12"),
    ("no number", {"id": ROWS_OF_SCORES, "memorization": [float("nan")] * 12}, "forget",
     "12 of 12"),
]  # fmt: skip


def row(name, error, place, said, files, *settings):
    tests = TEST_OF_ACCENT if files.keys() >= ACCENT.keys() else TEST
    if callable(files.get("d/t.parquet")):
        tests = {"t/t.parquet": parquet(image=IMAGES[::-1], label=LABELS)}
    return Row(
        name, error, place, RUN + sets(*settings), tuple(said), {"own.yaml": OWN, **tests, **files}
    )


ROWS = [
    *(row(f"a file: {name}", DataError, f"d/a/{path.partition('/')[0]}", said,
          {**GOOD, f"d/a/{path}": content}) for name, path, content, *said in FILES),
    *(row(f"a folder: {name}", DataError, place, said, files, *settings)
      for name, files, settings, place, *said in FOLDERS),
    *(row(f"a table: {name}", error, place, said,
          {"d/t.parquet": parquet(**{"image": IMAGES, **columns})})
      for name, error, columns, place, *said in TABLES),
    *(row(f"a column: {name}", error, place, said,
          {"d/t.parquet": parquet(image=IMAGES, label=LABELS, user=["u"] * 12,
                               none=pa.array([None] * 12, pa.string()))}, setting)
      for name, error, setting, place, *said in COLUMNS),
    *(row(f"a setting: {name}", ConfigError, place, said, GOOD, setting)
      for name, setting, place, *said in SETTINGS),
    *(row(f"a list: {name}", DataError, place, said, {**GOOD, "ids.txt": text},
          "forget={ids: ids.txt}") for name, text, place, *said in LISTS),
    *(row(f"scores: {name}", ScoreError, place, said, {**GOOD, "s.parquet": parquet(**columns)},
          "score={file: s.parquet}") for name, columns, place, *said in SCORES),
    row("two files that look alike", DataError, "ids.txt", ("accents",),
        {**GOOD, "d/a/\u00e9.png": png(), "d/a/e\u0301.png": png(), "ids.txt": "a/e\u0301.png\n"},
        "forget={ids: ids.txt}"),
    row("an id in another encoding of accents is found", PlanError, "refine", ("1 example",),
        {**ACCENT, "ids.txt": "cafe\u0301/0.png\n"}, "forget={ids: ids.txt}"),
    row("everything in a list", PlanError, "forget", (),
        {**GOOD, "ids.txt": "".join(f"{i}\n" for i in range(12))}, "forget={ids: ids.txt}"),
    row("a list that is not there", DataError, "no.txt", (), GOOD, "forget={ids: no.txt}"),
    row("images too small for the network", ConfigError, "small_cnn", ("2 x 2",), GOOD,
        "data.size=2"),
    row("scores that are no table", DataError, "s.csv", (), {**GOOD, "s.csv": "id,score\n"},
        "score={file: s.csv}"),
    row("scores that are not there", DataError, "no.parquet", (), GOOD,
        "score={file: no.parquet}"),
    row("scores in a folder", DataError, "d", (), GOOD, "score={file: d}"),
    row("scores in a pipe", DataError, "s.pipe", (), {**GOOD, "s.pipe": os.mkfifo},
        "score={file: s.pipe}"),
    row("a list in a pipe", DataError, "ids.pipe", ("FIFO",), {**GOOD, "ids.pipe": os.mkfifo},
        "forget={ids: ids.pipe}"),
    row("a list on a device", DataError, "/dev/zero", (), GOOD, "forget={ids: /dev/zero}"),
]  # fmt: skip


@table(*ROWS)
def test_wrong_data_are_refused_with_their_file_or_key(refuse, row):
    refuse(row)
