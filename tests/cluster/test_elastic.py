"""Workers that come, go, and leave since memory is short, on a real Ray."""

import subprocess
import sys
from pathlib import Path

import pytest

from rum_ray.data import load
from rum_ray.errors import StalledError, StoreError
from rum_ray.experiment import ClusterConfig
from rum_ray.jobs import Context
from rum_ray.store import Store

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]
HERE = Path(__file__).parent


def test_a_machine_joins_and_works_and_another_is_lost(place, environment):
    """Each job waits for its phase, so what is seen does not depend on anybody's speed."""
    store = place / "elastic"
    store.mkdir()
    fast = {
        "RAY_TMPDIR": str(place),
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "1000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "5",
        "RAY_AUTH_MODE": "token",
        "PYTHONPATH": f"{HERE}:{environment.get('PYTHONPATH', '')}",
    }
    command = [sys.executable, HERE / "elastic_jobs.py", store]
    ended = subprocess.run(
        command, env={**environment, **fast}, cwd=place, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    # Once for the machine that joined, and at least once for the one that was lost.
    _, restarts, _, again = ended.stdout.split()[-4:]
    assert int(restarts) >= 2
    assert int(again) >= 2


def test_a_stage_without_room_ends_also_where_sigint_is_ignored(place, environment):
    store = place / "no_capacity"
    store.mkdir()
    ended = subprocess.run(
        [sys.executable, HERE / "no_capacity.py", store],
        env={**environment, "PYTHONPATH": f"{HERE}:{environment.get('PYTHONPATH', '')}"},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("stage 'hungry' heard of no worker for 5 s: ")


@pytest.mark.filterwarnings(r"ignore:::ray\..*")
@pytest.mark.usefixtures("ray_here")
class TestOutOfMemory:
    def run(self, jobs, folder) -> list:
        from rum_ray.cluster.jobs import run

        told, context = [], Context(load("digits"), Store(folder))
        folder.mkdir()
        try:
            run("hungry", jobs, context, ClusterConfig(workers=2), told.append)
        finally:
            missing = context.missing(jobs)
        assert missing == []
        return told

    def test_one_worker_of_two_leaves_and_the_other_does_all(self, tmp_path):
        from elastic_jobs import Hungry

        # As many as the first one to start cannot have done before the other one is there.
        told = self.run([Hungry(number) for number in range(12)], tmp_path / "store")
        assert told[-1].done == 12
        assert told[-1].again > 0
        assert told[-1].restarts == 0

    def test_what_the_watching_raises_ends_the_stage_as_it_is(self, tmp_path):
        from elastic_jobs import Hungry

        from rum_ray.cluster.jobs import run

        def full() -> None:
            raise StoreError("the store is full")

        context = Context(load("digits"), Store(tmp_path))
        jobs = [Hungry(number) for number in range(100)]
        with pytest.raises(StoreError, match=r"^the store is full$"):
            run("hungry", jobs, context, ClusterConfig(workers=1), lambda of: None, full)
        assert context.missing(jobs)

    def test_one_that_is_alone_and_still_runs_out_is_an_error(self, tmp_path):
        from elastic_jobs import Hungry

        with pytest.raises(StalledError, match=r"^Hungry ran out of memory with no other worker"):
            self.run([Hungry(0, hopeless=True)], tmp_path / "store")
