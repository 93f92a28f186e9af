"""A real cluster that asks for no token: the doctor names it, and no command joins it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from heads import free_port, running_head
from miniature import DEMO

from rum_ray.cli.app import app
from rum_ray.cluster.access import asks_for_token
from rum_ray.errors import UnsafeError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# Runs each command in turn, and prints its exit code.
IN_TURN = """if True:
    import json, os, sys
    from rum_ray.cli import app

    def leave(code):
        raise SystemExit(code)

    os._exit = leave
    for line in json.loads(sys.argv[1]):
        sys.argv = ["rum-ray", *line]
        try:
            app.main()
        except SystemExit as left:
            print(left.code or 0, flush=True)
"""


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
    folder = place / "refused"
    folder.mkdir()
    rest = {"demo": (), "reproduce": ("es",), "delete": (DEMO, "--forget", "none.txt")}
    lines = [
        [verb, *map(str, rest.get(verb, (DEMO,))), "--address", address]
        for verb, command in typer.main.get_command(app).commands.items()
        if any("--insecure" in parameter.opts for parameter in command.params)
        for address in (open_head, "auto")
    ]
    ended = subprocess.run(
        [sys.executable, "-c", IN_TURN, json.dumps(lines)],
        env={**environment, "RAY_ADDRESS": open_head},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == [str(UnsafeError.exit_code)] * len(lines), ended.stderr
    told = ended.stderr.splitlines()
    assert len(told) == len(lines) >= 24
    assert all(open_head in line and "--insecure" in line for line in told)
    assert not list(folder.iterdir())
