"""The queue of jobs, without Ray: every job is done once, whichever workers come, go or fail."""

import random
import re
import subprocess
import sys

import pytest

from rum_ray.cluster import queue as queues
from rum_ray.cluster.backlog import MAX_CHUNK
from rum_ray.cluster.queue import MAX_ATTEMPTS, MAX_DEATHS, Queue
from rum_ray.errors import DivergedError, IntegrityError, StalledError
from rum_ray.jobs.train import MAX_TOGETHER


def test_a_chunk_is_a_full_batch_of_fused_models_and_the_actor_imports_no_pytorch():
    assert MAX_CHUNK == MAX_TOGETHER
    code = "import sys, rum_ray.cluster.queue; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The time that the queue sees."""
    now = [1000.0]
    monkeypatch.setattr(queues.time, "monotonic", lambda: now[0])
    return now


def opened(count: int, *workers: str, device: str = "a GPU", most: int = 1) -> Queue:
    """A queue with registered workers of one group."""
    queue = Queue(["Job"] * count, most)
    for worker in workers:
        queue.register(worker, "group", device)
    return queue


def drain(queue: Queue, *workers: str) -> list[list[int]]:
    """Take chunks in turn until none is left, finishing each."""
    chunks, done = [], {worker: [] for worker in workers}
    while chunk := queue.take(worker := workers[len(chunks) % len(workers)], done.pop(worker, [])):
        chunks.append(chunk)
        done[worker] = chunk
    for worker, last in done.items():
        queue.finish(worker, last)
    return chunks


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_every_job_is_handed_out_once_in_chunks_that_shrink(count, workers):
    names = [f"w{k}" for k in range(workers)]
    queue = opened(count, *names, most=workers)
    chunks = drain(queue, *names)
    assert [index for chunk in chunks for index in chunk] == list(range(count))
    sizes = list(map(len, chunks))
    # A worker's rate is unknown at first; here all are infinitely fast.
    assert sizes[:workers] == [1] * min(workers, len(sizes))
    assert sizes[workers:] == sorted(sizes[workers:], reverse=True)
    assert sizes[-1] == 1
    assert max(sizes) <= MAX_CHUNK
    assert queue.progress()[0].done == count
    assert queue.errors() == []
    assert queue.take("w0") is None


def test_a_chunk_is_as_long_as_one_second(clock):
    queue = opened(1000, "fast", "slow")
    fast, slow = queue.take("fast"), queue.take("slow")
    for _ in range(5):
        clock[0] += 0.25 * len(fast)
        fast = queue.take("fast", fast)
    clock[0] += 9
    slow = queue.take("slow", slow)
    assert (len(fast), len(slow)) == (4, 1)


def test_no_job_for_now_is_not_the_end():
    queue = opened(2, "a", "b", "c")
    assert [queue.take(worker) for worker in "abc"] == [[0], [1], []]
    assert queue.take("a", [0]) == []
    queue.finish("b", [1])
    assert queue.take("a") is None


def test_a_new_group_gets_the_leases_of_the_old_one(clock):
    queue = opened(20, "a", "b")
    had = [queue.take(worker, queue.take(worker)) for worker in "ab"]
    clock[0] += 1
    queue.finish("b", had[1][:1])
    queue.register("c", "another group", "a GPU")
    assert queue.take("a") is None
    again = [index for chunk in drain(queue, "c") for index in chunk]
    assert sorted(again) == sorted({*range(20)} - {0, 9, had[1][0]})
    state = queue.progress()[0]
    assert (state.done, state.restarts) == (20, 1)
    assert state.again == len(had[0]) + len(had[1]) - 1


def test_late_results_of_a_former_group_count():
    queue = opened(1, "a")
    assert queue.take("a") == [0]
    queue.register("b", "another group", "a GPU")
    queue.finish("a", [0])
    assert queue.progress()[0].done == 1


