"""Every model has the same bits in every process of a machine, and those of its kind."""

import json
import os
import subprocess
import sys

import canary
import pytest
import torch
from canary import CANARY, kind

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def found() -> tuple[dict[str, str], ...]:
    """Digests of two processes that run at once beside this one, and of this one, twice."""
    command = [sys.executable, canary.__file__]
    fresh = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": threads}
        )
        for threads in ("1", "4")
    ]
    # Another model and another number of threads come before.
    torch.set_num_threads(2)
    here = [canary.digests(), canary.digests()]
    there = [json.loads(process.communicate()[0]) for process in fresh]
    assert all([*each] == [kind()] for each in there)
    return (*here, *(each[kind()] for each in there))


@pytest.mark.parametrize("name", canary.recipes())
def test_a_model_has_the_same_bits_in_every_process(found, name):
    assert len({digests[name] for digests in found}) == 1


def test_bits_are_those_of_this_kind_of_machine(found):
    known = json.loads(CANARY.read_text("utf-8"))
    if kind() not in known:
        pytest.skip(f"another kind of machine: {kind()}; known: {', '.join(known)}")
    assert found[0] == known[kind()]
