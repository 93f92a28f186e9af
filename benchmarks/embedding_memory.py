"""Memory of driver and workers while encoded images stream past a model: 50 thousand to 5 million.

Images are made when they are read, so that what is measured is the stream and not its source.
"""

import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from _harness import Row, save

from rum_ray.data.bundle import Indices
from rum_ray.data.images import Source
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
    """Watches the memory of this process and of those below it.

    Attributes:
        driver: most bytes of this process so far, without what it shares.
        workers: most bytes of any other, likewise.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.driver = self.workers = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Look five times a second."""
        while not self._over.wait(0.2):
            self.driver = max(self.driver, anonymous(Path("/proc/self")))
            for folder in Path("/proc").glob("[0-9]*"):
                if is_worker(folder):
                    self.workers = max(self.workers, anonymous(folder))

    def end(self) -> None:
        """Stop looking."""
        self._over.set()
        self.join()


def is_worker(folder: Path) -> bool:
    """Return whether a process is one of Ray's that runs our code."""
    try:
        return folder.joinpath("cmdline").read_bytes().startswith(b"ray::MapWorker")
    except OSError:
        return False


def anonymous(folder: Path) -> int:
    """Return a process's resident bytes that no file or other process shares."""
    try:
        lines = folder.joinpath("status").read_text().splitlines()
    except OSError:
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def main() -> None:
    from rum_ray.cluster.connect import connect
    from rum_ray.cluster.embed import stream_moments

    with Seed(0).torch():
        model = build("mlp", (1, SIDE, SIDE), 2)
    found: dict[str, dict[str, float]] = {}
    with connect(workers=2):
        for count in COUNTS:
            labels = torch.zeros(count, dtype=torch.uint8)
            source = Source(Path("made"), labels, ("a", "b"), pictures)
            groups = (np.arange(count) % 100 == 0).astype(np.uint8)
            peak = Peak()
            peak.start()
            moments = stream_moments(source, model, groups)
            peak.end()
            assert sum(m.count for m in moments.values()) == count
            found[f"{count:,} rows"] = {
                "driver": peak.driver / 2**20,
                "worker": peak.workers / 2**20,
            }
            print(count, found[f"{count:,} rows"], flush=True)
    first, last = (found[f"{count:,} rows"] for count in (COUNTS[0], COUNTS[-1]))
    rows = [
        Row(
            f"memory of the {who}, 5 million rows",
            "<= 1.25 x",
            "50 thousand",
            last[who] / first[who],
        )
        for who in ("driver", "worker")
    ]
    save("embedding_memory", rows, {}, "rows", mebibytes=found, side=SIDE)


if __name__ == "__main__":
    main()
