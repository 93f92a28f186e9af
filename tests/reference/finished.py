"""A finished study: the pipeline runs in this process, without a cluster."""

from collections.abc import Iterable
from typing import Any

from rum_ray.study.executor import LocalExecutor
from rum_ray.study.pipeline import Pipeline
from rum_ray.study.study import Study
from rum_ray.study.timing import Clock


class Silent:
    """Progress without a listener."""

    def start(self, stage: str, total: int) -> None:
        """Ignore the start of a stage."""

    def update(self, state: object) -> None:
        """Ignore the progress of a stage."""

    def finish(self, summary: str) -> None:
        """Ignore the end of a stage."""

    def say(self, text: str) -> None:
        """Ignore an event."""


def finish(study: Study, command: str = "run") -> Clock:
    """Run the stages of a command; return their times."""
    clock = Clock()
    with LocalExecutor() as executor:
        Pipeline(study, executor, Silent(), clock).run(command)
    return clock


def make(study: Study, jobs: Iterable[Any]) -> None:
    """Do jobs."""
    for job in jobs:
        study.context.get_or_compute(job)
