"""Planted secrets: a rollout's life through the operator's outer layers, after which nobody can read any of them."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from modelrollout.access import ModelServerAccess, PrometheusAccess, origin
from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.adapters.notifications import Notifier, Patience
from modelrollout.adapters.prometheus import PrometheusMetrics
from modelrollout.alerting import PATH, alert_receiver
from modelrollout.core.topics import Topic
from modelrollout.logs import configure_logging
from modelrollout.metrics import REGISTRY, Page, exposition
from modelrollout.probes import Sources
from modelrollout.webserver import served
from tests.simulation.ports import SimCapacities
from tests.unit.certificates import Authority, Mounted
from tests.unit.life import Ears, climbing, operating, traced

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.simulation.world import World

PLANTED = "planted"
"""In every secret below, and nowhere else."""
TOKEN, PASSWORD, HOOK, ENV = (f"{PLANTED}-{what}" for what in ("token", "password", "hook", "env"))
SHOWN = ("ConfigMap", "Service", "HTTPRoute", "Pod")
"""What the operator writes beside status, but for what repeats `spec.serving`, as it has to."""


@pytest.fixture
def world() -> World:
    """A canary with half of the traffic; a variable of its servers is secret."""
    return climbing(env=[{"name": "DATABASE", "value": ENV}])


async def repeat(request: web.Request) -> web.Response:
    """A Prometheus that answers every query with an error that says who asked for what."""
    sent = request.headers["Authorization"]
    user = aiohttp.BasicAuth.decode(sent) if sent.startswith("Basic") else None
    heard = f"refused {sent}, {user}, {request.url}"
    return web.json_response({"status": "error", "error": heard, "warnings": [heard]}, status=503)


@asynccontextmanager
async def notifying(ears: Ears, urls: Path) -> AsyncIterator[Notifier]:
    """Notifications at work, which are tried once."""
    notifier = Notifier(ears, urls, frozenset(Topic), patience=Patience(20.0, ()))
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
        await notifier.flush()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def call(port: int, token: str) -> int:
    """Something that Alertmanager would not say."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}{PATH}", json={"version": "9"}, headers=headers) as answer,
    ):
        return answer.status


def access_by(what: str, mounted: Mounted, address: str) -> PrometheusAccess:
    """What the operator proves itself by: a token, a password, or nothing of its own."""
    origins = frozenset({origin(address)})
    if what == "token":
        return PrometheusAccess(origins, token=mounted.put("token", TOKEN.encode()))
    if what == "password":
        user, password = mounted.put("user", b"user"), mounted.put("password", PASSWORD.encode())
        return PrometheusAccess(origins, user=user, password=password)
    return PrometheusAccess(origins)


@pytest.mark.usefixtures("restored_logging")
@pytest.mark.parametrize("by", ["token", "password", "address"])
async def test_nothing_secret_is_told(
    by: str,
    tmp_path: Path,
    unused_tcp_port_factory: Callable[[], int],
    capsys: pytest.CaptureFixture[str],
    world: World,
) -> None:
    """Neither status, events, metrics, traces, what is written nor the log at its most talkative has any of them.

    Although Prometheus repeats what it is sent, chats cannot be reached, and a key does not parse.
    """
    configure_logging("json", "DEBUG")
    mounted, ears, app = Mounted(tmp_path), Ears(world), web.Application()
    hook = mounted.put("hook", HOOK.encode())
    urls = mounted.put("urls", f"json://user:{PASSWORD}@127.0.0.1:1/{HOOK}\n".encode())
    tls = mounted.tls(Authority(), Authority())
    mounted.put("key", f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n".encode())
    app.router.add_get("/api/v1/query", repeat)
    asked, called, collected = (unused_tcp_port_factory() for _ in range(3))
    user = f"user:{PASSWORD}@" if by == "address" else ""
    world.change("analysis", prometheus={"address": f"http://{user}127.0.0.1:{asked}"})
    metrics = PrometheusMetrics(access_by(by, mounted, f"http://127.0.0.1:{asked}"))
    servers = GrpcModelServers(access=ModelServerAccess(tls))
    sources = Sources(servers, metrics, SimCapacities(world), ears)
    async with (
        traced(collected) as collector,
        served(app, ("127.0.0.1", asked)),
        notifying(ears, urls.path) as notifier,
        operating(world, ears, sources, notifier) as life,
        alert_receiver(("127.0.0.1", called), hook.path, life.board, lambda: True),
    ):
        await ears.until("503: refused ")
        assert await call(called, f"{HOOK}-not") == 401
        assert await call(called, HOOK) == 400
        life.abort()
        await ears.until("RollingBack")
        await metrics.close()
        await servers.close()
    log = capsys.readouterr().err
    written = [obj for (kind, _), obj in world.api.objects.items() if kind in SHOWN]
    told = {"status": world.status, "events": ears.told, "log": log, "written": written, "spans": str(collector.spans)}
    assert "notification given up" in log
    assert "refused" in told["spans"]
    assert {where for where, words in told.items() if PLANTED in json.dumps(words)} == set()
    assert PLANTED not in exposition("", Page(tuple(REGISTRY.collect()), (world.api.rollout,)))[0].decode()
