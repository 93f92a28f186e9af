"""The actor of the queue, without Ray, in a time of its own: nobody polls, and nobody oversleeps.

The loop below has a clock that jumps to the next timer, so an hour of waiting takes no time.
"""

import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from rum_ray.cluster import queue as queues
from rum_ray.cluster.queue_actor import TAKE_SECONDS, QueueActor
from rum_ray.cluster.worker import HEARTBEAT_SECONDS
from rum_ray.errors import DivergedError, IntegrityError


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else is to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.now, select = 1000.0, self._selector.select

        def jump(timeout: float | None) -> list[Any]:
            assert timeout is not None, "everybody waits for ever"
            self.now += timeout
            return select(0)

        self._selector.select = jump

    def time(self) -> float:
        return self.now


@pytest.fixture
def play(monkeypatch):
    """A function that runs a coroutine in virtual time, which the queue sees, too."""

    def play(scene: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            loop = runner.get_loop()
            monkeypatch.setattr(queues, "time", SimpleNamespace(monotonic=loop.time))
            runner.run(scene)

    return play


def now() -> float:
    return asyncio.get_running_loop().time()


async def joined(*workers: str) -> QueueActor:
    """An actor with the workers of one shard."""
    actor = QueueActor()
    for rank, worker in enumerate(workers):
        await actor.register(worker, "shard", rank, "a GPU")
    return actor


async def waiting(actor: QueueActor, *workers: str) -> list[asyncio.Task[Any]]:
    """Workers that have asked for jobs and wait."""
    tasks = [asyncio.create_task(actor.take(worker, -1, {})) for worker in workers]
    await asyncio.sleep(1)
    assert not any(task.done() for task in tasks)
    return tasks


@pytest.mark.parametrize("news", ["open", "hand_in", "requeue", "died", "lost", "reject", "close"])
def test_an_idle_worker_is_woken_at_once(play, news):
    async def scene() -> None:
        actor = await joined("idle", "busy")
        if news not in ("open", "hand_in", "close"):
            await actor.open(["Job"], 2)
            lease = await actor.take("busy", 0, {})
            assert [*lease.jobs] == [0]
        elif news == "hand_in":
            await actor.open([], 2)
        (task,) = await waiting(actor, "idle")
        before = now()
        error = IntegrityError("another PyTorch")
        happens = {
            "open": lambda: actor.open(["Job"], 2),
            "hand_in": lambda: actor.hand_in("Trial", ["answers"]),
            "requeue": lambda: actor.requeue("busy", 0, 0, "KeyError: 3"),
            "died": lambda: actor.died("shard", 1),
            "lost": lambda: actor.lost("shard"),
            "reject": lambda: actor.reject("busy", error),
            "close": lambda: actor.close(),
        }
        following = asyncio.create_task(happens[news]())
        lease = await task
        assert now() == before
        assert lease is None if news in ("lost", "close") else [*lease.jobs] == [0]
        following.cancel()

    play(scene())


def test_a_worker_waits_so_long_and_asks_again(play):
    async def scene() -> None:
        actor, before = await joined("idle"), now()
        lease = await actor.take("idle", -1, {})
        assert (lease.stage, [*lease.jobs]) == (-1, [])
        assert now() - before == TAKE_SECONDS
        # Nobody knows this one.
        assert await actor.take("stranger", -1, {}) is None
        assert now() - before == TAKE_SECONDS

    play(scene())


def test_as_many_workers_are_woken_as_there_are_jobs(play):
    async def scene() -> None:
        actor = await joined(*"abcdef")
        tasks = await waiting(actor, *"abcdef")
        await actor.open(["Job"] * 3, 6)
        await asyncio.sleep(1)
        leases = [[*task.result().jobs] for task in tasks if task.done()]
        assert leases == [[0], [1], [2]]

    play(scene())


def test_a_paused_worker_takes_no_turn_of_those_that_may_work(play):
    """A paused worker waits like the others; a job that comes back goes to one that takes it."""

    async def scene() -> None:
        actor = await joined("full", "busy", "idle")
        await actor.open(["Job"] * 2, 3)
        for worker in ("full", "busy"):
            await actor.take(worker, 0, {})
        assert await actor.out_of_memory("full", 0, 0, "full")
        lease = await actor.take("idle", 0, {})
        assert [*lease.jobs] == [0]
        tasks = [asyncio.create_task(actor.take("full", 0, {}))]
        await asyncio.sleep(0.5)
        tasks.append(asyncio.create_task(actor.take("idle", 0, {0: None})))
        await asyncio.sleep(0.5)
        before = now()
        assert not await actor.requeue("busy", 0, 1, "KeyError: 3")
        lease = await tasks[1]
        assert ([*lease.jobs], now() - before) == ([1], 0.0)
        tasks[0].cancel()

    play(scene())


def test_watch_returns_at_the_end_of_the_stage_and_not_before(play):
    async def scene() -> None:
        actor = await joined("a")
        await actor.open(["Job"] * 2, 1)
        before = now()
        state, is_over = await actor.watch(7.0)
        assert (state.done, is_over, now() - before) == (0, False, 7.0)
        await actor.take("a", 0, {})
        watch = asyncio.create_task(actor.watch(7.0))
        await asyncio.sleep(1)
        await actor.take("a", 0, {0: None})
        await asyncio.sleep(1)
        assert not watch.done()
        before = now()
        await actor.finish("a", 0, {1: None})
        state, is_over = await watch
        assert (state.done, is_over, now()) == (2, True, before)
        state, is_over = await actor.watch(7.0)
        assert (is_over, now()) == (True, before)

    play(scene())


def test_watch_returns_when_the_rest_is_cancelled(play):
    async def scene() -> None:
        actor = await joined("a")
        await actor.open(["Job"] * 2, 1)
        watch = asyncio.create_task(actor.watch(7.0))
        await asyncio.sleep(1)
        before = now()
        await actor.cancel([0, 1])
        state, is_over = await watch
        assert (state.total, is_over, now()) == (0, True, before)

    play(scene())


@pytest.mark.parametrize("end", ["finish", "take", "fail", "open"])
def test_a_result_is_that_of_the_job_or_the_error_or_none_of_a_dropped_stage(play, end):
    async def scene() -> None:
        actor = await joined("a")
        await actor.open([], 1)
        assert await actor.hand_in("Trial", [{"x": 1}]) == [0]
        asked = asyncio.create_task(actor.result(0))
        lease = await actor.take("a", -1, {})
        assert lease.payloads == {0: {"x": 1}}
        await asyncio.sleep(3600)
        assert not asked.done()
        error, before = DivergedError("for good"), now()
        if end == "finish":
            await actor.finish("a", 0, {0: "result"})
        elif end == "take":
            following = asyncio.create_task(actor.take("a", 0, {0: "result"}))
        elif end == "fail":
            await actor.fail("a", 0, 0, error)
        else:
            await actor.open(["Next"], 1)
        expected = {"fail": (None, error), "open": (None, None)}.get(end, ("result", None))
        assert await asked == expected
        assert now() == before
        if end == "take":
            assert not following.done()
        assert await actor.errors() == ([error] if end == "fail" else [])

    play(scene())


def test_the_work_of_a_stage_is_there_until_the_next_one(play):
    async def scene() -> None:
        actor = await joined("a")
        assert await actor.open(["Job"], 1, (), "its work") == 0
        assert await actor.work(0) == "its work"
        await actor.open([], 1)
        assert await actor.work(0) is None

    play(scene())


def test_a_thousand_idle_workers_make_at_most_five_hundred_calls_a_second(play):
    """At the tail of a stage, one worker runs the last job and the others wait."""
    workers, seconds = 1000, 30.0
    assert workers * (1 / TAKE_SECONDS + 1 / HEARTBEAT_SECONDS) <= 500

    async def scene() -> None:
        names = [f"w{number}" for number in range(workers)]
        actor, calls, over = QueueActor(), [0], asyncio.Event()
        for number, name in enumerate(names):
            # On one device, so that the last job is not copied.
            await actor.register(name, f"shard{number // 16}", number % 16, "a GPU")
        await actor.open(["Job"] * 21, workers)
        busy, *idle = names
        await actor.take(busy, 0, {})

        async def take(name: str) -> None:
            done: dict[int, Any] = {}
            while (lease := await actor.take(name, 0, done)) is not None:
                calls[0] += 1
                done = dict.fromkeys(lease.jobs)

        async def beat(name: str) -> None:
            while not over.is_set():
                calls[0] += 1
                await actor.heartbeat(name)
                await asyncio.sleep(HEARTBEAT_SECONDS)

        tasks = [asyncio.create_task(take(name)) for name in idle]
        tasks += [asyncio.create_task(beat(name)) for name in names]
        await asyncio.sleep(1)
        state, _ = await actor.watch(0.0)
        assert (state.done, state.total) == (20, 21)
        before = calls[0]
        await asyncio.sleep(seconds)
        assert 0 < calls[0] - before <= 500 * seconds
        await actor.finish(busy, 0, {0: None})
        assert (await actor.watch(0.0))[1]
        over.set()
        await actor.close()
        await asyncio.gather(*tasks)

    play(scene())


def test_the_first_settled_unit_is_told_by_its_position(play):
    async def scene() -> None:
        actor = await joined("a")
        await actor.open([], 1)
        numbers = await actor.hand_in("Trial", [{"x": n} for n in range(3)])
        assert await actor.first_settled(numbers) == 0
        await actor.take("a", -1, {})
        await actor.finish("a", 0, {0: "result"})
        assert await actor.first_settled(numbers[::-1]) == 2
        await actor.take("a", -1, {})
        await actor.fail("a", 0, 1, DivergedError("for good"))
        assert await actor.first_settled([2, 1, 0]) == 1

    play(scene())
