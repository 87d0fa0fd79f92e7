"""The work queue: what controllers expect of one."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from modelrollout.errors import ClusterUnavailable, Conflict
from modelrollout.ports import Key
from modelrollout.workqueue import WorkQueue, run_passes
from tests.simulation.clock import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator

A, B, C = (Key("default", name) for name in "abc")
SOON, LATE = timedelta(milliseconds=5), timedelta(hours=1)


async def test_a_waiting_key_is_not_added_twice() -> None:
    """Many triggers before a pass make one pass."""
    queue = WorkQueue()
    for key in (A, A, B, A):
        queue.add(key)
    assert [await queue.get(), await queue.get()] == [A, B]
    assert len(queue) == 0


async def test_a_key_in_work_comes_again_only_after_it_is_done() -> None:
    """There are never two passes of one key at a time, and no trigger is lost."""
    queue = WorkQueue()
    queue.add(A)
    assert await queue.get() == A
    queue.add(A)
    assert len(queue) == 0
    queue.done(A)
    assert await queue.get() == A


async def test_a_delayed_key_comes_by_itself() -> None:
    """A pass that is due by time alone happens without a trigger."""
    queue = WorkQueue()
    queue.after(A, SOON)
    assert await queue.get() == A


async def test_the_earliest_due_time_counts() -> None:
    """A later requeue never puts off an earlier one."""
    queue = WorkQueue()
    queue.after(A, SOON)
    queue.after(A, LATE)
    assert await queue.get() == A


async def test_an_earlier_due_time_replaces_a_later_one() -> None:
    """A sooner requeue is not held back by one set before."""
    queue = WorkQueue()
    queue.after(A, LATE)
    queue.after(A, SOON)
    assert await queue.get() == A


async def test_adding_now_clears_the_due_time() -> None:
    """A key that came at once does not come again for the delay it no longer needs."""
    queue = WorkQueue()
    queue.after(A, SOON)
    queue.add(A)
    assert await queue.get() == A
    queue.done(A)
    queue.after(B, 4 * SOON)
    assert await queue.get() == B


async def test_a_waiting_consumer_wakes_for_a_new_key() -> None:
    """Workers sleep without polling and still take a key that is added later."""
    queue = WorkQueue()
    taken = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(B)
    assert await taken == B


async def test_back_off_doubles_up_to_seconds_and_starts_over_after_success() -> None:
    """Failures in a row are tried ever more rarely, but a rollback goes on soon after an outage."""
    queue = WorkQueue(jitter=lambda: 1.0)
    delays = [queue.fail(A).total_seconds() for _ in range(8)]
    queue.forget(A)
    assert delays == [0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5]
    assert queue.fail(A).total_seconds() == 0.2


async def test_back_off_is_spread() -> None:
    """Many objects that failed together are not tried again together."""
    assert WorkQueue(jitter=lambda: 0.0).fail(A) == timedelta(seconds=0.1)


async def test_an_urgent_key_goes_first() -> None:
    """Whoever was proved bad is taken before those who wait, also when it waits itself or is in work."""
    queue = WorkQueue()
    for key in (A, B):
        queue.add(key)
    queue.add(B, urgent=True)
    assert [await queue.get(), await queue.get()] == [B, A]
    queue.add(A, urgent=True)
    queue.add(C)
    queue.done(A)
    assert [await queue.get(), await queue.get()] == [A, C]
    assert len(queue) == 0


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    """A loop in which waiting takes no time."""
    loop = VirtualLoop(0)
    yield loop
    loop.close()


ABORTED = [Key("default", f"aborted-{number}") for number in range(4)]


async def abort(queue: WorkQueue, *keys: Key) -> None:
    """An urgent pass of each, which leaves something to do."""
    for key in keys:
        queue.add(key, urgent=True)
        assert await queue.get() == key
        queue.add(key)
        queue.done(key)


def test_what_aborts_leave_to_do_lets_other_aborts_go_first(virtual: VirtualLoop) -> None:
    """In a storm it waits for a moment after each urgent pass; what was in no such pass does not."""

    async def play() -> list[tuple[Key, float]]:
        queue, taken = WorkQueue(), list[tuple[Key, float]]()
        await abort(queue, *ABORTED)
        queue.add(B)
        asyncio.get_running_loop().call_later(0.2, lambda: queue.add(C, urgent=True))
        while len(taken) < 3:
            key = await queue.get()
            taken.append((key, round(virtual.time(), 3)))
        return taken

    assert virtual.run_until_complete(play()) == [(B, 0.0), (C, 0.2), (ABORTED[0], 1.4)]


@pytest.mark.parametrize("aborts", [ABORTED[:3], [A] * 9], ids=["few", "one again and again"])
def test_some_aborts_are_no_storm(virtual: VirtualLoop, aborts: list[Key]) -> None:
    """What they leave to do begins at once."""

    async def play() -> float:
        queue = WorkQueue()
        for key in aborts:
            await abort(queue, key)
        await queue.get()
        return virtual.time()

    assert virtual.run_until_complete(play()) == 0


def test_a_storm_of_aborts_puts_the_rest_off_for_seconds_at_most(virtual: VirtualLoop) -> None:
    """Most of the time is for what they leave to do, however many come."""

    async def play() -> list[float]:
        queue, others = WorkQueue(), []
        while virtual.time() < 30:
            await abort(queue, *ABORTED)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    queue.done(await queue.get())
                others.append(virtual.time())
            await asyncio.sleep(0.05)
        return others

    others = virtual.run_until_complete(play())
    assert max(after - before for before, after in pairwise([0.0, *others])) <= 2.6
    assert len(others) > 200


@pytest.mark.parametrize("error", [Conflict("x"), ClusterUnavailable("x")])
def test_an_abort_that_fails_is_repeated_before_all_others(virtual: VirtualLoop, error: Exception) -> None:
    """As urgently as it was: it takes no place among those that come again and again."""
    passes: list[Key] = []

    async def reconcile(key: Key) -> None:
        passes.append(key)
        if passes.count(key) == 1 and key == A:
            raise error
        if key == B:
            await asyncio.sleep(1)

    async def play() -> None:
        queue = WorkQueue(jitter=lambda: 0.0)
        queue.add(A, urgent=True)
        queue.add(B)
        task = asyncio.create_task(run_passes(queue, reconcile, count=1))
        asyncio.get_running_loop().call_later(0.01, lambda: queue.add(C))
        await asyncio.sleep(5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    virtual.run_until_complete(play())
    assert passes == [A, B, A, C]


async def test_an_urgent_key_does_not_wait_for_others_to_be_done() -> None:
    """Passes that hang in the cluster's other writes keep nobody's weight from being lowered."""
    queue, stuck, through = WorkQueue(), asyncio.Event(), asyncio.Event()

    async def reconcile(key: Key) -> timedelta | None:
        if key == B:
            through.set()
        else:
            stuck.set()
            await asyncio.Event().wait()
        return None

    passes = asyncio.create_task(run_passes(queue, reconcile, count=1))
    queue.add(A)
    await stuck.wait()
    queue.add(C)
    queue.add(B, urgent=True)
    await through.wait()
    assert len(queue) == 1
    passes.cancel()
    await asyncio.gather(passes, return_exceptions=True)


@pytest.mark.parametrize("error", [ClusterUnavailable("away"), Conflict("newer"), TimeoutError(), ZeroDivisionError()])
async def test_an_error_in_a_pass_neither_ends_the_workers_nor_loses_the_key(error: Exception) -> None:
    """Whatever a pass raises, the key is tried again and other keys go on."""
    queue, seen, again = WorkQueue(jitter=lambda: 0.0), list[Key](), asyncio.Event()

    async def reconcile(key: Key) -> timedelta | None:
        seen.append(key)
        if seen.count(A) == 1 and key == A:
            raise error
        if key == A:
            again.set()
        return None

    workers = asyncio.create_task(run_passes(queue, reconcile, count=2))
    queue.add(A)
    queue.add(B)
    await again.wait()
    workers.cancel()
    await asyncio.gather(workers, return_exceptions=True)
    assert sorted(seen) == [A, A, B]


async def test_the_time_that_a_pass_asks_for_is_kept() -> None:
    """A pass that wants to come again does."""
    queue, seen, twice = WorkQueue(), list[Key](), asyncio.Event()

    async def reconcile(key: Key) -> timedelta | None:
        seen.append(key)
        if len(seen) == 2:
            twice.set()
        return SOON

    workers = asyncio.create_task(run_passes(queue, reconcile, count=1))
    queue.add(A)
    await twice.wait()
    workers.cancel()
    await asyncio.gather(workers, return_exceptions=True)
    assert seen[:2] == [A, A]


async def test_draining_ends_the_passes_under_way_and_begins_no_other() -> None:
    """A process that is to end finishes what it does; what is due is for the next one."""
    queue, seen, begun, go_on = WorkQueue(), list[Key](), asyncio.Event(), asyncio.Event()

    async def reconcile(key: Key) -> timedelta | None:
        begun.set()
        await go_on.wait()
        seen.append(key)
        return SOON

    workers = asyncio.create_task(run_passes(queue, reconcile, count=1))
    queue.add(A)
    queue.add(B)
    await begun.wait()
    draining = asyncio.create_task(queue.drain())
    await asyncio.sleep(0)
    queue.add(A)
    assert not draining.done()
    go_on.set()
    await draining
    await asyncio.sleep(2 * SOON.total_seconds())
    workers.cancel()
    await asyncio.gather(workers, return_exceptions=True)
    assert seen == [A]


async def test_a_queue_without_work_is_drained_at_once() -> None:
    """A standby has nothing under way."""
    queue = WorkQueue()
    queue.add(A)
    await queue.drain()
