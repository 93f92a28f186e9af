"""A cluster that was joined, and what the stages of a study ask of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rum_ray.cluster import embed, jobs, tune
from rum_ray.cluster.metrics import Metrics
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context, Job, SearchJob
from rum_ray.jobs.job import Streamed
from rum_ray.study.progress import ProgressState


@dataclass(frozen=True)
class RayExecutor:
    """Makes what is missing.

    Attributes:
        context: the data and the store.
        config: how many workers, and what each gets.
    """

    context: Context
    config: ClusterConfig

    def run(
        self,
        name: str,
        missing: Sequence[Job],
        tell: Callable[[ProgressState], ProgressState],
        spare: jobs.Spare = tuple,
    ) -> None:
        """Do the jobs of a stage.

        Args:
            name: of the stage.
            missing: its jobs, at least one.
            tell: is told how far they are, and returns how far the stage is, for the metrics.
            spare: says which of the jobs are not needed any more.
        """
        metrics = Metrics(name)
        jobs.run(name, missing, self.context, self.config, lambda of: metrics.set(tell(of)), spare)

    def stream(self, missing: Sequence[Streamed]) -> None:
        """Stream embeddings for these jobs."""
        embed.stream(self.context, missing, self.config.workers, self.config.gpus_per_worker)

    def search(
        self, name: str, missing: SearchJob, tell: Callable[[int, int, float], ProgressState]
    ) -> None:
        """Run a search.

        Args:
            name: of the stage.
            missing: the search.
            tell: is told how many trials are done, how many of them had been before, and the best J
                so far; returns how far the stage is, for the metrics.
        """
        metrics = Metrics(name)
        workers, gpus = self.config.workers, self.config.gpus_per_worker
        tune.run(missing, self.context, workers, lambda *of: metrics.set(tell(*of)), gpus)
