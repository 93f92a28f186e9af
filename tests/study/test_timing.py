"""Wall time per stage over several starts."""

import pytest

from rum_ray.study import timing
from rum_ray.study.timing import Clock


@pytest.fixture
def now(monkeypatch) -> list[float]:
    """The time in seconds."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "monotonic", lambda: now[0])
    return now


def test_the_times_of_all_starts_that_computed_something_add_up(tmp_path, now):
    path = tmp_path / "new" / "stages.json"
    with pytest.raises(KeyboardInterrupt), Clock(path).stage("train") as stage:
        now[0], stage.made = 3.0, 2
        raise KeyboardInterrupt
    with Clock(path).stage("train") as stage:
        now[0], stage.made, stage.reused = 5.0, 4, 2
    with Clock(path).stage("train") as stage:
        now[0], stage.reused = 9.0, 4
    (train,) = Clock(path).stages.values()
    assert (train.seconds, train.made, train.reused) == (5.0, 4, 4)
    assert [file.name for file in path.parent.iterdir()] == ["stages.json"]