def test_a_lease_without_a_heartbeat_expires(clock):
    queue = opened(2, "a", "b", "c")
    assert queue.take("a") == [0]
    assert queue.take("b") == [1]
    for _ in range(10):
        clock[0] += queues.LEASE_SECONDS / 2
        queue.heartbeat("a")
        queue.heartbeat("b")
        assert queue.take("c") == []
    clock[0] += queues.LEASE_SECONDS + 1
    queue.heartbeat("b")
    assert queue.take("c") == [0]
    assert queue.take("c", [0]) == []
    # The worker was only slow: jobs are idempotent.
    queue.finish("a", [0])
    queue.finish("b", [1])
    assert queue.take("c") is None
    assert queue.progress()[0].done == 2
    assert queue.errors() == []


def test_the_time_since_the_last_heartbeat_is_known(clock):
    queue = Queue(["Job"] * 2, 1)
    clock[0] += 50
    state, silence = queue.progress()
    assert (state.done, state.seconds, silence) == (0, 0.0, 50.0)
    queue.register("a", "group", "a GPU")
    clock[0] += 20
    queue.heartbeat("b")
    clock[0] += 5
    state, silence = queue.progress()
    assert (state.seconds, silence) == (25.0, 5.0)


def test_errors_are_kept_unless_the_job_is_done():
    queue = opened(2, "a")
    assert queue.take("a") == [0]
    queue.finish("a", [0])
    queue.fail("a", 0, StalledError("too late"))
    assert queue.errors() == []
    assert queue.take("a") == [1]
    queue.fail("a", 1, DivergedError("first"))
    queue.fail("a", 1, DivergedError("second"))
    assert [str(error) for error in queue.errors()] == ["first"]
    assert queue.take("a") is None
    assert queue.progress()[0].done == 2


def test_a_job_that_raises_is_tried_some_times():
    queue = opened(1, "a")
    for _ in range(MAX_ATTEMPTS):
        assert queue.take("a") == [0]
        queue.requeue("a", 0, "KeyError: 3")
    assert queue.take("a") is None
    (error,) = queue.errors()
    assert isinstance(error, StalledError)
    assert re.search(rf"^Job .* {MAX_ATTEMPTS} attempts: KeyError: 3\.$", str(error))


def test_a_job_that_kills_its_workers_is_given_up():
    queue = opened(1)
    for attempt in range(MAX_DEATHS):
        queue.register(str(attempt), str(attempt), "a GPU")
        assert queue.take(str(attempt)) == [0]
    queue.register("last", "last", "a GPU")
    assert queue.take("last") is None
    (error,) = queue.errors()
    assert re.search(rf"^Job .* {MAX_DEATHS} attempts: .* died\.$", str(error))


def test_out_of_memory_the_workers_of_a_device_leave_up_to_the_last(clock):
    queue = opened(20, "a", "b", "c")
    queue.register("elsewhere", "group", "another GPU")
    for worker in "abc":
        queue.take(worker, queue.take(worker))
    clock[0] += 1
    assert queue.out_of_memory("a", queue._workers["a"].leased[0], "full")
    assert queue.take("a") is None
    assert queue.out_of_memory("b", queue._workers["b"].leased[0], "full")
    # The last one had others beside it when its job began, so it may try once more.
    (tried, *_) = queue._workers["c"].leased
    assert not queue.out_of_memory("c", tried, "full")
    assert queue.errors() == []
    assert not queue.out_of_memory("c", tried, "full")
    (error,) = queue.errors()
    assert isinstance(error, StalledError)
    assert re.search(r"^Job .* memory .*: full\. .*batch_size", str(error))
    queue.finish("c", queue._workers["c"].leased)
    drain(queue, "c")
    assert queue.progress()[0].done == 20
    assert len(queue.errors()) == 1


