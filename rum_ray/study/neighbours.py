"""Processes that keep other cores busy during a calibration, as the other workers of a run do.

Cores share caches, memory bandwidth and often arithmetic units, so a step takes more CPU time
beside busy cores than alone: 1.2 to 1.5 times on two virtual cores.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from rum_ray.study.study import Study

# Small matrix products in float32, like the steps of a small model; it ends with its parent.
_LOOP = """
import os
import numpy as np
parent = os.getppid()
a, b = np.ones((64, 256), "f"), np.ones((256, 256), "f")
print("ready", flush=True)
while os.getppid() == parent:
    for _ in range(100):
        (np.maximum(a @ b, 0) + 1).sum()
"""
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def neighbour_count(study: Study) -> int:
    """Return the number of cores of this machine that the other workers of a study keep busy."""
    threads = study.recipe.threads
    busy = min(study.experiment.cluster.workers * threads, os.cpu_count() or 1)
    return max(0, busy - threads)


@contextlib.contextmanager
def busy_neighbours(count: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Keep a number of cores busy for the length of a `with` block; yield the processes."""
    command = [sys.executable, "-c", _LOOP]
    with contextlib.ExitStack() as stack:
        processes = []
        for _ in range(count):
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, env={**os.environ, **_ONE_THREAD}
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            processes.append(process)
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        yield processes
