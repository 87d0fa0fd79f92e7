"""What the kubelet and Prometheus are told about the process."""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest

from modelrollout.contact import Contact
from modelrollout.health import STILL, Check, Pulse, blindness, first_problem, health_server
from tests.builders import NOW

if TYPE_CHECKING:
    from datetime import datetime


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


def well() -> str:
    """Nothing is wrong."""
    return ""


async def ask(port: int, path: str) -> tuple[int, str]:
    """Status and text."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
        session.get(f"http://127.0.0.1:{port}{path}") as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("alive", "ready", "told"),
    [
        pytest.param("", "", {"/livez": (200, "ok\n"), "/readyz": (200, "ok\n")}, id="all is well"),
        pytest.param("", "listing", {"/livez": (200, "ok\n"), "/readyz": (503, "listing\n")}, id="not ready"),
        pytest.param("stuck", "", {"/livez": (503, "stuck\n"), "/readyz": (200, "ok\n")}, id="stands still"),
    ],
)
async def test_each_question_has_its_answer(alive: str, ready: str, told: dict[str, tuple[int, str]]) -> None:
    """503 with the problem in words, else 200."""
    port = free_port()
    async with health_server(("127.0.0.1", port), lambda: alive, lambda: ready):
        assert {path: await ask(port, path) for path in told} == told


@pytest.mark.parametrize(("ready", "value"), [("", "1.0"), ("listing", "0.0")])
async def test_metrics_say_whether_the_process_is_ready(ready: str, value: str) -> None:
    """As of the moment in which they are read."""
    port = free_port()
    async with health_server(("127.0.0.1", port), well, lambda: ready):
        status, text = await ask(port, "/metrics")
    assert status == 200
    assert re.search(rf"^modelrollout_ready {value}$", text, re.MULTILINE)


async def test_nothing_is_served_without_an_address() -> None:
    """A process of a test's own needs no port."""
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(health_server(None, well, well))


def test_a_main_loop_that_stands_still_answers_nobody() -> None:
    """The kubelet's probe runs into its timeout: that the main loop turns is what an answer says."""
    port, serving, go_on = free_port(), threading.Event(), threading.Event()

    async def serve() -> None:
        async with health_server(("127.0.0.1", port), well, well):
            serving.set()
            go_on.wait(60)

    async def probe() -> None:
        async with asyncio.timeout(0.5):
            await ask(port, "/livez")

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    serving.wait(60)
    try:
        with pytest.raises(TimeoutError):
            asyncio.run(probe())
    finally:
        go_on.set()
        thread.join()


@pytest.mark.parametrize(
    ("beats", "rests", "later", "problem"),
    [
        pytest.param(False, False, 10 * STILL, False, id="never began"),
        pytest.param(True, False, STILL, False, id="beat lately"),
        pytest.param(True, False, STILL + 1, True, id="stands still"),
        pytest.param(True, True, 10 * STILL, False, id="ended as it should"),
    ],
)
def test_a_thread_that_stops_beating_is_a_problem(beats: bool, rests: bool, later: float, problem: bool) -> None:
    """From its first beat on, until it says that it is over."""
    now = [100.0]
    pulse = Pulse(lambda: now[0])
    if beats:
        pulse.beat()
    if rests:
        pulse.rest()
    now[0] += later
    assert bool(pulse.problem()) is problem


@pytest.mark.parametrize(
    ("blind", "answered", "problem"),
    [
        pytest.param(1.0, 1000.0, False, id="sees"),
        pytest.param(STILL + 1, 1000.0, True, id="blind"),
        pytest.param(1000.0, 0.0, False, id="the API server is away"),
        pytest.param(1000.0, STILL, False, id="the API server is just back"),
        pytest.param(1000.0, STILL + 1, True, id="back for long, and still blind"),
    ],
)
def test_blindness_is_a_problem_only_while_the_api_server_answers(blind: float, answered: float, problem: bool) -> None:
    """No process is started anew in an outage, however long that is."""
    assert bool(blindness(lambda: blind, lambda: answered)()) is problem


@pytest.mark.parametrize(("checks", "said"), [([], ""), ([well], ""), ([well, lambda: "a", lambda: "b"], "a")])
def test_the_first_problem_is_said(checks: list[Check], said: str) -> None:
    """One is enough to be told."""
    assert first_problem(*checks)() == said


@pytest.mark.parametrize(
    ("first", "heard", "failed", "seconds"),
    [
        pytest.param(None, None, None, 0.0, id="never asked"),
        pytest.param(NOW, NOW + timedelta(seconds=100), None, 100.0, id="always answered"),
        pytest.param(NOW, NOW + timedelta(seconds=99), NOW + timedelta(seconds=70), 30.0, id="failed in between"),
        pytest.param(NOW, NOW + timedelta(seconds=50), None, 0.0, id="stood still"),
    ],
)
def test_answers_are_counted_from_the_last_that_failed(
    first: datetime | None, heard: datetime | None, failed: datetime | None, seconds: float
) -> None:
    """100 s after the first answer."""
    contact = Contact(heard=heard, failed=failed, first=first)
    assert contact.answered(NOW + timedelta(seconds=100)) == seconds
