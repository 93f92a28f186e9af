"""Photos in folders: time and memory of a dry run, memory of reading, and the second read.

Photos are written once per run, as JPEG files of several sizes. A dry run and a read have a process
of their own, so that its peak is theirs.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from _harness import Row, alone, interleave, memory, ratio, save
from PIL import Image

from rum_ray.data import Reading, load

FEW, MANY = 600, 5_000
SIDE, LARGE = 64, 224
READ = (500, 1_000, 2_000)
CAMERA = (768, 1024)
"""Height and width of the photos that are read twice."""
EXPERIMENT = """
name: photos
data: {{name: images, train: {folder}/train, test: {folder}/test, size: 64}}
recipe: {{model: resnet18, epochs: 8, lr: 0.1, batch_size: 64}}
score: {{name: confidence}}
forget: {{size: 30}}
plan: {{low: nothing, medium: finetune, high: salun}}
"""


def write(folder: Path, count: int, height: int, width: int) -> None:
    """Write photos of about this size, half of each class."""
    draw = np.random.default_rng(count)
    for number in range(count):
        path = folder / ("cat" if number % 2 else "dog") / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        size = (width + number % 7, height + number % 5)
        Image.fromarray(coarse).resize(size).save(path, quality=90)


def sources(count: int, height: int, width: int) -> tempfile.TemporaryDirectory[str]:
    """Write a training and a test source of photos; return their folder."""
    folder = tempfile.TemporaryDirectory()
    write(Path(folder.name) / "train", count, height, width)
    write(Path(folder.name) / "test", max(20, count // 10), height, width)
    return folder


def dry_run(count: int) -> tuple[float, float]:
    """Return the seconds and the peak MiB of a dry run."""
    with sources(count, SIDE, SIDE) as folder:
        path = Path(folder) / "e.yaml"
        path.write_text(EXPERIMENT.format(folder=folder), "utf-8")
        command = [sys.executable, "-m", "rum_ray", "run", str(path), "--dry-run", "--json"]
        start = perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, memory(process.pid, "VmHWM"))
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        assert process.returncode == 0
        return perf_counter() - start, peak


def read(count: int) -> dict[str, float]:
    """Return the pixels of a data set, and the growth of a process that reads them, in MiB."""
    with sources(count, LARGE, LARGE) as folder:
        options: dict[str, Any] = {"test": f"{folder}/test", "size": LARGE}
        load("images", train=f"{folder}/test", **options)
        before = memory("self", "VmHWM")
        bundle = load("images", train=f"{folder}/train", **options)
        pixels = sum(part.x.nbytes for part in (bundle.train, bundle.valid, bundle.test))
        return {"pixels": pixels / 2**20, "growth": memory("self", "VmHWM") - before}


def main() -> None:
    rows = []
    for count in (FEW, MANY):
        seconds, peak = dry_run(count)
        print(f"dry run, {count} photos: {seconds:.1f} s, {peak:.0f} MiB", flush=True)
        rows.append(Row(f"dry run of {count:,} photos", "<= 10 s", "-", seconds))
        rows.append(Row(f"memory of a dry run of {count:,} photos", "<= 1024 MiB", "-", peak))
    sizes = {count: alone(__file__, count) for count in READ}
    least, most = sizes[READ[0]], sizes[READ[-1]]
    slope = (most["growth"] - least["growth"]) / (most["pixels"] - least["pixels"])
    rows.append(Row("memory per byte of pixels, while reading", "<= 1.1 x", "the pixels", slope))
    with sources(200, *CAMERA) as folder, tempfile.TemporaryDirectory() as cache:
        options: dict[str, Any] = {
            "train": f"{folder}/train",
            "test": f"{folder}/test",
            "size": SIDE,
        }

        def side(reading: Reading) -> float:
            return float(len(load("images", reading=reading, **options).train))

        cached = Reading(cache=Path(cache))
        sides = {"decoded": lambda: side(Reading()), "cached": lambda: side(cached)}
        rates = interleave(sides, 5, "photos")
    faster = ratio(rates, "cached", "decoded")
    rows.append(Row("second read of photos of 0.8 megapixels", ">= 5 x", "the first", faster))
    save("photos", rows, rates, "photos", mebibytes=sizes, dry_run_side=SIDE, read_side=LARGE)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(read(int(sys.argv[1]))))
    else:
        main()
