"""The repeats of an experiment: seeds of their own, and what they cannot share."""

from dataclasses import replace

import pytest

from rum_ray import config
from rum_ray.errors import ConfigError
from rum_ray.experiment import Experiment

FILE = {
    "name": "small",
    "data": "digits",
    "recipe": {"model": "mlp"},
    "forget": {"size": 8, "pick": "random"},
    "refine": "shuffle",
    "search": {"trials": 8},
    "seeds": [3, 0, 7],
}
SPLITS = """
from rum_ray.data import DataBundle
from rum_ray.data import digits as whole

def seeded(*, seed=5) -> DataBundle:
    return whole(seed=seed)

def drawn(*, seed: int | None = None) -> DataBundle:
    return whole(seed=7 if seed is None else seed)

def fixed(*, label_noise=0.1) -> DataBundle:
    return whole(label_noise=label_noise)
"""


@pytest.fixture(autouse=True)
def plug_ins(tmp_path, monkeypatch):
    """A module with a data set that takes a seed, and with two that need not have one."""
    (tmp_path / "splits_of_mine.py").write_text(SPLITS)
    monkeypatch.syspath_prepend(tmp_path)


def repeated(count: int, **keys: object) -> Experiment:
    return config.parse({**FILE, "repeats": count, **keys})


def seeds(experiment: Experiment) -> list[int]:
    """All seeds: of the split, the pool, the forget set, the refiner and the search."""
    search = experiment.search
    assert search is not None
    parts = (experiment.score, experiment.forget, experiment.refine, search)
    return [experiment.data.options.get("seed", 0), *(part.seed for part in parts)]


def test_one_repeat_changes_nothing():
    experiment = config.parse(FILE)
    assert experiment.repeats == 1
    assert repeated(1) == experiment
    assert repeated(1).digest == experiment.digest
    assert repeated(2).digest != experiment.digest
    assert repeated(5).repeated(0) == experiment


def test_repeats_share_no_seed():
    experiment = repeated(4)
    parts = [experiment.repeated(number) for number in range(4)]
    assert [seeds(part) for part in parts] == [[k] * 5 for k in range(4)]
    reported = [seed for part in parts for seed in part.seeds]
    assert len(set(reported)) == len(reported) == 12
    assert len({part.digest for part in parts}) == 4
    kept = {"data", "score", "forget", "refine", "search", "seeds", "repeats"}
    for part in parts:
        same = replace(part, **{name: getattr(experiment, name) for name in kept})
        assert same == experiment


def test_a_split_starts_at_the_seed_of_the_file_or_of_its_function():
    for data, first in (("splits_of_mine:seeded", 5), ({"name": "digits", "seed": 9}, 9)):
        experiment = repeated(3, data=data)
        found = [experiment.repeated(number).data.options.get("seed") for number in (1, 2)]
        assert found == [first + 1, first + 2]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"forget": {"ids": "ids.txt"}}, r"repeats: .* forget\.ids lists one \(ids\.txt\)"),
        ({"data": "splits_of_mine:fixed"}, r"repeats: .* 'splits_of_mine:fixed' has no integer"),
        ({"data": "splits_of_mine:drawn"}, r"repeats: .* 'splits_of_mine:drawn' has no integer"),
        ({"recipe": {"model": "mlp", "weights": "w.pt"}}, r"repeats: recipe\.weights"),
        ({"repeats": 0}, r"repeats must be positive, got 0"),
    ],
)
def test_what_repeats_cannot_share(keys, message):
    with pytest.raises(ConfigError, match=message):
        config.parse({**FILE, "repeats": 2, **keys})
