"""The queue of jobs, without Ray: every job is done once, whichever workers come, go or fail."""

import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from rum_ray.cluster import queue as queues
from rum_ray.cluster.backlog import MAX_CHUNK, MAX_FAILURES
from rum_ray.cluster.queue import COPY_SECONDS, LEASE_SECONDS, SILENT_SECONDS, Queue
from rum_ray.cluster.stage import MAX_ATTEMPTS
from rum_ray.errors import DivergedError, IntegrityError, StalledError
from rum_ray.jobs.train import MAX_TOGETHER


def test_a_chunk_is_a_full_batch_of_fused_models_and_the_actor_imports_no_pytorch():
    assert MAX_CHUNK == MAX_TOGETHER
    code = "import sys, rum_ray.cluster.queue_actor; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> list[float]:
    """The time that the queue sees; it stands still unless a test moves it."""
    now = [1000.0]
    monkeypatch.setattr(queues, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def joined(*workers: str, device: str = "a GPU") -> Queue:
    """A queue with the workers of one shard, before its first stage."""
    queue = Queue()
    for rank, worker in enumerate(workers):
        queue.register(worker, "shard", rank, device)
    return queue


def opened(count: int, *workers: str, device: str = "a GPU", most: int = 1, fused=()) -> Queue:
    """A queue with the workers of one shard in its first stage."""
    queue = joined(*workers, device=device)
    queue.open(["Job"] * count, most, fused)
    return queue


def take(queue: Queue, name: str, done=()) -> list[int] | None:
    """Report that jobs are done, and return the next ones; None for good."""
    if done:
        queue.finish(name, queue.stage.number, dict.fromkeys(done))
    lease = queue.take(name)
    return None if lease is None else [*lease.jobs]


def drain(queue: Queue, *workers: str) -> list[list[int]]:
    """Take chunks in turn until none is left, finishing each."""
    chunks, done = [], {worker: [] for worker in workers}
    while chunk := take(queue, worker := workers[len(chunks) % len(workers)], done.pop(worker, [])):
        chunks.append(chunk)
        done[worker] = chunk
    for worker, last in done.items():
        queue.finish(worker, queue.stage.number, dict.fromkeys(last))
    return chunks


def in_order(chunks: list[list[int]]) -> list[int]:
    return [index for chunk in chunks for index in chunk]


def errors(queue: Queue) -> list[str]:
    return [str(error) for error in queue.stage.errors.values()]


class TestChunks:
    @pytest.mark.parametrize("workers", [1, 2, 5])
    @pytest.mark.parametrize("count", [1, 2, 7, 100])
    def test_every_job_is_handed_out_once_in_chunks_that_shrink(self, count, workers):
        names = [f"w{k}" for k in range(workers)]
        queue = opened(count, *names, most=workers)
        chunks = drain(queue, *names)
        assert in_order(chunks) == list(range(count))
        sizes = list(map(len, chunks))
        # A worker's rate is unknown at first; here all are infinitely fast.
        assert sizes[:workers] == [1] * min(workers, len(sizes))
        assert sizes[workers:] == sorted(sizes[workers:], reverse=True)
        assert sizes[-1] == 1
        assert max(sizes) <= MAX_CHUNK
        assert queue.progress().done == count
        assert queue.stage.is_over
        assert errors(queue) == []

    def test_a_chunk_is_as_long_as_one_second(self, clock):
        queue = opened(1000, "fast", "slow")
        fast, slow = take(queue, "fast"), take(queue, "slow")
        for _ in range(5):
            clock[0] += 0.25 * len(fast)
            fast = take(queue, "fast", fast)
        clock[0] += 9
        slow = take(queue, "slow", slow)
        assert (len(fast), len(slow)) == (4, 1)

    def test_chunks_of_jobs_that_are_done_together_are_full_and_end_with_two(self, clock):
        queue = opened(101, "slow", fused=range(101))
        sizes, done = [], []
        while chunk := take(queue, "slow", done):
            clock[0] += 9.0
            sizes.append(len(chunk))
            done = chunk
        assert sizes[0] == MAX_CHUNK
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[-2:] == [2, 2]
        assert sum(sizes) == 101

    def test_jobs_that_are_done_together_share_no_chunk_with_others(self, clock):
        queue = opened(40, "a", "b", most=2, fused=range(5, 40))
        taken = []
        for worker in "abab":
            taken.append(take(queue, worker, taken[-2] if len(taken) > 1 else []))
            clock[0] += 9.0
        assert taken == [[0], [1], [2], [3]]
        assert take(queue, "a", [2]) == [4]
        assert take(queue, "b", [3]) == [*range(5, 13)]


class TestEnd:
    def test_no_job_for_now_is_not_the_end(self):
        queue = opened(2, "a", "b", "c")
        assert [take(queue, worker) for worker in "abc"] == [[0], [1], []]
        assert take(queue, "a", [0]) == []
        assert not queue.stage.is_over
        queue.finish("b", 0, {1: None})
        assert queue.stage.is_over
        # The worker waits for the next stage.
        assert take(queue, "a") == []

    def test_a_worker_leaves_when_the_queue_is_closed_or_does_not_know_it(self):
        queue = opened(2, "a")
        assert take(queue, "stranger") is None
        assert take(queue, "a") == [0]
        queue.closed = True
        assert take(queue, "a", [0]) is None
        assert queue.progress().done == 1

    def test_errors_are_kept_unless_the_job_is_done(self):
        queue = opened(2, "a")
        assert take(queue, "a") == [0]
        queue.finish("a", 0, {0: None})
        queue.fail("a", 0, 0, StalledError("too late"))
        assert errors(queue) == []
        assert take(queue, "a") == [1]
        queue.fail("a", 0, 1, DivergedError("first"))
        queue.fail("a", 0, 1, DivergedError("second"))
        assert errors(queue) == ["first"]
        assert queue.stage.is_over
        assert (queue.progress().done, queue.progress().failed) == (2, 1)

    def test_a_cancelled_job_is_never_handed_out_and_cannot_fail(self):
        queue = opened(6, "a", "b")
        assert (take(queue, "a"), take(queue, "b")) == ([0], [1])
        queue.fail("a", 0, 0, DivergedError("of 0"))
        assert take(queue, "a") == [2, 3]
        queue.fail("b", 0, 1, DivergedError("of 1"))
        assert take(queue, "b") == [4]
        queue.stage.cancel([1, 3, 4, 5])
        assert errors(queue) == ["of 0"]
        state = queue.progress()
        assert (state.done, state.total) == (1, 2)
        # Leases of cancelled jobs may end in any way.
        queue.fail("b", 0, 4, DivergedError("of 4"))
        queue.requeue("a", 0, 3, "KeyError: 3")
        assert take(queue, "b") == []
        assert take(queue, "a") == [2]
        assert take(queue, "a", [2]) == []
        assert queue.stage.is_over
        assert errors(queue) == ["of 0"]
        state = queue.progress()
        assert (state.done, state.total) == (2, 2)

    def test_a_stage_is_over_when_jobs_are_done_or_cancelled_or_both(self):
        queue = opened(3, "a")
        queue.finish("a", 0, {0: None, 1: None})
        queue.stage.cancel([0, 1])
        assert not queue.stage.is_over
        queue.stage.cancel([2])
        assert queue.stage.is_over


class TestStages:
    def test_workers_stay_from_stage_to_stage_and_their_leases_end(self):
        queue = opened(9, "a", "b", most=2)
        assert (take(queue, "a"), take(queue, "b")) == ([0], [1])
        assert queue.open(["Next"] * 3, 2) == 1
        # The worker still runs a job of the first stage; it has no job of this one.
        queue.died("shard", 0)
        queue.register("c", "shard", 0, "a GPU")
        assert in_order(drain(queue, "b", "c")) == [0, 1, 2]
        assert errors(queue) == []
        assert queue.progress().again == 0

    def test_messages_about_an_earlier_stage_change_nothing(self):
        queue = opened(3, "a", "b")
        assert take(queue, "a") == [0]
        assert queue.open(["Next"] * 3, 1) == 1
        assert take(queue, "b") == [0]
        before = queue.progress()
        queue.finish("a", 0, {0: "late"})
        queue.fail("a", 0, 0, DivergedError("late"))
        # The worker stops what it has of that stage.
        assert queue.requeue("a", 0, 0, "KeyError: late")
        assert queue.out_of_memory("a", 0, 0, "full")
        assert queue.progress() == before
        assert (queue.stage.results, errors(queue)) == ({}, [])
        queue.finish("b", 1, {0: None})
        assert in_order(drain(queue, "b")) == [1, 2]
        assert queue.progress().failed == 0

    def test_before_the_first_stage_there_is_nothing_to_do(self):
        queue = joined("a")
        lease = queue.take("a")
        assert (lease.stage, [*lease.jobs]) == (-1, [])
        assert queue.stage.is_over

    def test_paused_workers_resume_in_the_next_stage(self):
        queue = opened(30, "a", "b", "c")
        take(queue, "a"), take(queue, "b")
        assert queue.out_of_memory("a", 0, 0, "full")
        for _ in range(MAX_FAILURES):
            stopped = queue.requeue("b", 0, 1, "KeyError: b")
        assert stopped
        assert (take(queue, "a"), take(queue, "b")) == ([], [])
        queue.open(["Next"] * 30, 1)
        assert [take(queue, worker) for worker in "abc"] == [[0], [1], [2]]
        # Both forget how often they failed.
        assert not queue.requeue("b", 1, 1, "KeyError: b")


class TestAdded:
    def test_a_job_that_is_added_carries_its_payload_and_returns_its_result(self):
        queue = joined("a", "b")
        queue.open([], 2)
        assert queue.stage.is_over
        assert [queue.stage.add("Trial", {"x": n}) for n in (7, 8)] == [0, 1]
        assert not queue.stage.is_over
        first, second = queue.take("a"), queue.take("b")
        assert [lease.payloads for lease in (first, second)] == [{0: {"x": 7}}, {1: {"x": 8}}]
        queue.finish("a", 0, {0: "result"})
        # The first result of a job counts.
        queue.finish("b", 0, {0: "another", 1: None})
        assert queue.stage.results == {0: "result", 1: None}
        assert queue.stage.is_over
        queue.stage.add("Trial", {"x": 9})
        assert queue.take("b").payloads == {2: {"x": 9}}

    def test_a_job_that_is_given_up_is_named_after_its_kind(self):
        queue = joined("a")
        queue.open([], 1)
        queue.stage.add("Trial", None)
        for _ in range(MAX_ATTEMPTS):
            assert take(queue, "a") == [0]
            queue.requeue("a", 0, 0, "KeyError: 3")
        (text,) = errors(queue)
        assert text.startswith("Trial ")


class TestDeaths:
    @pytest.mark.parametrize("reported", [0, 1, 2])
    def test_a_death_is_charged_to_the_job_in_hand_and_to_no_other(self, reported):
        queue = opened(100, "a", "other")
        chunk = take(queue, "a", take(queue, "a"))
        assert len(chunk) == MAX_CHUNK
        queue.finish("a", 0, dict.fromkeys(chunk[:reported]))
        queue.died("shard", 0)
        assert take(queue, "a") is None
        state = queue.progress()
        assert (state.again, state.restarts) == (MAX_CHUNK - reported, 1)
        # The suspect is the first of those that wait, and comes alone.
        queue.register("a2", "shard", 0, "a GPU")
        assert take(queue, "a2") == [chunk[reported]]
        assert take(queue, "a2", [chunk[reported]])[:2] == chunk[reported + 1 : reported + 3]

    @pytest.mark.parametrize("reports", [True, False], ids=["reports each", "reports chunks"])
    @pytest.mark.parametrize("told", ["registered", "both"])
    def test_a_job_that_kills_its_workers_is_given_up_and_all_others_are_done(self, told, reports):
        """A worker may die before it has reported the short jobs that it finished."""
        queue, poison, count = opened(40, "w0"), 17, 40
        life, deaths, done, ran = 0, 0, [], set()
        while chunk := take(queue, f"w{life}", done):
            ran |= {*chunk} - {poison}
            done = chunk
            if poison in chunk:
                deaths += 1
                if reports:
                    queue.finish(f"w{life}", 0, dict.fromkeys(chunk[: chunk.index(poison)]))
                if told != "registered":
                    queue.died("shard", 0)
                life, done = life + 1, []
                queue.register(f"w{life}", "shard", 0, "a GPU")
        assert queue.stage.is_over
        (text,) = errors(queue)
        assert re.search(rf"^Job .* {MAX_ATTEMPTS} attempts: .* died\.$", text)
        assert [*queue.stage.errors] == [poison]
        assert ran == {*range(count)} - {poison}
        # Where nothing is reported, each death clears one job before it.
        assert deaths == MAX_ATTEMPTS if reports else deaths < MAX_ATTEMPTS + MAX_CHUNK

    def test_a_death_that_is_told_twice_is_charged_once(self):
        queue = opened(1, "w0")
        for life in range(MAX_ATTEMPTS - 1):
            assert take(queue, f"w{life}") == [0]
            queue.died("shard", 0)
            queue.register(f"w{life + 1}", "shard", 0, "a GPU")
            queue.died("another shard", 0)
        assert errors(queue) == []
        assert queue.progress().restarts == MAX_ATTEMPTS - 1
        assert take(queue, f"w{MAX_ATTEMPTS - 1}") == [0]
        queue.register("last", "shard", 0, "a GPU")
        assert len(errors(queue)) == 1
        assert take(queue, "last") == []

    def test_a_long_job_survives_any_number_of_deaths_of_others(self, clock):
        queue = opened(200, "long", most=4)
        assert take(queue, "long") == [0]
        for life in range(30):
            queue.register(f"beside{life}", "shard", 1, "a GPU")
            queue.register(f"far{life}", f"lost{life}", 0, "another GPU")
            take(queue, f"beside{life}"), take(queue, f"far{life}")
            clock[0] += LEASE_SECONDS / 2
            queue.heartbeat("long")
            queue.died("shard", 1) if life % 2 else None
            queue.lost(f"lost{life}")
        assert 0 not in queue.stage.errors
        assert queue._workers["long"].leased == [0]
        queue.finish("long", 0, {0: "result"})
        assert queue.stage.results == {0: "result"}

    def test_a_lost_shard_is_charged_to_nobody(self):
        queue = opened(4)
        for life in range(10 * MAX_ATTEMPTS):
            queue.register(f"a{life}", f"shard{life}", 0, "a GPU")
            queue.register(f"b{life}", f"shard{life}", 1, "a GPU")
            assert (take(queue, f"a{life}"), take(queue, f"b{life}")) == ([0], [1])
            queue.lost(f"shard{life}")
            assert take(queue, f"a{life}") is None
            # It may be told twice, or before any worker came.
            queue.lost(f"shard{life}")
        state = queue.progress()
        assert (state.restarts, state.again) == (10 * MAX_ATTEMPTS, 20 * MAX_ATTEMPTS)
        assert errors(queue) == []
        queue.register("last", "last", 0, "a GPU")
        assert in_order(drain(queue, "last")) == [0, 1, 2, 3]

    def test_results_of_a_worker_that_is_believed_dead_count(self):
        queue = opened(1, "a")
        assert take(queue, "a") == [0]
        queue.lost("shard")
        queue.finish("a", 0, {0: "late"})
        assert (queue.progress().done, queue.stage.results) == (1, {0: "late"})
        queue.register("b", "another", 0, "a GPU")
        assert take(queue, "b") == []

    def test_after_a_death_the_first_jobs_are_finished_first(self):
        queue = opened(1000, "a", "b")
        assert (take(queue, "a"), take(queue, "b")) == ([0], [1])
        leased = take(queue, "a", [0]), take(queue, "b", [1])
        assert max(map(max, leased)) < 40
        queue.lost("shard")
        queue.register("c", "another", 0, "a GPU")
        assert in_order(drain(queue, "c")) == list(range(2, 1000))

    def test_deaths_and_exceptions_are_counted_apart(self):
        queue = opened(2, "w0")
        for life in range(1, MAX_ATTEMPTS):
            assert take(queue, f"w{life - 1}") == [0]
            queue.register(f"w{life}", "shard", 0, "a GPU")
        last = f"w{MAX_ATTEMPTS - 1}"
        assert take(queue, last) == [0]
        queue.requeue(last, 0, 0, "ConnectionError: blip")
        assert errors(queue) == []
        assert take(queue, last) == [0]


class TestSilence:
    def test_a_lease_without_a_heartbeat_expires(self, clock):
        queue = opened(2, "a", "b")
        assert take(queue, "a") == [0]
        assert take(queue, "b") == [1]
        queue.finish("b", 0, {1: None})
        for _ in range(10):
            clock[0] += LEASE_SECONDS / 2
            queue.heartbeat("a")
            assert take(queue, "b") == []
        queue.stage.copied.add(0)
        clock[0] += LEASE_SECONDS + 1
        assert queue.progress().workers == 0
        assert take(queue, "b") == [0]
        assert queue.progress().workers == 1
        # The worker was only slow: jobs are idempotent.
        queue.finish("a", 0, {0: "slow"})
        queue.finish("b", 0, {0: "fast"})
        assert queue.stage.results[0] == "slow"
        assert queue.stage.is_over
        assert errors(queue) == []
        # An expired lease is no attempt.
        assert (queue.progress().again, queue.progress().restarts) == (1, 0)

    def test_a_death_after_the_lease_has_expired_is_charged_to_nobody(self, clock):
        queue = opened(1, "w0")
        for life in range(MAX_ATTEMPTS + 1):
            assert take(queue, f"w{life}") == [0]
            clock[0] += LEASE_SECONDS + 1
            queue.register(f"w{life + 1}", f"shard{life}", 0, "a GPU")
            assert take(queue, f"w{life + 1}") == [0]
            queue.lost(f"shard{life}")
            queue.died("shard", 0)
            queue.register(f"w{life + 1}", "shard", 0, "a GPU")
        assert errors(queue) == []

    def test_a_job_without_a_reported_result_is_requeued(self):
        queue = opened(2, "a")
        assert take(queue, "a") == [0]
        assert take(queue, "a") == [0]
        assert take(queue, "a") == [1]
        assert take(queue, "a", [1]) == [0]
        assert take(queue, "a", [0]) == []
        assert (queue.progress().done, errors(queue)) == (2, [])


class TestCopies:
    def tail(self, clock, device: str = "another GPU") -> Queue:
        """Jobs that took 10 s each, and a last one that its worker has for longer than that."""
        queue = opened(5, "slow")
        queue.register("idle", "idle", 0, device)
        assert take(queue, "slow") == [0]
        chunk = take(queue, "idle")
        for _ in range(3):
            clock[0] += 10
            queue.heartbeat("slow")
            chunk = take(queue, "idle", chunk)
        clock[0] += 10
        queue.heartbeat("slow")
        queue.finish("idle", 0, dict.fromkeys(chunk))
        return queue

    def test_a_slow_job_is_copied_once_and_the_first_result_wins(self, clock):
        queue = self.tail(clock)
        assert len(queue.stage.done) == 4
        # 40 s for 4 jobs by 2 workers: 20 s each. It has 40 s, and the mean does not grow.
        assert take(queue, "idle") == []
        clock[0] += 1
        queue.heartbeat("slow")
        assert take(queue, "idle") == [0]
        queue.register("third", "third", 0, "a third GPU")
        assert take(queue, "third") == []
        queue.finish("idle", 0, {0: "copy"})
        assert queue.stage.is_over
        queue.finish("slow", 0, {0: "original"})
        assert queue.stage.results[0] == "copy"
        assert (queue.progress().again, queue.progress().done) == (0, 5)

    def test_no_job_is_copied_to_the_device_that_runs_it(self, clock):
        queue = self.tail(clock, device="a GPU")
        for _ in range(20):
            clock[0] += 60
            queue.heartbeat("slow")
            assert take(queue, "idle") == []
        # A silent worker may be gone.
        clock[0] += SILENT_SECONDS + 1
        assert take(queue, "idle") == [0]
        assert take(queue, "idle", [0]) == []
        assert queue.stage.is_over

    def test_a_short_job_is_not_copied(self, clock):
        queue = opened(100, "fast")
        drained = take(queue, "fast")
        for _ in range(98):
            clock[0] += 0.01
            drained = take(queue, "fast", drained)
            if not queue.stage.backlog:
                break
        queue.register("idle", "idle", 0, "another GPU")
        clock[0] += COPY_SECONDS - 0.1
        queue.heartbeat("fast")
        assert take(queue, "idle") == []
        clock[0] += 0.2
        queue.heartbeat("fast")
        assert take(queue, "idle") == drained[:1]

    def test_only_idle_workers_get_copies(self, clock):
        queue = opened(3, "silent")
        queue.register("b", "b", 0, "another GPU")
        assert (take(queue, "silent"), take(queue, "b")) == ([0], [1])
        clock[0] += SILENT_SECONDS + 1
        assert take(queue, "b", [1]) == [2]
        assert take(queue, "b", [2]) == [0]

    def test_the_death_of_a_copy_leaves_the_original(self, clock):
        queue = opened(1, "a")
        assert take(queue, "a") == [0]
        clock[0] += SILENT_SECONDS + 1
        queue.register("b", "b", 0, "another GPU")
        assert take(queue, "b") == [0]
        queue.died("b", 0)
        queue.finish("a", 0, {0: "original"})
        assert queue.stage.is_over
        assert len(queue.stage.backlog) == 0


class TestFailures:
    def test_a_job_that_raises_is_tried_some_times(self):
        queue = opened(1, "a")
        for _ in range(MAX_ATTEMPTS):
            assert take(queue, "a") == [0]
            queue.requeue("a", 0, 0, "KeyError: 3")
        assert take(queue, "a") == []
        (error,) = queue.stage.errors.values()
        assert isinstance(error, StalledError)
        assert re.search(rf"^Job .* {MAX_ATTEMPTS} attempts: KeyError: 3\.$", str(error))

    def test_a_job_that_fails_again_and_again_comes_last(self):
        queue = opened(20, "a")
        assert take(queue, "a") == [0]
        for _ in range(MAX_ATTEMPTS - 1):
            queue.requeue("a", 0, 0, "KeyError: 0")
            chunk = take(queue, "a")
        assert 0 not in chunk
        queue.finish("a", 0, dict.fromkeys(chunk))
        assert in_order(drain(queue, "a"))[-1] == 0

    def fail_in_turn(self, queue: Queue, name: str) -> None:
        """Let a worker's jobs raise one after another until it is paused."""
        stopped = False
        while not stopped:
            for index in take(queue, name):
                stopped = stopped or queue.requeue(name, 0, index, "RuntimeError: illegal access")

    def test_a_worker_that_fails_one_job_after_another_leaves_them_to_the_others(self):
        queue = opened(200, "healthy", "sick", most=2)
        mine = take(queue, "healthy")
        self.fail_in_turn(queue, "sick")
        # It is paused, not gone.
        assert take(queue, "sick") == []
        assert queue.progress().workers == 2
        queue.finish("healthy", 0, dict.fromkeys(mine))
        drain(queue, "healthy")
        assert errors(queue) == []
        assert (queue.progress().done, queue.progress().failed) == (200, 0)

    def test_a_worker_that_succeeds_now_and_then_stays(self):
        queue = opened(60, "a", "other", most=8)
        for turn in range(20):
            first, *rest = take(queue, "a")
            if turn % MAX_FAILURES == 0:
                queue.finish("a", 0, {first: None})
            else:
                assert not queue.requeue("a", 0, first, "KeyError: a bug")
            queue.finish("a", 0, dict.fromkeys(rest))

    def test_the_last_worker_stays_after_any_failure(self):
        queue, taken = opened(4, "only"), 0
        while chunk := take(queue, "only"):
            for index in chunk:
                assert not queue.requeue("only", 0, index, "KeyError: a bug")
            taken += len(chunk)
        assert taken == 4 * MAX_ATTEMPTS
        assert all("KeyError: a bug" in text for text in errors(queue))
        assert queue.progress().failed == 4

    @pytest.mark.parametrize("end", ["died", "lost", "reject"])
    def test_a_paused_worker_resumes_when_no_other_is_left(self, end):
        queue = opened(50, "sick")
        queue.register("healthy", "machine", 0, "another GPU")
        self.fail_in_turn(queue, "sick")
        assert take(queue, "sick") == []
        assert take(queue, "healthy")
        {
            "died": lambda: queue.died("machine", 0),
            "lost": lambda: queue.lost("machine"),
            "reject": lambda: queue.reject("healthy", IntegrityError("another PyTorch")),
        }[end]()
        assert take(queue, "sick")

    def test_a_rejected_worker_leaves_the_jobs_to_the_others(self):
        queue = opened(2, "alike", "unlike")
        assert take(queue, "unlike") == [0]
        queue.reject("unlike", IntegrityError("another PyTorch"))
        assert take(queue, "unlike") is None
        assert [str(error) for error in queue.rejections] == ["another PyTorch"]
        assert (take(queue, "alike"), take(queue, "alike", [0])) == ([0], [1])
        queue.finish("alike", 0, {1: None})
        assert queue.stage.is_over
        # Others did the jobs.
        assert errors(queue) == []


class TestMemory:
    def test_the_workers_of_a_device_are_paused_up_to_the_last(self, clock):
        queue = opened(20, "a", "b", "c")
        queue.register("elsewhere", "far", 0, "another GPU")
        for worker in "abc":
            take(queue, worker, take(queue, worker))
        clock[0] += 1
        assert queue.out_of_memory("a", 0, queue._workers["a"].leased[0], "full")
        assert take(queue, "a") == []
        assert queue.out_of_memory("b", 0, queue._workers["b"].leased[0], "full")
        # The last one had others beside it when its job began, so it may try once more.
        (tried, *_) = queue._workers["c"].leased
        assert not queue.out_of_memory("c", 0, tried, "full")
        assert errors(queue) == []
        assert not queue.out_of_memory("c", 0, tried, "full")
        (error,) = queue.stage.errors.values()
        assert isinstance(error, StalledError)
        assert re.search(r"^Job .* memory .*: full\. .*batch_size", str(error))
        queue.finish("c", 0, dict.fromkeys(queue._workers["c"].leased))
        drain(queue, "c")
        assert queue.progress().done == 20
        assert len(errors(queue)) == 1

    def full(self) -> Queue:
        """Three workers on a device that has room for two."""
        queue = opened(90, "a", "b", "c")
        assert [take(queue, worker) for worker in "abc"] == [[0], [1], [2]]
        assert queue.out_of_memory("a", 0, 0, "CUDA out of memory")
        return queue

    def active(self, queue: Queue) -> list[str]:
        return [name for name, worker in queue._workers.items() if not worker.paused]

    def test_a_device_that_was_too_small_stays_so_for_replacements(self):
        queue = self.full()
        queue.died("shard", 2)
        # There is room for the first one again, and then no more for the replacement.
        queue.register("c2", "shard", 2, "a GPU")
        assert self.active(queue) == ["a", "b"]
        assert take(queue, "c2") == []
        queue.lost("shard")
        for rank, worker in enumerate("def"):
            queue.register(worker, "another", rank, "a GPU")
        assert self.active(queue) == ["d", "e"]
        queue.register("g", "another", 3, "another GPU")
        assert take(queue, "g")

    def test_one_more_worker_takes_no_job_from_those_that_run(self):
        queue = self.full()
        queue.register("d", "another", 0, "a GPU")
        assert self.active(queue) == ["b", "c"]
        assert [queue._workers[name].leased for name in "bc"] == [[1], [2]]
        assert queue.progress().again == 1

    def test_a_worker_that_failed_does_not_resume_for_want_of_another(self):
        queue = self.full()
        for _ in range(MAX_FAILURES):
            queue.requeue("b", 0, 1, "KeyError: b")
        assert self.active(queue) == ["c"]
        queue.register("far", "far", 0, "another GPU")
        queue.died("shard", 2)
        assert self.active(queue) == ["a", "far"]


def test_the_progress_counts_workers_and_shards_that_are_alive(clock):
    queue = opened(9, "a", "b")
    queue.register("c", "another", 0, "another GPU")
    queue.heartbeat("a", 0.5)
    queue.heartbeat("c", 0.25)
    queue.heartbeat("stranger", 0.75)
    state = queue.progress()
    assert (state.workers, state.shards, state.seconds) == (3, 2, 0.0)
    assert state.memory == {"a GPU": 0.5, "another GPU": 0.25}
    assert take(queue, "c") == [0]
    clock[0] += LEASE_SECONDS + 1
    queue.heartbeat("c")
    state = queue.progress()
    assert (state.workers, state.shards, state.seconds) == (1, 1, LEASE_SECONDS + 1)


@pytest.mark.parametrize("way", ["died", "lost", "rejected", "silent"])
def test_the_progress_forgets_the_devices_of_workers_that_are_gone(clock, way):
    queue = opened(9, "a", "b")
    queue.register("c", "another", 0, "another GPU")
    queue.heartbeat("c", 0.25)
    queue.heartbeat("b", 0.75)
    clock[0] += 1
    queue.heartbeat("a", 0.5)
    # The last heartbeat of a device counts.
    assert queue.progress().memory == {"a GPU": 0.5, "another GPU": 0.25}
    if way == "died":
        queue.died("another", 0)
    elif way == "lost":
        queue.lost("another")
    elif way == "rejected":
        queue.reject("c", StalledError("a worker cannot train."))
    else:
        clock[0] += LEASE_SECONDS
        queue.heartbeat("a", 0.5)
    assert queue.progress().memory == {"a GPU": 0.5}


@dataclass
class Simulated:
    """A worker of the simulation: its shard, its rank, and the jobs in its hands."""

    shard: str
    rank: int
    hands: list[int] = field(default_factory=list)


class Simulation:
    """Workers that join, die, fall silent or out of memory; jobs raise, and stages change."""

    def __init__(self, seed: int, clock: list[float]) -> None:
        self.draw, self.clock = random.Random(seed), clock
        self.queue, self.names = Queue(), 0
        self.workers: dict[str, Simulated] = {}

    def stage(self, count: int) -> None:
        """Begin a stage; workers finish what they have in hand of the one before."""
        fused = range(0, count, 3) if self.draw.random() < 0.3 else ()
        self.number = self.queue.open(["Job"] * count, 4, fused)
        self.done: set[int] = set()
        self.deaths = dict.fromkeys(range(count), 0)
        self.old = {name for name, worker in self.workers.items() if worker.hands}

    def join(self) -> None:
        shard = f"shard{self.names}"
        for rank in range(self.draw.randint(1, 4)):
            self.register(shard, rank)

    def register(self, shard: str, rank: int) -> None:
        self.names += 1
        name = f"{self.names}"
        self.workers[name] = Simulated(shard, rank)
        self.queue.register(name, shard, rank, f"GPU {self.draw.randint(0, 1)}")

    def die(self, name: str) -> None:
        """The process dies with a job in hand; Train may tell it, and replaces the worker."""
        worker = self.workers.pop(name)
        if worker.hands and name not in self.old:
            self.deaths[worker.hands[0]] += 1
        if self.draw.random() < 0.5:
            self.queue.died(worker.shard, worker.rank)
        self.register(worker.shard, worker.rank)

    def lose(self, shard: str) -> None:
        """A machine is lost; the message comes at once."""
        self.queue.lost(shard)
        self.workers = {n: w for n, w in self.workers.items() if w.shard != shard}

    def run(self, name: str) -> None:
        """A worker ends the job in its hands, in one way or another."""
        worker, stage = self.workers[name], self.number - (name in self.old)
        index = worker.hands[0]
        ways = ["done", "memory", "raises", "diverges", "silence", "death"]
        way = self.draw.choices(ways, [88, 3, 3, 1, 1, 2])[0]
        if way == "death":
            return self.die(name)
        if way == "silence":
            # Nothing more is heard of it, not even that it died.
            del self.workers[name]
            return None
        del worker.hands[0]
        if way == "done":
            if stage == self.number and index not in self.queue.stage.errors:
                self.done.add(index)
            self.queue.finish(name, stage, {index: index})
        elif way == "diverges":
            self.queue.fail(name, stage, index, DivergedError("for good"))
        elif way == "memory":
            worker.hands *= not self.queue.out_of_memory(name, stage, index, "full")
        else:
            worker.hands *= not self.queue.requeue(name, stage, index, "KeyError: now and then")
        return None

    def step(self) -> None:
        self.clock[0] += self.draw.choice([0.01, 0.5, 3.0, 3.0, 30.0])
        for name in self.workers:
            if self.draw.random() < 0.9:
                self.queue.heartbeat(name)
        if not self.workers or self.draw.random() < 0.01:
            self.join()
        elif self.draw.random() < 0.01:
            self.lose(self.draw.choice([*self.workers.values()]).shard)
        name = self.draw.choice([*self.workers] or [""])
        if not name:
            return
        if self.workers[name].hands:
            self.run(name)
        else:
            self.old.discard(name)
            lease = self.queue.take(name)
            assert lease is not None
            assert lease.stage == self.number
            self.workers[name].hands = [*lease.jobs]
        alive = self.queue._workers.values()
        assert not alive or not all(worker.paused for worker in alive)


@pytest.mark.parametrize("seed", range(40))
def test_every_job_is_done_after_any_mishaps(seed, clock):
    """A stage ends whatever happens; a job fails only for reasons of its own."""
    simulation = Simulation(seed, clock)
    for count, whole in ((60, False), (0, True), (60, True), (25, True)):
        simulation.stage(count)
        for _ in range(20_000 if whole else 40):
            if simulation.queue.stage.is_over:
                break
            simulation.step()
        stage, state = simulation.queue.stage, simulation.queue.progress()
        if not whole:
            continue
        assert state.done == count
        assert simulation.done.isdisjoint(stage.errors)
        assert simulation.done | stage.errors.keys() == {*range(count)}
        assert {*stage.results} >= simulation.done
        assert all(stage.results[index] == index for index in simulation.done)
        for index, error in stage.errors.items():
            if "process died" in str(error):
                assert simulation.deaths[index] >= MAX_ATTEMPTS
