"""The operator's own queue, reconciler, probes and cache over the simulated world, in virtual time.

One process at a time. Only kopf and the adapters are left out: `ports` stands in their place.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from structlog.testing import capture_logs

from modelrollout.cache import ObjectCache
from modelrollout.errors import OperatorError
from modelrollout.ports import Key
from modelrollout.probes import Sources
from modelrollout.reconciler import Reconciler
from modelrollout.resources import resource_of
from modelrollout.workqueue import WorkQueue, run_passes
from tests.simulation.api import NAME
from tests.simulation.clock import VirtualLoop
from tests.simulation.ports import Pen, SimCapacities, SimClock, SimCluster, SimEvents, SimServers
from tests.simulation.rules import TICK, BrokenRuleError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from tests.simulation.world import World

    Meddle = Callable[["SimOperator", str, bool], None]
    """Called before and after (True) every write, with what is written; may raise what the API server would."""

KEY = Key("default", NAME)


class Process:
    """One process: it lists everything when it starts, and knows nothing else of what was before."""

    def __init__(self, world: World, pen: Pen) -> None:
        """Start; the loop has to run already."""
        self.world, self.pen = world, pen
        self.cache, self.queue = ObjectCache(), WorkQueue(jitter=lambda: 0.5)
        self.cursor = len(world.api.events)
        self.passes = 0
        self.events = SimEvents()
        self.defect: Exception | None = None
        for (kind, _), obj in world.api.objects.items():
            self.cache.put(resource_of(kind), obj)
        self._reconciler = Reconciler(
            view=self.cache,
            cluster=SimCluster(world, self.cache, pen),
            sources=Sources(SimServers(world, pen), world, SimCapacities(world), SimClock()),
            events=self.events,
            wake=self.queue.add,
        )
        self._worker = asyncio.create_task(run_passes(self.queue, self._reconcile, count=1))
        self.queue.add(KEY)

    async def _reconcile(self, key: Key) -> timedelta | None:
        self.passes += 1
        try:
            return await self._reconciler.reconcile(key)
        except OperatorError:
            raise
        except Exception as error:
            # The queue would only log it and try again.
            self.defect = error
            raise

    def watch(self) -> None:
        """Take in the events that are `lag` old by now."""
        events = self.world.api.events
        while self.cursor < len(events) and events[self.cursor].at <= self.world.seconds - self.world.lag:
            event = events[self.cursor]
            self.cursor += 1
            if event.gone:
                news = self.cache.drop(event.resource, event.obj, for_good=True)
            else:
                news = self.cache.put(event.resource, event.obj)
            if news:
                self.queue.add(KEY)

    async def end(self) -> None:
        """Leave nothing running."""
        self._worker.cancel()
        self._reconciler.forget(KEY)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)


@dataclass
class SimOperator:
    """Processes over a world, one after the other; a context, since tasks are to be ended.

    `writes` says what was written, in order.
    """

    world: World
    meddle: Meddle | None = None
    writes: list[str] = field(default_factory=list)
    process: Process | None = None
    loop: VirtualLoop | None = None
    quiet: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Self:
        # Writing logs would take longer than everything else.
        self.quiet.enter_context(capture_logs())
        self.loop = VirtualLoop(self.world.seconds)
        return self

    def __exit__(self, *_: object) -> None:
        assert self.loop is not None
        if self.process is not None:
            self.loop.run_until_complete(self.process.end())
            self.process = None
        self.loop.close()
        self.quiet.close()

    def step(self, seconds: float = 1.0) -> None:
        """Let time pass. Raises BrokenRuleError, and whatever the operator itself stumbled over."""
        assert self.loop is not None
        self.loop.run_until_complete(self._play(round(seconds / TICK)))

    def wake(self) -> None:
        """Have a pass run."""
        assert self.process is not None
        self.process.queue.add(KEY)

    def kill(self) -> None:
        """The process ends here, whatever it was about to do."""
        assert self.process is not None
        self.process.pen.lifted = True

    async def _play(self, ticks: int) -> None:
        for _ in range(ticks):
            if self.process is None:
                self.process = Process(self.world, Pen(self._meddle))
            self.world.tick()
            self.process.watch()
            await asyncio.sleep(TICK)
            if self.world.rules.broken:
                raise BrokenRuleError(self.world.rules.broken[0])
            if self.process.defect is not None:
                raise self.process.defect
            if self.process.pen.lifted:
                await self.process.end()
                self.process = None

    def _meddle(self, what: str, after: bool) -> None:
        if after:
            self.writes.append(what)
        if self.meddle:
            self.meddle(self, what, after)
