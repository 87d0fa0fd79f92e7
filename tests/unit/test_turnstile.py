"""How questions are spread over time: in virtual time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from modelrollout.turnstile import Turnstile
from tests.simulation.clock import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    """A loop in which waiting takes no time."""
    loop = VirtualLoop(0)
    yield loop
    loop.close()


async def passed(turnstile: Turnstile, count: int) -> list[float]:
    """When each of so many who come at once is let through."""
    loop = asyncio.get_running_loop()

    async def one() -> float:
        await turnstile.turn()
        return round(loop.time(), 3)

    return await asyncio.gather(*(one() for _ in range(count)))


def test_a_crowd_is_let_through_at_a_steady_pace(virtual: VirtualLoop) -> None:
    """A second's worth at once, then one after another, in order."""
    times = virtual.run_until_complete(passed(Turnstile(10), 30))
    assert times == sorted(times)
    assert times[:10] == [times[0]] * 10
    assert times[29] - times[0] == 2


def test_those_who_wait_go_some_at_a_time(virtual: VirtualLoop) -> None:
    """What is done together costs less."""
    times = virtual.run_until_complete(passed(Turnstile(10, every=0.5), 25))
    assert [round(at - times[0], 3) for at in times] == [0.0] * 10 + [0.5] * 5 + [1.0] * 5 + [1.5] * 5


def test_who_gives_up_takes_nobodys_turn(virtual: VirtualLoop) -> None:
    """A plan that ends while it waits costs nothing."""

    async def play() -> float:
        turnstile = Turnstile(10)
        await passed(turnstile, 10)
        began, waiting = virtual.time(), asyncio.create_task(passed(turnstile, 20))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await passed(turnstile, 1)
        return round(virtual.time() - began, 3)

    assert virtual.run_until_complete(play()) == 0.1
