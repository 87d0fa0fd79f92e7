"""`/livez`, `/readyz` and `/metrics`, for the kubelet and Prometheus. Run by `process` when an address is set."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from modelrollout.metrics import READY, collected, exposition
from modelrollout.webserver import served

Check = Callable[[], str]
"""What is wrong at this moment, in words; empty when nothing is."""

STILL = 60.0
"""Seconds without a sign of life after which something stands still for good: restarts of the watches take far less."""


class Pulse:
    """A sign of life of the watches' thread, which shares nothing else with the main loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Nothing is expected before the first beat. `clock` gives seconds."""
        self._clock = clock
        self._last: float | None = None

    def beat(self) -> None:
        """It lives, and the next beat is expected."""
        self._last = self._clock()

    def rest(self) -> None:
        """It ended as it should; nothing is expected until the next beat."""
        self._last = None

    def problem(self) -> str:
        """A `Check`."""
        still = self._last is not None and self._clock() - self._last > STILL
        return "the thread of the watches stands still" if still else ""


def blindness(blind: Callable[[], float], answered: Callable[[], float]) -> Check:
    """A `Check` that the cluster is seen, through watches or listings: `blind` says for how many seconds it was not.

    `answered` says for how many the API server has answered every question. One that is away is no reason to start
    anew: that would not bring it back.
    """

    def problem() -> str:
        lately = min(blind(), answered())
        return (
            f"nothing was seen of the cluster for {lately:.0f} s, though the API server answers"
            if lately > STILL
            else ""
        )

    return problem


def first_problem(*checks: Check) -> Check:
    """A `Check` of several things."""
    return lambda: next(filter(None, (check() for check in checks)), "")


_Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def health_server(address: tuple[str, int] | None, alive: Check, ready: Check) -> AsyncIterator[None]:
    """Serve while inside.

    `/livez` is answered by the main loop, so an answer alone says that it turns; it is 503 once something else stands
    still for good. `/readyz` is 200 in a standby, too: it could take over at once.
    """
    if address is None:
        yield
        return
    app = web.Application()
    app.router.add_get("/livez", _answer(alive))
    app.router.add_get("/readyz", _answer(ready))
    app.router.add_get("/metrics", _metrics(ready))
    async with served(app, address):
        yield


def _answer(check: Check) -> _Handler:
    async def answer(_: web.Request) -> web.Response:
        problem = check()
        return web.Response(status=503, text=f"{problem}\n") if problem else web.Response(text="ok\n")

    return answer


def _metrics(ready: Check) -> _Handler:
    async def answer(request: web.Request) -> web.Response:
        READY.set(not ready())
        # Passes do not wait for the text.
        body, content_type = await asyncio.to_thread(exposition, request.headers.get("Accept", ""), collected())
        return web.Response(body=body, headers={"Content-Type": content_type})

    return answer
