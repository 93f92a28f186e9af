"""One GPU: models per hour by workers, MFU, CUDA graphs, compilation, determinism, memory.

It needs PyTorch with CUDA and nothing else: no Ray, no other package of `constraints.txt`. It ends
within `--seconds` and writes JSON; what did not fit into the time is listed under `skipped`.
Without a GPU it writes nothing, unless `--device cpu` asks for a miniature.

    python benchmarks/gpu.py --out gpu.json
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from _bare import RESNET

from rum_ray.data.batches import Batches
from rum_ray.data.bundle import LabeledData
from rum_ray.seeding import Seed
from rum_ray.training import LocalRuntime, Recipe

EPOCHS = 30
"""Epochs of a model; measured are a few, and the rest is extrapolated."""
MODELS = {"fast_cnn": ("fast_cnn", 512, 3000), "resnet18": (RESNET, 256, 250)}
"""Name in the recipe, batch size, and goal in models per hour, by model."""
MFU_GOAL = 0.25
PEAKS = {"H200": 989e12, "H100 PCIe": 756e12, "H100": 989e12, "A100": 312e12}
"""Dense bfloat16 FLOP per second by data sheet, by a part of the device's name."""


def images(count: int) -> LabeledData:
    """Return random images of CIFAR-10's shape."""
    pixels = torch.randint(0, 256, (count, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 10
    return LabeledData(pixels.to(torch.uint8), labels, num_classes=10, mean=(0.5,), std=(0.25,))


def recipe_of(model: str, epochs: int = EPOCHS) -> Recipe:
    """Return the recipe of a model."""
    name, batch, _ = MODELS[model]
    return Recipe(name, epochs, 0.1, batch, augment=True, precision="bfloat16")


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def twice(model: str, count: int, device: torch.device) -> list[str]:
    """Return the digests of the weights of two trainings with the same seed."""
    return [trained(model, count, device) for _ in range(2)]


def trained(model: str, count: int, device: torch.device) -> str:
    """Return the digest of the weights after two epochs."""
    found = hashlib.sha256()
    fitted = recipe_of(model, 2).fit(images(count), LocalRuntime(Seed(0), device))
    for value in fitted.state_dict().values():
        found.update(value.cpu().numpy().tobytes())
    return found.hexdigest()


class Loop:
    """The training loop of a model on resident data, epoch by epoch."""

    def __init__(self, model: str, count: int, device: torch.device) -> None:
        self.recipe, self.device = recipe_of(model), device
        self.runtime = LocalRuntime(Seed(0), device)
        data = images(count)
        self.model = self.recipe.build(data, Seed(0)).to(device)
        self.optimizer = self.recipe.new_optimizer(self.model)
        self.batches = Batches(data, self.recipe.batch_size, device, self.recipe.augment)

    def epochs(self, count: int) -> float:
        """Return the seconds of some epochs."""
        synchronize(self.device)
        start = time.perf_counter()
        for epoch in range(count):
            self.recipe.epoch(self.model, self.optimizer, self.batches, Seed(epoch))
        synchronize(self.device)
        return time.perf_counter() - start


def work(pipe: Any, device: str) -> None:
    """Train what the pipe asks for: (model, examples, epochs), first to warm up, then timed."""
    place = torch.device(device)
    with suppress(EOFError):
        while True:
            model, count, epochs = pipe.recv()
            if place.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(place)
            loop = Loop(model, count, place)
            loop.epochs(1)
            pipe.send("ready")
            pipe.recv()
            seconds = loop.epochs(epochs)
            peak = torch.cuda.max_memory_reserved(place) if place.type == "cuda" else 0
            pipe.send((seconds, peak))
            del loop


@contextmanager
def workers(count: int, device: str) -> Iterator[list[Any]]:
    """Start processes that train, and yield a pipe to each."""
    spawn = multiprocessing.get_context("spawn")
    pairs = [spawn.Pipe() for _ in range(count)]
    processes = [spawn.Process(target=work, args=(theirs, device)) for _, theirs in pairs]
    for process in processes:
        process.start()
    for _, theirs in pairs:
        theirs.close()
    try:
        yield [ours for ours, _ in pairs]
    finally:
        for ours, _ in pairs:
            ours.close()
        for process in processes:
            process.join(20)
            process.kill()


def together(pipes: list[Any], model: str, count: int, epochs: int) -> dict[str, Any]:
    """Return the models per hour of some workers that train at the same time."""
    for pipe in pipes:
        pipe.send((model, count, epochs))
    for pipe in pipes:
        pipe.recv()
    start = time.perf_counter()
    for pipe in pipes:
        pipe.send("go")
    answers = [pipe.recv() for pipe in pipes]
    wall = time.perf_counter() - start
    return {
        "workers": len(pipes),
        "models_per_hour": 3600 * len(pipes) / (wall / epochs * EPOCHS),
        "images_per_second": len(pipes) * epochs * count / wall,
        "epoch_seconds": [seconds / epochs for seconds, _ in answers],
        "memory_per_worker": max(peak for _, peak in answers),
    }


@contextmanager
def mps() -> Iterator[bool]:
    """Start NVIDIA's MPS for the length of a block; yield False where it is not there."""
    program, folder = shutil.which("nvidia-cuda-mps-control"), tempfile.mkdtemp()
    os.environ |= {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
    started = program is not None and subprocess.run([program, "-d"], check=False).returncode == 0
    try:
        yield started
    finally:
        if program is not None and started:
            subprocess.run([program], input=b"quit\n", check=False, timeout=30)
        for name in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"):
            os.environ.pop(name)
        shutil.rmtree(folder, ignore_errors=True)


def flop_per_image(model: str) -> float:
    """Return the counted FLOP of a forward and a backward pass, by PyTorch's counter."""
    from torch.utils.flop_counter import FlopCounterMode

    network = Recipe(MODELS[model][0]).build(images(2), Seed(0)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(2, 3, 32, 32))
    return 3 * counter.get_total_flops() / 2


def matmul_flops(device: torch.device, size: int) -> float:
    """Return the FLOP per second of a large bfloat16 matmul."""
    a = torch.rand(size, size, device=device, dtype=torch.bfloat16)
    times = []
    for _ in range(10):
        synchronize(device)
        start = time.perf_counter()
        a @ a
        synchronize(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / median(times)


def steps(model: str, device: torch.device, how: str, count: int = 30) -> float:
    """Return the images per second of bare steps on one batch: "eager", "graph" or "compiled"."""
    recipe = recipe_of(model)
    LocalRuntime(Seed(0), device)
    data = images(recipe.batch_size)
    network = recipe.build(data, Seed(0)).to(device).train()
    forward = recipe.forward(torch.compile(network) if how == "compiled" else network)
    optimizer = recipe.new_optimizer(network)
    x, y = (data.x.float() / 255).to(device), data.y.to(device)

    def step() -> None:
        optimizer.zero_grad(set_to_none=how != "graph")
        F.cross_entropy(forward(x), y).backward()
        optimizer.step()

    run: Callable[[], None] = step
    if how == "graph":
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        run = graph.replay
    for _ in range(3):
        run()
    synchronize(device)
    start = time.perf_counter()
    for _ in range(count):
        run()
    synchronize(device)
    return count * recipe.batch_size / (time.perf_counter() - start)


class Report:
    """The parts of the result; a part that fails or comes too late is told as such."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.parts: dict[str, Any] = {}
        self.skipped: dict[str, str] = {}

    def measure(self, name: str, least: float, part: Callable[[], Any]) -> None:
        """Measure a part, if at least `least` seconds are left."""
        if time.monotonic() + least > self.end:
            self.skipped[name] = "no time left"
            return
        try:
            self.parts[name] = part()
        except Exception as error:  # The other parts are worth having.
            self.skipped[name] = f"{type(error).__name__}: {str(error)[:300]}"
        print(name, json.dumps(self.parts.get(name, self.skipped.get(name))), flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all parts of the result."""
    device, report = torch.device(options.device), Report(options.seconds)
    small, cuda = options.examples, device.type == "cuda"
    report.measure("flop_per_image", 0, lambda: {m: flop_per_image(m) for m in options.models})
    report.measure("matmul_flops", 0, lambda: matmul_flops(device, 8192 if cuda else 256))
    for model in options.models:
        report.measure(
            f"bits {model}", 10 * cuda, partial(twice, model, max(2, small // 10), device)
        )

    def scaling(prefix: str) -> None:
        with workers(max(options.workers), options.device) as pipes:
            for model in options.models:
                for count in options.workers:
                    part = partial(together, pipes[:count], model, small, options.epochs)
                    report.measure(f"{prefix} {model} {count}", 20 * cuda, part)

    scaling("processes")
    for model in options.models:
        for how in ("eager", "graph", "compiled") if cuda else ("eager",):
            part = partial(steps, model, device, how, 30 if cuda else 2)
            report.measure(f"steps {how} {model}", 60 if how == "compiled" else 5 * cuda, part)
    if cuda and time.monotonic() + 60 < report.end:
        with mps() as started:
            if started:
                scaling("mps")
            else:
                report.skipped["mps"] = "nvidia-cuda-mps-control is not there or did not start"
    return {"parts": report.parts, "skipped": report.skipped}


def goals(parts: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the goals with what was reached; `met` is None where it was not measured."""
    found: list[dict[str, Any]] = []
    peak = next((value for part, value in PEAKS.items() if part in name), None)
    for model, (_, _, goal) in MODELS.items():
        runs = [run for part, run in parts.items() if f" {model} " in part]
        best = max((run["models_per_hour"] for run in runs), default=None)
        found.append(_goal(f"{model}, models an hour, {EPOCHS} epochs", goal, best))
        speed = max((run["images_per_second"] for run in runs), default=None)
        flop = parts.get("flop_per_image", {}).get(model)
        known = speed is not None and flop is not None and peak is not None
        found.append(_goal(f"{model}, MFU", MFU_GOAL, speed * flop / peak if known else None))
        bits = parts.get(f"bits {model}")
        same = None if bits is None else float(len({*bits}) == 1)
        found.append(_goal(f"{model}, equal bits for the same seed", 1.0, same))
    return found


def _goal(what: str, goal: float, reached: float | None) -> dict[str, Any]:
    """Return one goal: at least so much."""
    met = None if reached is None else reached >= goal
    return {"what": what, "goal": goal, "reached": reached, "met": met}


def main() -> None:
    """Measure, print the goals, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--examples", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=2, help="measured epochs of a model")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=420)
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("not run: PyTorch sees no GPU. A miniature: --device cpu --examples 64 --epochs 1")
        return
    cuda, start = options.device == "cuda", time.monotonic()
    name = torch.cuda.get_device_name() if cuda else platform.machine()
    result = measure(options)
    result = {
        "benchmark": "gpu",
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "data": "random images of CIFAR-10's shape",
        "settings": {**vars(options), "out": str(options.out), "models": MODELS, "peaks": PEAKS},
        "extrapolated": f"models per hour: {options.epochs} measured epochs of {EPOCHS}, each over "
        f"{options.examples} images, after one that warms up; predictions are not included",
        "seconds": time.monotonic() - start,
        "goals": goals(result["parts"], name),
        **result,
    }
    options.out.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    for goal in result["goals"]:
        print(goal["what"], goal["reached"], {True: "met", False: "missed", None: "-"}[goal["met"]])


if __name__ == "__main__":
    main()
