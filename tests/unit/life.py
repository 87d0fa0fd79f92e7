"""A rollout under way in the simulated cluster, looked after by the operator's outer layers in real time.

Queue, passes, probes and the webhook are the operator's; adapters are what a test gives. For tests of what leaves it.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from modelrollout import tracing
from modelrollout.adapters.otlp import OtlpTracer
from modelrollout.alerting import AlertBoard
from modelrollout.cache import ObjectCache
from modelrollout.reconciler import Reconciler
from modelrollout.resources import ROLLOUTS, resource_of
from modelrollout.webserver import served
from modelrollout.workqueue import WorkQueue, run_passes
from tests.simulation.clock import moment
from tests.simulation.operator import KEY, SimOperator
from tests.simulation.ports import Pen, SimCluster
from tests.simulation.repertoire import SCENARIOS
from tests.simulation.scenarios import begin, run_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from modelrollout.core.values import JSON
    from modelrollout.ports import Events
    from modelrollout.probes import Sources
    from tests.simulation.world import World


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


def climbing(**serving: object) -> World:
    """Version 102 has half of the traffic; its servers have these fields."""
    with begin(SCENARIOS["good"]) as run:
        run.operator.step(4)
    world = run.world
    world.change("serving", **serving)
    world.change("strategy", steps=[{"weight": 50, "duration": "60s"}])
    world.edit(102)
    with SimOperator(world) as operator:
        run_until(operator, lambda world: bool(world.status.get("rollout", {}).get("stepStarted")))
    return world


@dataclass(frozen=True)
class Life:
    """The operator at work."""

    world: World
    cache: ObjectCache
    queue: WorkQueue
    board: AlertBoard

    def show(self) -> None:
        """Let it see the object as it is now."""
        self.cache.put(ROLLOUTS, self.world.api.rollout)
        self.queue.add(KEY)

    def abort(self) -> None:
        """Somebody asks for it."""
        status = self.world.status
        self.world.request(f"abort:{status['canary']['revision']}.{status['rollout']['attempt']}:1")
        self.show()


@asynccontextmanager
async def operating(world: World, ears: Ears, sources: Sources, events: Events) -> AsyncIterator[Life]:
    """Look after the object while inside."""
    cache, queue = ObjectCache(), WorkQueue()
    for (kind, _), obj in world.api.objects.items():
        cache.put(resource_of(kind), obj)
    life = Life(world, cache, queue, AlertBoard(cache, ears, queue.add))
    cluster = SimCluster(world, cache, Pen(lambda _what, _after: ears.wrote.set()))
    reconciler = Reconciler(cache, cluster, sources, events, queue.add, told=life.board.told)
    life.show()
    task = asyncio.create_task(run_passes(queue, reconciler.reconcile))
    try:
        yield life
    finally:
        reconciler.stop()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@dataclass
class Collector:
    """What a collector of traces received."""

    spans: list[Span] = field(default_factory=list)
    service: str = ""

    async def take(self, request: web.Request) -> web.Response:
        """As OTLP over HTTP has it."""
        for part in ExportTraceServiceRequest.FromString(await request.read()).resource_spans:
            self.service = next(
                each.value.string_value for each in part.resource.attributes if each.key == "service.name"
            )
            self.spans += [span for scope in part.scope_spans for span in scope.spans]
        return web.Response(body=ExportTraceServiceResponse().SerializeToString())

    def named(self, name: str) -> list[Span]:
        """The spans of that name."""
        return [span for span in self.spans if span.name == name]


@asynccontextmanager
async def traced(port: int) -> AsyncIterator[Collector]:
    """Trace what is inside; the collector has all of it afterwards."""
    app, collector = web.Application(), Collector()
    app.router.add_post("/v1/traces", collector.take)
    async with served(app, ("127.0.0.1", port)):
        tracer = OtlpTracer(f"http://127.0.0.1:{port}")
        tracing.install(tracer)
        try:
            yield collector
        finally:
            tracing.install(None)
            await asyncio.to_thread(tracer.close)
