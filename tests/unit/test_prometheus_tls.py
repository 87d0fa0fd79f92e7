"""TLS and credentials between the operator and Prometheus, against a real HTTPS server."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from modelrollout.access import PrometheusAccess, Tls, origin
from modelrollout.adapters.prometheus import PrometheusMetrics
from modelrollout.errors import MetricsUnavailable
from modelrollout.ports import MetricSource
from tests.unit.certificates import Authority, Mounted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from modelrollout.access import SecretFile

AT = datetime(2026, 1, 2, tzinfo=UTC)
OURS, THEIRS, STRANGER = Authority(), Authority(), Authority()


@dataclass
class Server:
    """What it answers at, the headers it got, and where it sends people away to."""

    address: str = ""
    heard: list[str] = field(default_factory=list)
    elsewhere: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        """An empty result, or a redirect."""
        self.heard.append(request.headers.get("Authorization", ""))
        if self.elsewhere:
            raise web.HTTPFound(f"{self.elsewhere}/api/v1/query?query=up")
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})


@asynccontextmanager
async def serving(
    folder: Path, authority: Authority | None = THEIRS, clients: Authority | None = None
) -> AsyncIterator[Server]:
    """A Prometheus with a certificate of that authority, which asks for one of `clients`; without authority, plain."""
    server, app = Server(), web.Application()
    app.router.add_get("/api/v1/query", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_context(folder, authority, clients))
    await site.start()
    server.address = f"{'https' if authority else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


def _context(folder: Path, authority: Authority | None, clients: Authority | None) -> ssl.SSLContext | None:
    if authority is None:
        return None
    files = Mounted(folder)
    chain, key = (
        files.put(name, content)
        for name, content in zip(("server", "server-key"), authority.issue("127.0.0.1"), strict=True)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(chain.path, key.path)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.certificate.decode())
    return context


async def ask(server: Server, metrics: PrometheusMetrics) -> None:
    """One query."""
    assert await metrics.query(MetricSource(server.address, timedelta(seconds=60)), "up", AT) == ()


@asynccontextmanager
async def access_to(
    server: Server, tls: Tls | None = None, token: SecretFile | None = None, **user: SecretFile
) -> AsyncIterator[PrometheusMetrics]:
    """The adapter with this access to that server."""
    metrics = PrometheusMetrics(
        PrometheusAccess(
            frozenset({origin(server.address)}), tls or Tls(), token, user.get("user"), user.get("password")
        )
    )
    try:
        yield metrics
    finally:
        await metrics.close()


async def test_only_a_server_of_the_authority_is_asked(tmp_path: Path) -> None:
    """The error says what TLS did not like."""
    mounted = Mounted(tmp_path)
    async with serving(tmp_path) as server:
        async with access_to(server, mounted.tls(THEIRS)) as metrics:
            await ask(server, metrics)
        async with access_to(server, mounted.tls(STRANGER)) as metrics:
            with pytest.raises(MetricsUnavailable, match=r"127\.0\.0\.1:\d+: TLS: .*certificate"):
                await ask(server, metrics)
    assert server.heard == [""]


async def test_it_may_ask_who_we_are(tmp_path: Path) -> None:
    """With our certificate it answers, without it does not."""
    mounted = Mounted(tmp_path)
    async with serving(tmp_path, clients=OURS) as server:
        async with access_to(server, mounted.tls(THEIRS, OURS)) as metrics:
            await ask(server, metrics)
        async with access_to(server, mounted.tls(THEIRS)) as metrics:
            with pytest.raises(MetricsUnavailable, match="closed the connection"):
                await ask(server, metrics)


async def test_a_token_that_is_replaced_is_sent_at_once(tmp_path: Path) -> None:
    """The next query has the new one."""
    mounted = Mounted(tmp_path)
    token = mounted.put("token", b"one\n")
    async with serving(tmp_path) as server, access_to(server, mounted.tls(THEIRS), token) as metrics:
        await ask(server, metrics)
        mounted.put("token", b"two\n")
        await ask(server, metrics)
    assert server.heard == ["Bearer one", "Bearer two"]


async def test_certificates_that_are_replaced_are_used_at_once(tmp_path: Path) -> None:
    """An open connection is not kept when the files are others."""
    mounted = Mounted(tmp_path)
    async with serving(tmp_path, clients=OURS) as server, access_to(server, mounted.tls(THEIRS, OURS)) as metrics:
        await ask(server, metrics)
        mounted.tls(THEIRS, STRANGER)
        with pytest.raises(MetricsUnavailable, match="closed the connection"):
            await ask(server, metrics)
        mounted.tls(THEIRS, OURS)
        await ask(server, metrics)


async def test_a_name_and_a_password_are_sent(tmp_path: Path) -> None:
    """As basic authentication has them."""
    mounted = Mounted(tmp_path)
    files = {"user": mounted.put("user", b"me"), "password": mounted.put("password", b"pass")}
    async with serving(tmp_path) as server, access_to(server, mounted.tls(THEIRS), **files) as metrics:
        await ask(server, metrics)
    assert server.heard == ["Basic bWU6cGFzcw=="]


async def test_nobody_else_gets_the_token(tmp_path: Path) -> None:
    """Not another address that a ModelRollout names, nor one that the right server sends us on to."""
    token = Mounted(tmp_path).put("token", b"one")
    async with (
        serving(tmp_path, None) as server,
        serving(tmp_path, None) as other,
        access_to(server, token=token) as metrics,
    ):
        await ask(other, metrics)
        server.elsewhere = other.address
        await ask(server, metrics)
    assert (server.heard, other.heard) == (["Bearer one"], ["", ""])


async def test_nobody_else_is_shown_our_certificate(tmp_path: Path) -> None:
    """Who sends us on where we would show it is told as an error."""
    mounted = Mounted(tmp_path)
    async with (
        serving(tmp_path, clients=OURS) as server,
        serving(tmp_path, clients=OURS) as other,
        access_to(server, mounted.tls(THEIRS, OURS)) as metrics,
    ):
        server.elsewhere = other.address
        with pytest.raises(MetricsUnavailable, match="answered 302"):
            await ask(server, metrics)
    assert (len(server.heard), other.heard) == (1, [])


async def test_a_file_that_is_missing_is_told_by_flag_and_path(tmp_path: Path) -> None:
    """The verdict is Error, in these words."""
    token = Mounted(tmp_path).file("token")
    async with serving(tmp_path, None) as server, access_to(server, token=token) as metrics:
        with pytest.raises(MetricsUnavailable, match=r"--token-file .*/token: No such file"):
            await ask(server, metrics)
    assert server.heard == []
