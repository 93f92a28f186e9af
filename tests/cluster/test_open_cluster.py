"""A real cluster that asks for no token: the doctor names it, and no command joins it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from heads import free_port, running_head
from miniature import Run

from rum_ray.cluster.access import asks_for_token
from rum_ray.errors import UnsafeError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def open_head(place, environment):
    """The address of a cluster that asks for no token."""
    port = free_port()
    disabled = {**environment, "RAY_AUTH_MODE": "disabled"}
    with running_head(place / "open", disabled, port, "--num-cpus=1"):
        yield f"127.0.0.1:{port}"


def test_the_doctor_names_it(open_head, place, environment):
    assert asks_for_token(open_head) is False
    command = [Path(sys.executable).with_name("rum-ray"), "doctor", "--json"]
    ended = subprocess.run(
        [*command, "--address", open_head, "--store", place / "store"],
        env=environment,
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 9, ended.stderr
    assert f"cluster {open_head}" in json.loads(ended.stdout)["wrong"]


def test_no_command_joins_it(open_head, place, environment):
    refused = Run(place / "refused", environment)
    code, out, err = refused("score", "--address", open_head)
    assert (code, out) == (UnsafeError.exit_code, ""), err
    assert err.count("\n") == 1
    assert open_head in err
    assert "--insecure" in err
    assert not list(refused.folder.iterdir())
