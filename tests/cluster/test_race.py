"""A search on a real Ray has the trials of one process, whatever the workers and the kills."""

import pandas as pd
import pytest
from heads import free_port, running_head
from miniature import SETTINGS, Run, flags

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

# Batches of twelve units: plans on one seed, then promotions to the two other seeds.
RACE = (
    *SETTINGS,
    "search.spaces=[V4]",
    "search.trials=16",
    "search.seeds=3",
    "search.finalists=1",
    "search.fresh=1",
    "compare=[]",
)
BATCH = 12


@pytest.fixture(scope="module")
def search(place, environment):
    """A function that returns the command in a new folder."""
    return lambda name: Run(place / name, environment, RACE)


@pytest.fixture(scope="module")
def address(place, environment):
    """The address of a cluster with room for eight workers."""
    port = free_port()
    with running_head(place / "wide", environment, port, "--num-cpus=9"):
        yield f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def alone(search) -> Run:
    """The search in one process, without Ray."""
    alone = search("alone")
    code, _, err = alone("tune", "--address", "none")
    assert code == 0, err
    assert alone.count("trial") > 3 * BATCH
    assert alone.table("trials")["by_seed"].map(len).max() == 3
    return alone


def arguments(address: str, workers: int) -> list[str]:
    return ["--address", address, *flags(f"cluster.workers={workers}")]


def check(found: Run, expected: Run) -> None:
    """Check that both have the same trials and the same artifacts."""
    pd.testing.assert_frame_equal(found.table("trials"), expected.table("trials"), check_exact=True)
    assert found.artifacts() == expected.artifacts()


@pytest.mark.parametrize("workers", [1, 8])
def test_the_number_of_workers_changes_no_trial(search, address, alone, workers):
    wide = search(f"workers-{workers}")
    code, _, err = wide("tune", *arguments(address, workers))
    assert code == 0, err
    check(wide, alone)


def test_a_kill_within_a_race_changes_no_trial(search, address, alone):
    killed = search("killed")
    process = killed.start("tune", *arguments(address, 2))
    # Range tests and the first batch are done, and the second is under way, with promotions.
    killed.until(process, lambda: killed.count("trial") > 2 * BATCH)
    process.kill()
    process.communicate()
    assert 2 * BATCH < killed.count("trial") < alone.count("trial")
    assert not killed.count("search")

    code, _, err = killed("tune", *arguments(address, 1))
    assert code == 0, err
    check(killed, alone)
