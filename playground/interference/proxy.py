"""The forwarding itself: an aiohttp application over a client session. Made by `__main__`; watches stream through."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

import aiohttp
from aiohttp import web
from yarl import URL

from playground.interference.journal import Entry, Journal
from playground.interference.rules import WATCHES, Request, Rule, RuleBook

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LOOK_SECONDS = 0.05
"""How often a stream under way looks whether it is to be cut."""
_HOP_BY_HOP = {"connection", "host", "keep-alive", "transfer-encoding", "content-length", "te", "upgrade"}
_PASS = Rule()


@dataclass(frozen=True, slots=True)
class _Lane:
    rules: RuleBook
    journal: Journal
    pid: Path


@dataclass(frozen=True, slots=True)
class _Case:
    """One request on its way, and the rule that decides about it."""

    web: web.Request
    lane: _Lane
    upstream: str
    seen: Request
    rule: Rule
    came: float
    body: bytes

    def note(self, status: int, did: str = "") -> None:
        self.lane.journal.add(Entry(self.came, self.upstream, self.seen.method, self.seen.target, status, did))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Proxy:
    """Forwards for all lanes. `folder` has the lanes' files, `upstreams` names addresses by upstream."""

    def __init__(self, upstreams: Mapping[str, str], folder: Path, session: aiohttp.ClientSession) -> None:
        """The session must not decompress, follow redirects or give up."""
        self._upstreams = upstreams
        self._folder = folder
        self._session = session
        self._lanes: dict[str, _Lane] = {}

    def application(self) -> web.Application:
        """To be served."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{upstream}/{lane}{path:/.*}", self._handle)
        return app

    def close(self) -> None:
        """Close the journals."""
        for lane in self._lanes.values():
            lane.journal.close()

    def _lane(self, name: str) -> _Lane:
        if name not in self._lanes:
            files = [self._folder / f"{name}.{kind}" for kind in ("rules", "journal", "pid")]
            self._lanes[name] = _Lane(RuleBook(files[0]), Journal(files[1]), files[2])
        return self._lanes[name]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        came, lane, body = time.time(), self._lane(request.match_info["lane"]), await request.read()
        query = f"?{request.query_string}" if request.query_string else ""
        seen = Request(request.method, request.match_info["path"] + query, body.decode(errors="replace"))
        rule = lane.rules.take(seen) or _PASS
        case = _Case(request, lane, request.match_info["upstream"], seen, rule, came, body)
        await asyncio.sleep(rule.delay)
        try:
            if re.search(WATCHES, seen.target) and rule.passes:
                return await self._stream(case)
            return await self._answer(case)
        except aiohttp.ClientError:
            return _cut(case, "upstream away")

    async def _answer(self, case: _Case) -> web.StreamResponse:
        rule = case.rule
        answer = await self._fetch(case) if rule.passes else None
        if rule.kill:
            os.kill(int(case.lane.pid.read_text()), signal.SIGKILL)
            return _cut(case, "killed")
        if rule.drop:
            return _cut(case, "dropped")
        if rule.answers:
            return _canned(case)
        assert answer is not None  # a rule that keeps a request from its upstream answers it in another way
        case.note(answer.status)
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    def _open(self, case: _Case) -> aiohttp.client._BaseRequestContextManager[aiohttp.ClientResponse]:
        asked = case.web.rel_url
        query = asked.raw_query_string
        if case.rule.as_of is not None:
            query = _earlier(query, case.rule.as_of)
        if case.rule.at_version:
            query += f"&resourceVersion={case.rule.at_version}&resourceVersionMatch=Exact"
        path = asked.raw_path.split("/", 3)[3]
        url = f"{self._upstreams[case.upstream]}/{path}" + (f"?{query}" if query else "")
        headers = {name: value for name, value in case.web.headers.items() if name.lower() not in _HOP_BY_HOP}
        return self._session.request(case.web.method, URL(url, encoded=True), data=case.body or None, headers=headers)

    async def _fetch(self, case: _Case) -> _Answer:
        async with self._open(case) as response:
            return _Answer(response.status, _end_to_end(response), await response.read())

    async def _stream(self, case: _Case) -> web.StreamResponse:
        async with self._open(case) as response:
            out = web.StreamResponse(status=response.status, headers=_end_to_end(response))
            await out.prepare(case.web)
            case.note(response.status)
            pump = asyncio.create_task(_pump(case, response, out))
            try:
                await _disturb(case, pump, out)
            finally:
                pump.cancel()
        with contextlib.suppress(aiohttp.ClientError, ConnectionError, asyncio.CancelledError):
            await pump  # either side may have ended the stream
        return out


async def _disturb(case: _Case, pump: asyncio.Task[None], out: web.StreamResponse) -> None:
    """Do to a stream under way what the rules say, until it is over."""
    said = None
    while not pump.done():
        rule = _standing(case)
        if rule.drop:
            _abort(case)
            return
        if rule.say and rule is not said:
            said = rule
            await out.write(rule.say.encode())
        if rule.end:
            return
        await asyncio.wait({pump}, timeout=_LOOK_SECONDS)


async def _pump(case: _Case, response: aiohttp.ClientResponse, out: web.StreamResponse) -> None:
    """Hand on what the upstream says, in order, each part as late as the rules are when it comes."""
    parts: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    reading = asyncio.create_task(_read(case, response, parts))
    try:
        while True:
            due, part = await parts.get()
            await asyncio.sleep(due - time.monotonic())
            if not part:
                await out.write_eof()
                return
            await out.write(part)
    finally:
        reading.cancel()


async def _read(case: _Case, response: aiohttp.ClientResponse, parts: asyncio.Queue[tuple[float, bytes]]) -> None:
    """What was lost is never made up for: after it nothing gets through, not even the end."""
    lost = False
    try:
        async for part in response.content.iter_any():
            lost = lost or _standing(case).hush
            if not lost:
                parts.put_nowait((_due(case), part))
    finally:
        if not lost and not _standing(case).hush:
            parts.put_nowait((_due(case), b""))


def _due(case: _Case) -> float:
    return time.monotonic() + _standing(case).late


def _standing(case: _Case) -> Rule:
    return case.lane.rules.standing(case.seen) or _PASS


def _cut(case: _Case, did: str) -> web.Response:
    case.note(0, did)
    _abort(case)
    return web.Response()  # reaches nobody


def _abort(case: _Case) -> None:
    if case.web.transport is not None:
        case.web.transport.abort()


def _canned(case: _Case) -> web.Response:
    rule, status = case.rule, case.rule.status or 200
    case.note(status, "answered")
    failure = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "message": "interfered with"}
    headers = {} if rule.retry_after is None else {"Retry-After": str(rule.retry_after)}
    if rule.text is not None:
        return web.Response(text=rule.text, status=status, headers=headers, content_type="application/json")
    return web.json_response(failure if rule.answer is None else rule.answer, status=status, headers=headers)


def _end_to_end(response: aiohttp.ClientResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.lower() not in _HOP_BY_HOP}


def _earlier(query: str, moment: float) -> str:
    """The query string of an instant query with its time moved back to the moment, unless it is earlier already."""
    given = dict(parse_qsl(query))
    return urlencode({**given, "time": f"{min(float(given.get('time', moment)), moment):.3f}"})
