"""The whole command on a real Ray with a store in a bucket: the results of a store in a folder."""

import pytest
from miniature import of_science
from s3_server import CREDENTIALS, serve

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


def made(run) -> dict[str, int]:
    """The number of jobs that each stage of a run did."""
    return {stage["name"]: stage["made"] for stage in run.report()["stages"]}


def test_a_run_in_a_bucket_has_the_results_of_a_folder_and_a_second_one_trains_nothing(
    mini, run, tmp_path
):
    with serve(tmp_path) as server:
        store = server.bucket()
        first = run("first", **CREDENTIALS)
        code, _, err = first("run", "--store", store)
        assert code == 0, err
        assert of_science(first.report()) == of_science(mini.report())
        assert made(first) == made(mini)
        before = len(server.requests())

        second = run("second", **CREDENTIALS)
        code, _, err = second("run", "--store", store)
        assert code == 0, err
        assert of_science(second.report()) == of_science(mini.report())
        assert made(second) == dict.fromkeys(made(mini), 0)
        methods = {line.partition(" ")[0] for line in server.requests()[before:]}
        assert methods == {"GET", "HEAD"}
