"""Miniatures of published data sets, in the very formats of their publishers.

Each image is the pattern of its class with noise, so that a small network learns it.
"""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.io
from PIL import Image

from rum_ray.seeding import Seed

FINE = [f"fine_{number:02}" for number in range(100)]
COARSE = [f"coarse_{number:02}" for number in range(20)]
TEN = [f"class_{number}" for number in range(10)]
PARTS = ("train", "test")


def labels(classes: int, each: int) -> np.ndarray:
    """Each class as often as asked, in turns."""
    return np.arange(classes * each) % classes


def pictures(y: np.ndarray, side: int, part: str) -> np.ndarray:
    """Coloured images, uint8 [N, 3, side, side]."""
    patterns = (Seed(5) / "patterns").uniform(256 * 3 * 16).reshape(256, 3, 4, 4)
    large = patterns.repeat(side // 4, axis=2).repeat(side // 4, axis=3)
    noise = (Seed(5) / part).uniform(len(y) * 3 * side**2).reshape(len(y), 3, side, side)
    return (255 * (0.7 * large[y] + 0.3 * noise)).astype(np.uint8)


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    """An image [C, H, W] as a file; grey with one channel."""
    stream = io.BytesIO()
    plain = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
    Image.fromarray(plain).save(stream, kind)
    return stream.getvalue()


def coarse_of(fine: np.ndarray) -> np.ndarray:
    """A superclass of five classes each."""
    return fine // 5


def table(columns: dict, names: dict[str, Sequence[str]], image: str) -> pa.Table:
    """A table as the library `datasets` writes it."""
    values = [{"bytes": encoded(each), "path": None} for each in columns.pop(image)]
    features = {name: {"names": list(each), "_type": "ClassLabel"} for name, each in names.items()}
    features[image] = {"_type": "Image"}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pa.table({image: values, **columns}).replace_schema_metadata(metadata)


def cifar100_parquet(folder: Path, each: int = 3, shards: int = 1) -> Path:
    """Columns `img`, `fine_label` and `coarse_label`, with one file or several for a split."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        fine = labels(100, each if part == "train" else 1)
        columns = {"img": pictures(fine, 32, part), "fine_label": fine}
        columns["coarse_label"] = coarse_of(fine)
        whole = table(columns, {"fine_label": FINE, "coarse_label": COARSE}, "img")
        for at, rows in enumerate(np.array_split(np.arange(len(fine)), shards)):
            name = f"{part}-{at:05}-of-{shards:05}.parquet"
            pq.write_table(whole.slice(rows[0], len(rows)), folder / name)
    return folder


def cifar100_binary(folder: Path, each: int = 3) -> Path:
    """The folder `cifar-100-binary` as its archive unpacks."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        fine = labels(100, each if part == "train" else 1)
        with (folder / f"{part}.bin").open("wb") as file:
            for label, image in zip(fine, pictures(fine, 32, part), strict=True):
                file.write(bytes([coarse_of(label), label]))
                for plane in image:
                    file.write(plane.tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(FINE) + "\n")
    (folder / "coarse_label_names.txt").write_text("\n".join(COARSE) + "\n")
    return folder


def cifar10_binary(folder: Path, each: int = 6) -> Path:
    """The folder `cifar-10-batches-bin` as its archive unpacks: five batches and one of tests."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", each), ("test", 2)):
        y = labels(10, count)
        names = [f"data_batch_{n}.bin" for n in range(1, 6)] if part == "train" else []
        images = pictures(y, 32, part)
        for name, rows in zip(
            names or ["test_batch.bin"],
            np.array_split(np.arange(len(y)), len(names) or 1),
            strict=True,
        ):
            records = (bytes([y[row]]) + images[row].tobytes() for row in rows)
            (folder / name).write_bytes(b"".join(records))
    (folder / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
    return folder


def archive(folder: Path, path: Path) -> Path:
    """A folder as `.tar.gz`."""
    with tarfile.open(path, "w:gz") as packed:
        packed.add(folder, folder.name)
    return path


def svhn_parquet(folder: Path, each: int = 12) -> Path:
    """Columns `image` and `label`; a label is its digit."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        y = labels(10, each if part == "train" else 4)
        columns = {"image": pictures(y, 32, part), "label": y}
        whole = table(columns, {"label": list("0123456789")}, "image")
        pq.write_table(whole, folder / f"{part}-00000-of-00001.parquet")
    return folder


def svhn_mat(folder: Path, each: int = 12, compress: bool = True) -> Path:
    """`X` [32, 32, 3, N] and `y` [N, 1]; the digit 0 has label 10."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        y = labels(10, each if part == "train" else 4)
        x = pictures(y, 32, part).transpose(2, 3, 1, 0)
        content = {"X": x, "y": np.where(y == 0, 10, y).astype(np.uint8)[:, None]}
        path = folder / f"{part}_32x32.mat"
        scipy.io.savemat(path, content, do_compression=compress)
    return folder


def tiny_imagenet(folder: Path, each: int = 3, grey: int = 7) -> Path:
    """The folder `tiny-imagenet-200`: 200 classes; every image with `n % grey == 0` is grey."""
    wnids = [f"n{10_000_000 + 37 * number:08}" for number in range(200)]
    y = np.repeat(np.arange(200), each)
    images = pictures(y, 64, "train")
    for n, (label, image) in enumerate(zip(y, images, strict=True)):
        place = folder / "train" / wnids[label] / "images" / f"{wnids[label]}_{n % each}.JPEG"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(image[:1] if n % grey == 0 else image, "JPEG"))
        (place.parents[1] / f"{wnids[label]}_boxes.txt").write_text("")
    (folder / "val" / "images").mkdir(parents=True)
    order = (Seed(5) / "val").permutation(200)
    lines = []
    for n, (label, image) in enumerate(zip(order, pictures(order, 64, "test"), strict=True)):
        (folder / "val" / "images" / f"val_{n}.JPEG").write_bytes(encoded(image, "JPEG"))
        lines.append(f"val_{n}.JPEG\t{wnids[label]}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "test" / "images").mkdir(parents=True)
    # The file of classes has an order of its own, the file of words many other synsets.
    (folder / "wnids.txt").write_text("\n".join(wnids[::-1]) + "\n")
    words = [f"{wnid}\tword {n // 2 if n < 4 else n}, other\n" for n, wnid in enumerate(wnids)]
    (folder / "words.txt").write_text("n00001740\tentity\n" + "".join(words))
    return folder
