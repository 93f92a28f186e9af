"""Neighbours of a calibration: as many processes as the other workers need, gone at the end."""

import os

import pytest

from rum_ray import config
from rum_ray.jobs import Context
from rum_ray.store import Store
from rum_ray.study.neighbours import busy_neighbours, neighbour_count
from rum_ray.study.study import Study


def study(folder, workers: int, threads: int) -> Study:
    plain = {
        "name": "small",
        "data": {"name": "digits"},
        "recipe": {"model": "mlp", "epochs": 1, "threads": threads},
        "forget": {"size": 30},
        "cluster": {"workers": workers},
    }
    experiment = config.parse(plain, [])
    return Study(experiment, Context(experiment.load_data(), Store(folder)))


@pytest.mark.parametrize(
    ("cores", "workers", "threads", "expected"),
    [(4, 1, 1, 0), (4, 3, 1, 2), (4, 9, 1, 3), (4, 2, 2, 2), (4, 1, 8, 0), (None, 2, 1, 0)],
)
def test_other_workers_share_this_machine(tmp_path, monkeypatch, cores, workers, threads, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert neighbour_count(study(tmp_path, workers, threads)) == expected


def test_neighbours_live_as_long_as_the_block():
    with busy_neighbours(2) as processes:
        assert [process.poll() for process in processes] == [None, None]
    assert all(process.returncode for process in processes)