@pytest.mark.parametrize("seed", range(20))
def test_every_job_is_done_after_any_mishaps(seed, clock):
    """Workers join, die in groups, run out of memory, fall silent; jobs raise now and then."""
    draw, count = random.Random(seed), 60
    queue, done, group = opened(count, most=4), set(), 0
    mishaps = {
        "memory": lambda name, index: queue.out_of_memory(name, index, "full"),
        "raises": lambda name, index: queue.requeue(name, index, "KeyError: now and then"),
        "diverges": lambda name, index: queue.fail(name, index, DivergedError("for good")),
    }
    names: list[str] = []
    hands: dict[str, list[int]] = {}
    for _ in range(5000):
        clock[0] += draw.choice([0.01, 0.5, 3.0, 3.0, 30.0])
        if not names or draw.random() < 0.01:
            group += 1
            names = [f"{group}-{k}" for k in range(draw.randint(1, 4))]
            for name in names:
                queue.register(name, str(group), f"GPU {draw.randint(0, 1)}")
            hands = {name: [] for name in names}
        name = draw.choice(names)
        if hands[name]:
            index = hands[name].pop(0)
            happened = draw.choices(["done", *mishaps, "silence"], [88, 5, 5, 1, 1])[0]
            if happened == "done":
                queue.finish(name, [index])
                done.add(index)
            elif happened == "silence" or mishaps[happened](name, index):
                names.remove(name)
            continue
        chunk = queue.take(name)
        if chunk is None:
            # There is nothing left, or no room for one more beside the others.
            names.remove(name)
            if queue.progress()[0].done == count:
                break
        hands[name] = chunk
    failed = len(queue.errors())
    assert chunk is None
    assert queue.progress()[0].done == count
    assert len(done) + failed == count


@pytest.mark.usefixtures("clock")
def test_a_cancelled_job_is_never_handed_out_and_cannot_fail():
    queue = opened(6, "a", "b")
    assert (queue.take("a"), queue.take("b")) == ([0], [1])
    queue.fail("a", 0, DivergedError("of 0"))
    assert queue.take("a") == [2, 3]
    queue.fail("b", 1, DivergedError("of 1"))
    assert queue.take("b") == [4]
    queue.cancel([1, 3, 4, 5])
    assert [str(error) for error in queue.errors()] == ["of 0"]
    state, _ = queue.progress()
    assert (state.done, state.total) == (1, 2)
    # Leases of cancelled jobs may end in any way.
    queue.fail("b", 4, DivergedError("of 4"))
    queue.requeue("a", 3, "KeyError: 3")
    assert queue.take("b") == []
    queue.register("c", "another group", "a GPU")
    assert queue.take("c") == [2]
    assert queue.take("c", [2]) is None
    assert [str(error) for error in queue.errors()] == ["of 0"]
    state, _ = queue.progress()
    assert (state.done, state.total) == (2, 2)


@pytest.mark.usefixtures("clock")
def test_after_a_restart_the_first_jobs_are_finished_first():
    queue = opened(1000, "a", "b")
    assert (queue.take("a"), queue.take("b")) == ([0], [1])
    leased = queue.take("a", [0]), queue.take("b", [1])
    assert max(map(max, leased)) < 40
    queue.register("c", "another group", "a GPU")
    order = [index for chunk in drain(queue, "c") for index in chunk]
    assert order == list(range(2, 1000))


@pytest.mark.usefixtures("clock")
def test_a_job_that_fails_again_and_again_comes_last():
    queue = opened(20, "a")
    assert queue.take("a") == [0]
    for _ in range(MAX_ATTEMPTS - 1):
        queue.requeue("a", 0, "KeyError: 0")
        chunk = queue.take("a")
    assert 0 not in chunk
    queue.finish("a", chunk)
    assert [index for part in drain(queue, "a") for index in part][-1] == 0


@pytest.mark.usefixtures("clock")
def test_a_job_without_a_reported_result_is_requeued():
    queue = opened(2, "a")
    assert queue.take("a") == [0]
    assert queue.take("a") == [0]
    assert queue.take("a") == [1]
    assert queue.take("a", [1]) == [0]
    assert queue.take("a", [0]) is None
    assert (queue.progress()[0].done, queue.errors()) == (2, [])


@pytest.mark.usefixtures("clock")
def test_a_late_worker_of_a_former_group_changes_nothing():
    queue = opened(3, "a")
    queue.register("b", "another group", "a GPU")
    assert queue.take("b") == [0]
    queue.register("late", "group", "a GPU")
    assert queue.take("late") is None
    assert queue.take("b", [0]) == [1]
    assert queue.progress()[0].restarts == 1


