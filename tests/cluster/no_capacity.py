"""A stage that no cluster has room for, in a process that ignores SIGINT as background jobs do."""

import importlib
import signal
import sys
from pathlib import Path

from rum_ray.cluster import jobs
from rum_ray.cluster.connect import connect
from rum_ray.data import load
from rum_ray.errors import StalledError
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context
from rum_ray.store import Store


def main(folder: Path) -> None:
    """Print why the stage ended, and the handler that it left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    jobs.STALL_SECONDS = 5.0
    elastic_jobs = importlib.import_module("elastic_jobs")
    room = ClusterConfig(workers=1, gpus_per_worker=1.0)
    with connect(workers=1):
        try:
            context = Context(load("digits"), Store(folder))
            jobs.run("hungry", [elastic_jobs.Hungry(0)], context, room, lambda of: None)
        except StalledError as error:
            print(error)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


if __name__ == "__main__":
    main(Path(sys.argv[1]))
