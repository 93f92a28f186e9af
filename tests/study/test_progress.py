"""The progress of a stage: numbers, words and JSON lines."""

import json

import pytest

from rum_ray.study import progress
from rum_ray.study.progress import Journal, LoggedProgress, ProgressState


class Listener:
    """Remembers its calls."""

    def __init__(self) -> None:
        self.calls = []

    def start(self, stage, total):
        self.calls.append((stage, total))

    def update(self, state):
        self.calls.append(state)

    def finish(self, summary):
        self.calls.append(summary)

    def say(self, text):
        self.calls.append(("said", text))


def test_the_rate_counts_the_steps_of_this_start():
    state = ProgressState(done=70, total=100, before=50, seconds=40.0)
    assert state.rate == 0.5
    assert state.eta_seconds == 60.0
    assert state.text == "1800/h, ETA 60 s"


@pytest.mark.parametrize(
    "unknown", [ProgressState(5, 9, before=5, seconds=3.0), ProgressState(5, 9, seconds=0.0)]
)
def test_a_rate_is_unknown_before_the_first_step(unknown):
    assert unknown.rate is None
    assert unknown.eta_seconds is None
    assert unknown.text == ""


def test_the_text_has_requeues_restarts_and_memory():
    state = ProgressState(
        done=8,
        total=8,
        seconds=2.0,
        again=3,
        restarts=1,
        rejected=1,
        memory={"one": 0.25, "two": 0.5},
        note="best 1",
    )
    assert state.text == (
        "4.0/s, ETA 0 s, 1 worker rejected, 3 requeued, workers lost 1x, device memory 50%, best 1"
    )


@pytest.mark.parametrize(
    ("workers", "shards", "text"),
    [
        (None, None, ""),
        (0, 0, "0 workers"),
        (1, 1, "1 worker"),
        (2, 1, "2 workers"),
        (40, 3, "40 workers, 3 shards"),
    ],
)
def test_the_text_has_the_live_workers_and_more_than_one_shard(workers, shards, text):
    assert ProgressState(0, 8, workers=workers, shards=shards).text == text


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The clock of the journal."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_journal_has_one_line_per_second_and_passes_everything_on(tmp_path, clock):
    path, listener = tmp_path / "progress.jsonl", Listener()
    journal = Journal(path, listener)
    journal.start("train", 4)
    states = [ProgressState(done, 4, seconds=float(done)) for done in (0, 1, 2, 2, 3)]
    for state in states:
        journal.update(state)
        clock[0] += 0.6
    journal.finish("4 done")
    assert listener.calls == [("train", 4), *states, "4 done"]
    assert [line["done"] for line in lines(path)] == [1, 2, 3]
    assert lines(path)[-1] == {
        "time": lines(path)[-1]["time"],
        "stage": "train",
        "done": 3,
        "total": 4,
        "rate": 1.0,
        "eta_s": 1.0,
        "failures": 0,
        "again": 0,
        "restarts": 0,
        "memory": {},
        "standard_error": None,
        "note": "",
        "workers": None,
        "shards": None,
        "rejected": 0,
    }


def test_a_change_of_the_workers_is_worth_a_line(tmp_path, clock):
    path = tmp_path / "progress.jsonl"
    journal = Journal(path, Listener())
    journal.start("train", 4)
    for workers, shards in [(4, 2), (4, 2), (3, 2), (2, 1)]:
        journal.update(ProgressState(0, 4, workers=workers, shards=shards))
        clock[0] += 1.1
    assert [(line["workers"], line["shards"]) for line in lines(path)] == [(4, 2), (3, 2), (2, 1)]


def test_a_note_has_a_line_at_once_also_in_a_resumed_stage(tmp_path, clock):
    path = tmp_path / "progress.jsonl"
    journal = Journal(path, Listener())
    journal.start("train", 9)
    # No time passes: a resumed stage says how far it is, then that it starts its workers.
    states = [ProgressState(5, 9, 5), ProgressState(5, 9, 5, note="starting workers")]
    states += [states[-1], ProgressState(5, 9, 5, workers=2), ProgressState(6, 9, 5, workers=2)]
    for state in states:
        journal.update(state)
    assert [(line["done"], line["note"], line["workers"]) for line in lines(path)] == [
        (5, "", None),
        (5, "starting workers", None),
        (5, "", 2),
    ]
    assert len(clock) == 1


def test_an_event_has_a_line_at_once_and_is_passed_on(tmp_path, clock):
    path, listener = tmp_path / "progress.jsonl", Listener()
    journal = Journal(path, listener)
    journal.say("Ray did not start")
    journal.start("train", 4)
    journal.update(ProgressState(1, 4))
    journal.say("a host left")
    assert listener.calls[0] == ("said", "Ray did not start")
    assert listener.calls[-1] == ("said", "a host left")
    events = [line for line in lines(path) if "event" in line]
    assert [(e["stage"], e["event"]) for e in events] == [
        ("", "Ray did not start"),
        ("train", "a host left"),
    ]
    assert all(line.keys() == {"time", "stage", "event"} for line in events)


def test_logged_progress_says_an_event(caplog):
    with caplog.at_level("INFO", logger="rum_ray"):
        LoggedProgress().say("100 % of a host's disk is used")
    assert caplog.messages == ["100 % of a host's disk is used"]


def test_the_journal_appends_to_earlier_runs(tmp_path):
    for stage in ("train", "rows"):
        journal = Journal(tmp_path / "progress.jsonl", Listener())
        journal.start(stage, 0)
        journal.finish("")
    assert [line["stage"] for line in lines(tmp_path / "progress.jsonl")] == ["train", "rows"]


def test_a_journal_that_is_not_writable_does_not_end_the_run(tmp_path):
    listener = Listener()
    journal = Journal(tmp_path / "nowhere" / "progress.jsonl", listener)
    journal.start("train", 1)
    journal.say("an event")
    journal.finish("done")
    assert listener.calls == [("train", 1), ("said", "an event"), "done"]
