"""The dry run of every item at the paper's size, each by its command, on one thread.

No data are read: without the files of a data set, a dry run counts for one of its size. Names of
items and of data sets choose some of them; all are run without any.

    .venv/bin/python experiments/dry_runs.py
    .venv/bin/python experiments/dry_runs.py table1 mmd cifar100
"""

import json
import os
import subprocess
import sys
import time

from rum_ray.paper.catalogue import catalogue, studies


def dry_run(item: str, data: str) -> tuple[float, float, float]:
    """Return the seconds of a dry run, its trainings, and its hours on the workers of the file."""
    command = [sys.executable, "-m", "rum_ray", "reproduce", item, "--data", data]
    command += ["--preset", "paper", "--dry-run", "--json", "--set", "data.root=/nonexistent"]
    start = time.monotonic()
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    seconds, answer = time.monotonic() - start, json.loads(done.stdout)
    lines = [line for each in answer.get("reports", [answer]) for line in each["forecast"]]
    trainings, hours = (sum(line[key] for line in lines) for key in ("trainings", "seconds"))
    return seconds, trainings, hours / 3600


def main() -> None:
    """Run the items that the arguments name."""
    items, settings = catalogue().items, [*catalogue().settings]
    asked = {*sys.argv[1:]}
    for data in [name for name in settings if name in asked] or settings:
        for item in [name for name in items if name in asked] or items:
            if items[item].data and data not in items[item].data:
                continue
            seconds, trainings, hours = dry_run(item, data)
            count = len(studies(item, data, "paper"))
            print(
                f"{item:<13} {data:<14} {count} studies: dry run {seconds:5.1f} s, "
                f"{seconds / count:4.1f} s each; {trainings:,.0f} trainings, {hours:,.0f} hours",
                flush=True,
            )


if __name__ == "__main__":
    main()
