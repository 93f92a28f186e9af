"""The executor on a Ray cluster: Train runs jobs, Data streams embeddings, Tune runs searches."""

import contextlib
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from rum_ray.experiment import ClusterConfig, Experiment
from rum_ray.jobs import Context, Job, SearchJob
from rum_ray.jobs.job import Streamed
from rum_ray.study.executor import Cancelled, OnProgress
from rum_ray.study.progress import ProgressState

if TYPE_CHECKING:
    from rum_ray.cluster.pool import Pool


def to_stderr(line: str) -> None:
    """Write a line about the cluster to standard error."""
    print(line, file=sys.stderr, flush=True)


class RayExecutor:
    """Runs everything on a Ray cluster, which it joins or starts when the first work arrives.

    A Ray that runs in this process already is used and left running.

    Args:
        address: "local" starts a cluster on this machine; "auto" and HOST:PORT join a running one.
        config: workers and resources of each; by default the experiment's `cluster`.
        dashboard: True starts the dashboard of a local cluster.
        say: receives lines about the cluster, such as the address of the dashboard, and why this
            process ends if Ray is lost.
        insecure: True allows a cluster that asks for no token.

    Example:
        >>> import rum_ray as rr
        >>> rr.RayExecutor(address="auto").address
        'auto'
    """

    def __init__(
        self,
        address: str = "local",
        config: ClusterConfig | None = None,
        dashboard: bool = False,
        say: Callable[[str], None] = to_stderr,
        insecure: bool = False,
    ) -> None:
        """Start nothing yet."""
        self.address, self._config = address, config
        self._dashboard, self._say, self._insecure = dashboard, say, insecure
        self._exits = contextlib.ExitStack()
        self._joined: Pool | None = None
        self._title = "rum_ray"
        self._command = uuid.uuid4().hex[:8]

    @property
    def config(self) -> ClusterConfig:
        """The number of workers and the resources of each."""
        return self._config or ClusterConfig()

    def configure(self, experiment: Experiment) -> None:
        """Take the name and the settings of an experiment, unless the caller has given others."""
        self._config = self._config or experiment.cluster
        self._title = experiment.name

    def __enter__(self) -> "RayExecutor":
        return self

    def __exit__(self, *error: object) -> None:
        self._exits.close()
        self._joined = None

    def run(
        self,
        stage: str,
        jobs: Sequence[Job],
        context: Context,
        on_progress: OnProgress,
        cancelled: Cancelled = tuple,
    ) -> None:
        """Run jobs in the Train workers of the command.

        Raises:
            RumRayError: a job failed permanently; the first such error.
            StalledError: the workers kept dying, or there is no room for one.
        """
        pool = self._pool
        with self._monitored(stage, on_progress) as monitored:
            pool.run(stage, jobs, context, monitored, cancelled)

    def stream(self, jobs: Sequence[Streamed], context: Context) -> None:
        """Stream the embeddings of D through Ray Data."""
        pool = self._pool
        from rum_ray.cluster.embed import stream

        stream(context, jobs, pool.config.workers, pool.beside, self._title)

    def search(
        self,
        stage: str,
        searches: Sequence[SearchJob],
        context: Context,
        on_progress: OnProgress,
    ) -> None:
        """Run searches in Ray Tune; the Train workers of the command judge the plans."""
        pool = self._pool
        from rum_ray.cluster import tune

        with self._monitored(stage, on_progress) as monitored:
            tune.run(stage, searches, context, pool, monitored)

    @property
    def _pool(self) -> "Pool":
        """The workers; the first call joins the cluster, or starts one."""
        if self._joined is None:
            # Ray takes seconds to import, and a command with all results in the store needs none.
            from rum_ray.cluster.connect import connect
            from rum_ray.cluster.pool import Pool

            config = self.config
            job = {"experiment": self._title, "run": self._command}
            job |= {"job_name": "-".join(job.values())}
            joined = connect(
                self.address,
                config.workers,
                self._dashboard,
                config.modules,
                self._say,
                job,
                self._insecure,
            )
            started = self._exits.enter_context(joined)
            self._joined = Pool(self._title, config, started, self._say, self._command)
            self._exits.callback(self._joined.close)
        return self._joined

    @contextlib.contextmanager
    def _monitored(
        self, stage: str, on_progress: OnProgress
    ) -> Iterator[Callable[[ProgressState], None]]:
        """Yield a listener that publishes the progress of the stage as Ray metrics, too."""
        from rum_ray.cluster.metrics import Metrics

        with Metrics(self._title, self._command, stage) as metrics:
            yield lambda state: metrics.set(on_progress(state))
