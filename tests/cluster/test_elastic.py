"""Machines that join and leave a real cluster."""

import subprocess
import sys
from pathlib import Path

import pytest

from rum_ray.cluster.backlog import MAX_CHUNK

HERE = Path(__file__).parent


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_a_machine_joins_and_works_and_another_is_lost(place, environment):
    """Each job waits for its phase, so the result does not depend on anybody's speed."""
    store = place / "elastic"
    store.mkdir()
    settings = {
        "RAY_TMPDIR": str(place),
        "RAY_health_check_initial_delay_ms": "0",
        "RAY_health_check_period_ms": "1000",
        "RAY_health_check_timeout_ms": "30000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_AUTH_MODE": "token",
        "PYTHONPATH": f"{HERE}:{environment.get('PYTHONPATH', '')}",
    }
    ended = subprocess.run(
        [sys.executable, HERE / "ray_jobs.py", store],
        env={**environment, **settings},
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    # Nothing is restarted for the machine that joined. The jobs of the one that was lost are tried
    # again, or copied before the loss is known.
    _, restarts, _, _, _, lost = ended.stdout.split()[-6:]
    assert int(restarts) <= 1
    assert int(lost) <= MAX_CHUNK
