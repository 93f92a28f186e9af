"""Wall time per stage over several starts."""

import pytest

from rum_ray.errors import StoreError
from rum_ray.study import timing
from rum_ray.study.timing import Clock, StageForecast


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


GOOD = (
    b'[{"name": "train", "seconds": 2.5, "made": 3, "trainings": 3, "reused": 0, "forecast": null}]'
)
DAMAGED = [
    *(GOOD[:place] for place in range(0, len(GOOD), 7)),
    *(b"{}", b"[3]", b"null", b"7", b"[" * 10**5, b"\xff\xfe", b"\0" * 100),
    GOOD.replace(b"2.5", b'"2"'),
    GOOD.replace(b"2.5", b"-1"),
    GOOD.replace(b"null", b'{"jobs": []}'),
    GOOD.replace(b"made", b"mode"),
]


@pytest.mark.parametrize("content", DAMAGED)
def test_times_of_a_damaged_file_are_unknown(tmp_path, now, content):
    path = tmp_path / "stages.json"
    path.write_bytes(GOOD)
    assert Clock(path).stages["train"].seconds == 2.5
    path.write_bytes(content)
    clock = Clock(path)
    assert not clock.stages
    with clock.stage("train") as stage:
        now[0], stage.made = 4.0, 1
    assert Clock(path).stages["train"].seconds == 4.0


def test_a_full_disk_hides_no_error_and_ends_no_stage(tmp_path, monkeypatch):
    def full(*args: object) -> None:
        raise StoreError("cannot write: No space left on device.")

    monkeypatch.setattr(timing, "write_bytes", full)
    clock = Clock(tmp_path / "stages.json")
    with pytest.raises(StoreError, match="the store"), clock.stage("train"):
        raise StoreError("cannot write to the store")
    with clock.stage("train") as stage:
        stage.made = 1
    clock.expect("rows", StageForecast(1, 1.0, 1.0))
    assert [*clock.stages] == ["train", "rows"]