@pytest.mark.usefixtures("clock")
def test_a_rejected_worker_leaves_the_jobs_to_the_others():
    queue = opened(2, "alike", "unlike")
    queue.reject("unlike", IntegrityError("another PyTorch"))
    assert queue.take("unlike") is None
    assert [str(error) for error in queue.errors()] == ["another PyTorch"]
    assert (queue.take("alike"), queue.take("alike", [0])) == ([0], [1])
    assert queue.take("alike", [1]) is None
    assert queue.errors() == []


@pytest.mark.usefixtures("clock")
def test_a_device_that_was_too_small_stays_so_after_a_restart():
    queue = opened(9, "a", "b", "c")
    for worker in ("a", "b", "c"):
        assert queue.take(worker)
    assert queue.out_of_memory("a", 0, "CUDA out of memory")
    for worker in ("d", "e", "f"):
        queue.register(worker, "another group", "a GPU")
    taken = [queue.take(worker) for worker in ("d", "e", "f")]
    assert taken == [[0], [1], None]
    queue.register("g", "another group", "another GPU")
    assert queue.take("g") == [2]


def test_chunks_of_jobs_that_are_done_together_are_full_and_end_with_two(clock):
    queue = Queue(["Job"] * 101, 1, fused=range(101))
    queue.register("slow", "group", "a GPU")
    sizes, done = [], []
    while chunk := queue.take("slow", done):
        clock[0] += 9.0
        sizes.append(len(chunk))
        done = chunk
    assert sizes[0] == MAX_CHUNK
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-2:] == [2, 2]
    assert sum(sizes) == 101


def test_jobs_that_are_done_together_share_no_chunk_with_others(clock):
    queue = Queue(["Job"] * 40, 2, fused=range(5, 40))
    for worker in "ab":
        queue.register(worker, "group", "a GPU")
    taken = []
    for worker in "abab":
        taken.append(queue.take(worker, taken[-2] if len(taken) > 1 else []))
        clock[0] += 9.0
    assert taken == [[0], [1], [2], [3]]
    assert queue.take("a", [2]) == [4]
    assert queue.take("b", [3]) == [*range(5, 13)]


@pytest.mark.usefixtures("clock")
def test_a_worker_that_fails_one_job_after_another_leaves_them_to_the_others():
    queue = opened(200, "healthy", "sick", most=2)
    mine = queue.take("healthy")
    left = False
    while not left:
        for index in queue.take("sick"):
            left = left or queue.requeue("sick", index, "RuntimeError: illegal memory access")
    assert queue.take("sick") is None
    queue.finish("healthy", mine)
    drain(queue, "healthy")
    assert queue.errors() == []
    assert (queue.progress()[0].done, queue.progress()[0].failed) == (200, 0)


@pytest.mark.usefixtures("clock")
def test_the_last_worker_stays_after_any_failure():
    queue, taken = opened(4, "only"), 0
    while chunk := queue.take("only"):
        for index in chunk:
            assert not queue.requeue("only", index, "KeyError: a bug")
        taken += len(chunk)
    assert taken == 4 * MAX_ATTEMPTS
    assert all("KeyError: a bug" in str(error) for error in queue.errors())
    assert queue.progress()[0].failed == 4


@pytest.mark.usefixtures("clock")
def test_restarts_are_no_attempts():
    queue = opened(2, "w0")
    for number in range(1, MAX_ATTEMPTS + 2):
        assert queue.take(f"w{number - 1}") == [0]
        queue.register(f"w{number}", f"group {number}", "a GPU")
    assert queue.take(f"w{MAX_ATTEMPTS + 1}") == [0]
    queue.requeue(f"w{MAX_ATTEMPTS + 1}", 0, "ConnectionError: blip")
    assert queue.errors() == []
    assert queue.take(f"w{MAX_ATTEMPTS + 1}") == [0]
