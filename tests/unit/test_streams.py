"""What is heard of a stream: a session with the trace against a web server that ends, cuts and hangs as it is told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from multidict import CIMultiDict
from yarl import URL

from modelrollout.streams import Streams
from tests.simulation.clock import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATH = "/api/v1/pods"
WATCH = f"{PATH}?watch=true"


@dataclass
class Server:
    """Answers lists at once; a watch begins at once and goes on until it is told to end."""

    end: asyncio.Event = field(default_factory=asyncio.Event)
    status: int = 200
    cut: bool = False
    mute: bool = False
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.asked.set()
        if "watch" not in request.query or self.status != 200:
            return web.json_response({}, status=self.status)
        response = web.StreamResponse()
        await response.prepare(request)
        if not self.mute:
            await response.write(b"{}\n")
        await self.end.wait()
        if self.cut and request.transport is not None:
            request.transport.abort()
        return response


@asynccontextmanager
async def serving(server: Server, streams: Streams) -> AsyncIterator[aiohttp.ClientSession]:
    """A session with the trace, and an address with a path of its own before the API's."""
    app = web.Application()
    app.router.add_get(f"/lane{PATH}", server.answer)
    async with TestServer(app) as running:
        base = running.make_url("/")
        async with aiohttp.ClientSession(base, trace_configs=[streams.trace()]) as session:
            yield session
            server.end.set()


def age(streams: Streams) -> None:
    """Let nothing have been heard for long."""
    for path in streams._heard:
        streams._heard[path] -= 1000


async def read(session: aiohttp.ClientSession, target: str) -> None:
    """One request, until its end."""
    async with session.get(f"/lane{target}") as response:
        await response.read()


async def test_a_watch_that_ends_has_heard_everything_until_then() -> None:
    """Its stream is silent while it lasts, and heard when the API server ended it."""
    server, streams = Server(), Streams([PATH])
    async with serving(server, streams) as session:
        age(streams)
        watching = asyncio.create_task(read(session, WATCH))
        await server.asked.wait()
        assert streams.silence() >= 1000
        server.end.set()
        await watching
        await asyncio.sleep(0)
        assert streams.silence() < 1000
        assert not streams.listed.is_set()


@pytest.mark.parametrize(
    "server", [Server(cut=True), Server(status=500), Server(status=410)], ids=["cut", "500", "410"]
)
async def test_a_watch_that_is_cut_or_refused_is_no_sign_of_life(server: Server) -> None:
    """What it did not hear is lost."""
    streams = Streams([PATH])
    async with serving(server, streams) as session:
        age(streams)
        server.end.set()
        try:
            await read(session, WATCH)
        except aiohttp.ClientError:
            assert server.cut
        await asyncio.sleep(0)
        assert streams.silence() >= 1000


async def test_a_listing_is_a_sign_of_life_and_is_told() -> None:
    """It saw everything; what it did not see is for a sweep to find."""
    streams = Streams([PATH])
    async with serving(Server(), streams) as session:
        age(streams)
        await read(session, PATH)
        await streams.listed.wait()
        assert streams.silence() < 1000


async def test_one_silent_stream_is_enough() -> None:
    """Of several it is the one that was heard least lately that counts."""
    streams = Streams([PATH, "/api/v1/services"])
    async with serving(Server(), streams) as session:
        age(streams)
        await read(session, PATH)
        await streams.listed.wait()
        assert streams.silence() >= 1000


def test_watches_that_end_at_once_do_not_follow_each_other_at_once() -> None:
    """A proxy that ends every watch is not asked hundreds of times a second."""
    began: list[float] = []

    async def story() -> None:
        loop, session = asyncio.get_running_loop(), cast("aiohttp.ClientSession", None)
        start = Streams([PATH]).trace().on_request_start
        start.freeze()
        for _ in range(4):
            request = aiohttp.TraceRequestStartParams("GET", URL(WATCH), CIMultiDict())
            await start.send(session, SimpleNamespace(), request)
            began.append(loop.time())

    loop = VirtualLoop(0.0)
    loop.run_until_complete(story())
    loop.close()
    assert began == pytest.approx([0.0, 0.2, 0.4, 0.6])
