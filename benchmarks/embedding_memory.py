"""Memory of driver and workers while encoded images stream past a model: 50 thousand to 5 million.

Images are made when they are read, so that what is measured is the stream and not its source. Each
size has a driver and a Ray of its own. What counts is how much a process grows from before the
stream to its peak; what it shares with others, such as the object store, is told apart.
"""

import json
import struct
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from _harness import Row, alone, memory, save

from rum_ray.data.bundle import Indices
from rum_ray.data.pixels import Layout
from rum_ray.data.source import Source
from rum_ray.models import build
from rum_ray.seeding import Seed

COUNTS = (50_000, 500_000, 5_000_000)
SIDE = 4
# A bitmap of 8 bits a pixel: file header, image header, a grey palette; the pixels follow.
HEADER = (
    b"BM"
    + struct.pack("<IHHI", 14 + 40 + 1024 + SIDE * SIDE, 0, 0, 14 + 40 + 1024)
    + struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 0, SIDE * SIDE, 0, 0, 256, 0)
    + b"".join(bytes((k, k, k, 0)) for k in range(256))
)


def pictures(rows: Indices) -> Iterator[tuple[str, bytes]]:
    """Yield an image for each row, which depends on the row alone."""
    for row in rows:
        yield str(row), HEADER + (int(row) * 2654435761).to_bytes(16, "little")


class Peak(threading.Thread):
    """Watches the memory of this process and of Ray's.

    Attributes:
        driver: most MiB of this process so far, without what it shares.
        worker: most MiB of any of Ray's workers, likewise.
        shared: most MiB that one process shares with others: the object store.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver = self.worker = self.shared = 0.0
        self._over = threading.Event()

    def run(self) -> None:
        """Look five times a second."""
        while not self._over.wait(0.2):
            self.driver = max(self.driver, memory("self", "RssAnon"))
            for folder in Path("/proc").glob("[0-9]*"):
                if is_worker(folder):
                    self.worker = max(self.worker, memory(folder.name, "RssAnon"))
                    self.shared = max(self.shared, memory(folder.name, "RssShmem"))

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()


def is_worker(folder: Path) -> bool:
    """Return whether a process is one of Ray's that runs our code."""
    try:
        return folder.joinpath("cmdline").read_bytes().startswith(b"ray::Map")
    except OSError:
        return False


def stream(count: int) -> dict[str, float]:
    """Return mebibytes of a stream of so many images; to be called in a process of its own."""
    from rum_ray.cluster.connect import connect
    from rum_ray.cluster.embed import stream_moments

    with Seed(0).torch():
        model = build("mlp", (1, SIDE, SIDE), 2)
    with connect(workers=2):
        labels, grey = torch.zeros(count, dtype=torch.int64), Layout(channels=1)
        source = Source(Path("made"), labels, ("a", "b"), pictures, grey)
        groups = (np.arange(count) % 100 == 0).astype(np.int64)
        before = memory("self", "RssAnon")
        peak = Peak()
        peak.start()
        moments = stream_moments(source, model, groups)
        peak.end()
    assert sum(m.count for m in moments.values()) == count
    return {
        "driver's growth": peak.driver - before,
        "worker": peak.worker,
        "object store": peak.shared,
    }


def main() -> None:
    found: dict[str, dict[str, float]] = {}
    for count in COUNTS:
        found[f"{count:,}"] = alone(__file__, count)
        print(f"{count:,} rows: {found[f'{count:,}']} MiB", flush=True)
    first, last = (found[f"{count:,}"] for count in (COUNTS[0], COUNTS[-1]))
    rows = [
        Row(f"{name}, 5 million rows streamed", "<= 32 MiB", "50 thousand rows", last[name] - size)
        for name, size in first.items()
    ]
    save("embedding_memory", rows, {}, "rows", mebibytes=found, side=SIDE)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(stream(int(sys.argv[1]))))
    else:
        main()
