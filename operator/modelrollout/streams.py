"""Which of kopf's streams still hear the API server: told by how its requests end, from outside of kopf.

Used by `handlers`; the supervisor asks for `silence`. A watch that hangs looks like one in which nothing happens. So
the API server is asked to end every watch after `WATCH_SECONDS`: one that ended as it should has heard everything until
then, and is the sign of life of its stream. Nothing is written for it, and every stream has one of its own.
"""

import asyncio
from collections.abc import Callable, Iterable
from types import SimpleNamespace

import aiohttp

WATCH_SECONDS = 10
"""How long one watch lasts. The next one goes on where it ended, so that this costs one request."""
_APART = 0.2
"""Seconds between two watches of one stream at least: kopf follows one that ended at once by the next one at once."""


class Streams:
    """The streams over some collections, by their paths. Belongs to the main loop; `trace` is for the loop of kopf."""

    def __init__(self, paths: Iterable[str]) -> None:
        """A stream that has yet to begin counts as heard now."""
        self._loop = asyncio.get_running_loop()
        self._heard = dict.fromkeys(paths, self._loop.time())
        self._next: dict[str, float] = {}
        self.listed = asyncio.Event()
        """Set when a collection was listed, at the start or after a break. No watch tells what went before that."""

    def silence(self) -> float:
        """Seconds since something was heard of the stream that was heard least lately."""
        return self._loop.time() - min(self._heard.values(), default=self._loop.time())

    def trace(self) -> aiohttp.TraceConfig:
        """To be put into the session of the watches."""
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._keep_apart)
        config.on_request_end.append(self._await_end)
        return config

    async def _keep_apart(self, _: object, __: SimpleNamespace, request: aiohttp.TraceRequestStartParams) -> None:
        if "watch" in request.url.query:
            now = asyncio.get_running_loop().time()
            due = max(now, self._next.get(request.url.path, now))
            self._next[request.url.path] = due + _APART
            await asyncio.sleep(due - now)

    async def _await_end(self, _: object, __: SimpleNamespace, request: aiohttp.TraceRequestEndParams) -> None:
        """A cut connection is no end: what was under way in it is lost, and nothing says how much that was."""
        answer, clock = request.response, asyncio.get_running_loop().time
        watched, began = "watch" in request.url.query, clock()
        begun = not watched and "continue" not in request.url.query  # the first page says as of when the others are

        def end() -> None:
            # One that ended before its time without a word has heard nothing at all.
            if not watched or answer.content.total_bytes or clock() - began > WATCH_SECONDS - 1:
                self._tell(self._hear, request.url.path, begun)

        if answer.status == 200:
            answer.content.on_eof(end)

    def _hear(self, path: str, listed: bool) -> None:
        # The address of the API server may have a path, too.
        for known in filter(path.endswith, self._heard):
            self._heard[known] = self._loop.time()
            if listed:
                self.listed.set()

    def _tell(self, listener: Callable[[str, bool], None], path: str, listed: bool) -> None:
        # The main loop is closed when the process ends; nobody listens then.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(listener, path, listed)
