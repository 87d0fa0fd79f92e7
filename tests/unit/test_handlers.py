"""The thread of kopf: it can always be brought to an end."""

from __future__ import annotations

import asyncio
import gc
import time
from typing import TYPE_CHECKING

import pytest

from modelrollout.handlers import WatchThread
from modelrollout.health import STILL, Pulse
from modelrollout.resources import PODS, ROLLOUTS, Resource

if TYPE_CHECKING:
    from modelrollout.core.values import JSON


def ignored(_: Resource, __: str | None, ___: JSON) -> None:
    """An event that concerns nobody."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what is ended by force leaves a mess
@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_thread_that_does_not_end_is_ended_by_force(stubborn: bool) -> None:
    """Even one in which something cannot be cancelled; nothing is expected of it any more then."""
    entered, loop = asyncio.Event(), asyncio.get_running_loop()

    async def login(_: object) -> tuple[str, None]:
        loop.call_soon_threadsafe(entered.set)
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not stubborn:
                    raise

    now = [0.0]
    pulse = Pulse(lambda: now[0])
    watches = WatchThread((ROLLOUTS, PODS), (), login, ignored, pulse)  # type: ignore[arg-type]
    watches.start()
    await entered.wait()
    watches.stop()
    while not watches.ended.is_set():
        watches.abandon()
        await asyncio.sleep(0.1)
    now[0] += 2 * STILL
    await asyncio.sleep(0)
    assert not pulse.problem()
    del watches
    gc.collect()


async def test_a_thread_that_was_never_started_can_be_ended() -> None:
    """There is nothing to do."""
    watches = WatchThread((ROLLOUTS,), (), lambda _: asyncio.sleep(0), ignored, Pulse(time.monotonic))  # type: ignore[arg-type, return-value]
    watches.stop()
    watches.abandon()
    assert not watches.ended.is_set()
