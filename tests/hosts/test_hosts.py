"""The whole command on several hosts: the bits of one host, whatever joins, is cut or dies."""

import time

import pytest
from netns import HEAD, Command, sh, timed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3000)]


def test_hosts_join_are_cut_heal_and_die_and_the_bits_are_those_of_one_host(hosts, file, alone):
    """One run: a host joins, one is cut for a while, one dies, and one is cut for good."""
    hosts.cluster("a", "b", "c")
    run = Command(hosts, "run")
    run.start("a", "run", file)
    run.until("train", 3)
    with timed("a fourth host joins"):
        hosts.up("d", 14)
        hosts.ray("d")
    hosts.cable("c", "down")
    time.sleep(12)
    hosts.cable("c", "up")
    run.until("train", 12)
    hosts.crash("b")
    run.until("train", 18)
    hosts.cable("d", "down")
    code, err = run.end()
    assert code == 0, err
    assert run.artifacts() == alone
    assert {"a", "b", "c"} <= {*run.made_by()}
    print(f"made by {run.made_by()}; longest silence {run.silence('train'):.1f} s")
    for stage in ("train", "embed", "retrain", "ranges", "search", "validate", "rows"):
        lines = [line for line in run.lines() if line.get("stage") == stage]
        print(f"{stage}: {lines[-1]['time'] - lines[0]['time']:.1f} s")


def test_a_head_that_dies_ends_the_command_with_a_message_and_the_next_start_goes_on(
    hosts, file, alone
):
    hosts.cluster("a", "b")
    run = Command(hosts, "run")
    run.start("b", "score", file, address=f"{HEAD}:6379")
    run.until("train", 4)
    hosts.crash("a")
    with timed("the command ends after the head died"):
        code, err = run.end()
    assert code == 5, err
    assert err.splitlines()[-1].startswith("rum-ray: ")
    done = run.artifacts()
    assert 4 <= len(done) < 38
    run.start("b", "score", file, address="none")
    code, err = run.end()
    assert code == 0, err
    assert done.items() <= run.artifacts().items() <= alone.items()


def test_hosts_with_stores_and_devices_of_their_own_are_told(hosts, file):
    """Each host claims a GPU that PyTorch cannot use; then each has a store of its own."""
    hosts.cluster("a", "b", gpus=1)
    gpus = Command(hosts, "gpus")
    gpus.start("a", "score", file, "--set", "cluster.gpus_per_worker=0.5")
    code, err = gpus.end()
    assert code in (2, 5), err
    assert err.count("rum-ray:") == 1
    assert gpus.artifacts() == {}

    own = Command(hosts, "own")
    (own.folder / "store").mkdir(parents=True)
    for name in ("a", "b"):
        enter = ["nsenter", "-t", hosts.first[name], "--mount", "--"]
        sh(*enter, "mount", "--bind", hosts.folder / name / "store", own.folder / "store")
    own.start("b", "score", file, "--set", "cluster.workers=2")
    code, err = own.end()
    # The worker on the command's host does all jobs; the other one is told apart.
    assert code == 0, err
    assert {*own.made_by()} <= {"b"}
