"""Keeps the cache true to the cluster and the work queue fed: runs the watches, sweeps, and starts either anew.

Run by `__main__` in the main loop. When the watches cannot be brought back it raises, and the process ends: starting
again is safe at any moment, being blind is not.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from modelrollout.cache import ObjectCache, claims, owners
from modelrollout.core.values import JSON
from modelrollout.errors import OperatorError
from modelrollout.handlers import Deliver
from modelrollout.metrics import WATCH_RESTARTS
from modelrollout.ports import Key
from modelrollout.resources import ROLLOUTS, WATCHED, Resource, resource_version
from modelrollout.sweep import Lists, Swept, recheck_strangers, sweep

_log = structlog.get_logger(__name__)


class Watches(Protocol):
    """One run of the event source, see `handlers.WatchThread`."""

    failing: asyncio.Event
    ended: asyncio.Event

    def start(self) -> None:
        """Begin to deliver events."""
        ...

    def stop(self) -> None:
        """Ask it to end."""
        ...


StartWatches = Callable[[tuple[Resource, ...], Deliver], Watches]


class WatchesBroken(Exception):
    """The watches hang, or end again and again: only a new process helps."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the supervisor is, in seconds; tests make it quick."""

    retry: float = 1.0
    restart: float = 0.5
    first_sweep: float = 5.0
    sweep: float = 300.0
    recheck: float = 10.0
    """For kinds that were missing, for strangers, and for events that a sweep was ahead of."""
    exit: float = 10.0
    failures: int = 5
    failures_within: float = 300.0


@dataclass(slots=True)
class Supervisor:
    """Set `synced` tells that every kind was listed once: until then a missing child may just not have been read."""

    lists: Lists
    cache: ObjectCache
    add: Callable[[Key], None]
    watches: StartWatches
    namespaces: tuple[str, ...] = ()
    pace: Pace = field(default_factory=Pace)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    _expected: dict[str, int] = field(default_factory=dict)
    _heard: dict[str, int] = field(default_factory=dict)
    _failures: deque[float] = field(default_factory=deque)

    async def run(self) -> None:
        """Watch for ever. Raises WatchesBroken."""
        while True:
            kinds = await self._list_all()
            self.synced.set()
            planned = await self._watch(kinds)
            if not planned:
                self._count_failure()
            await asyncio.sleep(self.pace.restart)

    async def refresh(self) -> None:
        """List everything once more. What another process wrote last may still be on its way through the watches."""
        await self._list_all()

    def deliver(self, resource: Resource, event: str | None, obj: JSON) -> None:
        """Take one event. An echo of our own write, which the cache has already, wakes nobody."""
        uid, version = obj["metadata"]["uid"], resource_version(obj)
        self._heard[uid] = version
        if version >= self._expected.get(uid, version + 1):
            del self._expected[uid]
        known = self.cache.find(resource.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if self.cache.drop(resource, obj) if event == "DELETED" else self.cache.put(resource, obj):
            self._wake(owners(known) if known is not None else set())
            current = self.cache.find(resource.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            self._wake(owners(current) if current is not None else set())
            # Who claims other matches than before gives way to others, or takes something from them.
            before, now = (claims(resource, item) if item is not None else set() for item in (known, current))
            self._wake(self.cache.claiming(before ^ now))

    async def _list_all(self) -> tuple[Resource, ...]:
        """Sweep until it succeeds and there is our own kind; a cluster that is not ready yet is waited for."""
        told = ""
        while True:
            try:
                swept = await sweep(self.lists, self.cache, self.namespaces)
            except OperatorError as error:
                problem = str(error)
            else:
                self._wake(swept.touched | set(self.cache.rollouts()))
                if ROLLOUTS in swept.kinds:
                    self._report_missing(swept.kinds)
                    return swept.kinds
                problem = f"the cluster has no {ROLLOUTS.plural}.{ROLLOUTS.group}: install its definition"
            if problem != told:
                _log.warning("waiting for the cluster", problem=problem)
                told = problem
            await asyncio.sleep(self.pace.retry)

    async def _watch(self, kinds: tuple[Resource, ...]) -> bool:
        """One run of the watches; True when it was ended on purpose."""
        self._expected.clear()
        watches = self.watches(kinds, self.deliver)
        watches.start()
        _log.info("watching", kinds=[resource.plural for resource in kinds])
        tending = asyncio.create_task(self._tend(kinds))
        failing = asyncio.create_task(watches.failing.wait())
        try:
            await asyncio.wait({tending, failing}, return_when=asyncio.FIRST_COMPLETED)
            planned = tending.done() and tending.result()
        finally:
            tending.cancel()
            failing.cancel()
            watches.stop()
        try:
            async with asyncio.timeout(self.pace.exit):
                await watches.ended.wait()
        except TimeoutError:
            raise WatchesBroken("the watches failed and did not come to an end") from None
        return planned

    async def _tend(self, kinds: tuple[Resource, ...]) -> bool:
        """Sweep now and then. Ends when the watches must start anew: True for new kinds, False for blindness."""
        loop = asyncio.get_running_loop()
        next_sweep = loop.time() + self.pace.first_sweep
        while True:
            await asyncio.sleep(min(self.pace.recheck, max(0.0, next_sweep - loop.time())))
            try:
                self._wake(await recheck_strangers(self.lists, self.cache))
                due = next_sweep <= loop.time()
                if not due and set(kinds) == set(WATCHED):
                    continue
                self._heard.clear()
                swept = await sweep(self.lists, self.cache, self.namespaces)
            except OperatorError as error:
                _log.warning("sweep failed", error=str(error))
                next_sweep = max(next_sweep, loop.time() + self.pace.retry)
                continue
            self._wake(swept.touched)
            if swept.kinds != kinds:
                return True
            if due:
                next_sweep = loop.time() + self.pace.sweep * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
                self._wake(set(self.cache.rollouts()))
                if await self._blind(swept):
                    return False

    async def _blind(self, swept: Swept) -> bool:
        """Whether the watches do not report what a sweep has seen; they get some time for it.

        What they reported while the sweep went on was in time, too.
        """
        self._expected = {uid: new for uid, new in swept.newer.items() if self._heard.get(uid, -1) < new}
        if not self._expected:
            return False
        await asyncio.sleep(self.pace.recheck)
        if self._expected:
            _log.error("watches are behind a listing", objects=len(self._expected))
        return bool(self._expected)

    def _report_missing(self, kinds: tuple[Resource, ...]) -> None:
        for resource in WATCHED:
            if resource not in kinds:
                name = f"{resource.plural}.{resource.group}"
                _log.warning("the cluster has no such kind yet, it is looked for again and again", kind=name)

    def _count_failure(self) -> None:
        now = asyncio.get_running_loop().time()
        self._failures.append(now)
        WATCH_RESTARTS.inc()
        while self._failures[0] < now - self.pace.failures_within:
            self._failures.popleft()
        _log.warning("watches are started anew", failures=len(self._failures))
        if len(self._failures) > self.pace.failures:
            raise WatchesBroken(f"the watches ended {len(self._failures)} times in {self.pace.failures_within:g} s")

    def _wake(self, keys: set[Key]) -> None:
        for key in keys:
            self.add(key)
