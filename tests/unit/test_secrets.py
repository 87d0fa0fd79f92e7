"""Planted secrets: a rollout's life through the operator's outer layers, after which nobody can read any of them."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import pytest
import structlog
from aiohttp import web
from structlog._config import BoundLoggerLazyProxy

from modelrollout.access import ModelServerAccess, PrometheusAccess, origin
from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.adapters.notifications import Notifier, Patience
from modelrollout.adapters.prometheus import PrometheusMetrics
from modelrollout.alerting import PATH, AlertBoard, alert_receiver
from modelrollout.cache import ObjectCache
from modelrollout.core.topics import Topic
from modelrollout.logs import configure_logging
from modelrollout.metrics import exposition
from modelrollout.probes import Sources
from modelrollout.reconciler import Reconciler
from modelrollout.resources import ROLLOUTS, resource_of
from modelrollout.workqueue import WorkQueue, run_passes
from tests.simulation.clock import moment
from tests.simulation.operator import KEY, SimOperator
from tests.simulation.ports import Pen, SimCapacities, SimCluster
from tests.simulation.repertoire import SCENARIOS
from tests.simulation.scenarios import begin, run_until
from tests.unit.certificates import Authority, Mounted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from modelrollout.core.values import JSON
    from tests.simulation.world import World

PLANTED = "planted"
"""In every secret below, and nowhere else."""
TOKEN, PASSWORD, HOOK, ENV = (f"{PLANTED}-{what}" for what in ("token", "password", "hook", "env"))
SHOWN = ("ConfigMap", "Service", "HTTPRoute", "Pod")
"""What the operator writes beside status, but for what repeats `spec.serving`, as it has to."""


@dataclass
class Ears:
    """What people are told by events, and when something was written; a clock that goes on from the world's."""

    world: World
    told: list[str] = field(default_factory=list)
    wrote: asyncio.Event = field(default_factory=asyncio.Event)
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    def emit(self, _rollout: JSON, reason: str, message: str, _warning: bool) -> None:
        """As ports.Events."""
        self.told.append(f"{reason}: {message}")

    async def until(self, words: str) -> None:
        """Wait until status says so."""
        async with asyncio.timeout(60):
            while words not in json.dumps(self.world.status):
                self.wrote.clear()
                await self.wrote.wait()

    def now(self) -> datetime:
        """As ports.Clock."""
        return moment(self.world.seconds + asyncio.get_running_loop().time() - self.began)


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was before, for the tests that follow."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    # Loggers that were used meanwhile keep what they were made with.
    modules = [module for name, module in sys.modules.items() if name.startswith("modelrollout.")]
    for proxy in (value for module in modules for value in vars(module).values()):
        if isinstance(proxy, BoundLoggerLazyProxy):
            vars(proxy).pop("bind", None)


@pytest.fixture
def climbing() -> World:
    """Version 102 has half of the traffic; a variable of its servers is secret."""
    with begin(SCENARIOS["good"]) as run:
        run.operator.step(4)
    world = run.world
    world.change("serving", env=[{"name": "DATABASE", "value": ENV}])
    world.change("strategy", steps=[{"weight": 50, "duration": "60s"}])
    world.edit(102)
    with SimOperator(world) as operator:
        run_until(operator, lambda world: bool(world.status.get("rollout", {}).get("stepStarted")))
    return world


@asynccontextmanager
async def prometheus_that_repeats() -> AsyncIterator[str]:
    """One that answers every query with an error that says who asked for what; gives its port."""

    async def answer(request: web.Request) -> web.Response:
        sent = request.headers["Authorization"]
        user = aiohttp.BasicAuth.decode(sent) if sent.startswith("Basic") else None
        heard = f"refused {sent}, {user}, {request.url}"
        return web.json_response({"status": "error", "error": heard, "warnings": [heard]}, status=503)

    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()


@asynccontextmanager
async def operating(
    world: World, ears: Ears, sources: Sources, notifier: Notifier, port: int
) -> AsyncIterator[Callable[[], None]]:
    """The operator's queue, passes, probes, notifications and webhook; gives what shows it the object as it is now."""
    cache, queue = ObjectCache(), WorkQueue()
    for (kind, _), obj in world.api.objects.items():
        cache.put(resource_of(kind), obj)
    board = AlertBoard(cache, ears, queue.add)
    cluster = SimCluster(world, cache, Pen(lambda _what, _after: ears.wrote.set()))
    reconciler = Reconciler(cache, cluster, sources, notifier, queue.add, told=board.told)

    def show() -> None:
        cache.put(ROLLOUTS, world.api.rollout)
        queue.add(KEY)

    show()
    hook = notifier.urls.parent / "hook"
    async with alert_receiver(("127.0.0.1", port), hook, board, lambda: True):
        tasks = [asyncio.create_task(run_passes(queue, reconciler.reconcile)), asyncio.create_task(notifier.run())]
        try:
            yield show
        finally:
            reconciler.stop()
            for task in tasks:
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


@pytest.mark.parametrize("by", ["token", "password", "address"])
async def test_nothing_secret_is_told(
    by: str, climbing: World, tmp_path: Path, unused_tcp_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither status, events, metrics, what is written nor the log at its most talkative has any of them.

    Although Prometheus repeats what it is sent, chats cannot be reached, and a key does not parse.
    """
    configure_logging("json", "DEBUG")
    mounted = Mounted(tmp_path)
    mounted.put("hook", HOOK.encode())
    urls = mounted.put("urls", f"json://user:{PASSWORD}@127.0.0.1:1/{HOOK}\n".encode())
    tls = mounted.tls(Authority(), Authority())
    mounted.put("key", f"-----BEGIN PRIVATE KEY-----\n{PLANTED}\n".encode())
    async with prometheus_that_repeats() as port:
        user = f"user:{PASSWORD}@" if by == "address" else ""
        climbing.change("analysis", prometheus={"address": f"http://{user}127.0.0.1:{port}"})
        access = PrometheusAccess(
            frozenset({origin(f"http://127.0.0.1:{port}")}),
            token=mounted.put("token", TOKEN.encode()) if by == "token" else None,
            user=mounted.put("user", b"user") if by == "password" else None,
            password=mounted.put("password", PASSWORD.encode()) if by == "password" else None,
        )
        ears = Ears(climbing)
        metrics, servers = PrometheusMetrics(access), GrpcModelServers(access=ModelServerAccess(tls))
        sources = Sources(servers, metrics, SimCapacities(climbing), ears)
        notifier = Notifier(ears, urls.path, frozenset(Topic), patience=Patience(20.0, ()))
        async with operating(climbing, ears, sources, notifier, unused_tcp_port) as show:
            await ears.until("503: refused ")
            assert await call(unused_tcp_port, f"{HOOK}-not") == 401
            assert await call(unused_tcp_port, HOOK) == 400
            climbing.request(f"abort:{climbing.status['canary']['revision']}.{climbing.status['rollout']['attempt']}:1")
            show()
            await ears.until("RollingBack")
            await notifier.flush()
        metrics.close()
        await servers.close()
    read = capsys.readouterr().err
    written = [obj for (kind, _), obj in climbing.api.objects.items() if kind in SHOWN]
    shown = {"status": climbing.status, "events": ears.told, "log": read, "written": written}
    assert "notification given up" in read
    assert {where for where, found in shown.items() if PLANTED in json.dumps(found)} == set()
    assert PLANTED not in exposition("")[0].decode()
