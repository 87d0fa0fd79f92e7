"""Keeps the cache true to the cluster and the work queue fed: runs the watches, sweeps, and starts either anew.

Run by `process` in the main loop. Whatever becomes of the watches, listings stand in for them within seconds. When the
watches hang it raises, and the process ends: starting again is safe at any moment, being blind is not.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from contextlib import suppress
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
from modelrollout.streams import WATCH_SECONDS, Streams
from modelrollout.sweep import Lists, Swept, recheck_strangers, sweep

_ATTEMPTS = 3
"""How often watches that do not end are ended by force before the process ends."""

_log = structlog.get_logger(__name__)


class Watches(Protocol):
    """One run of the event source, see `handlers.WatchThread`."""

    failing: asyncio.Event
    ended: asyncio.Event
    streams: Streams

    def start(self) -> None:
        """Begin to deliver events."""
        ...

    def stop(self) -> None:
        """Ask it to end."""
        ...

    def abandon(self) -> None:
        """End it by force; has to be repeated while it does not end."""
        ...


StartWatches = Callable[[tuple[Resource, ...], Deliver], Watches]


class WatchesBroken(Exception):
    """The watches hang: only a new process helps."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the supervisor is, in seconds; tests make it quick."""

    tick: float = 1.0
    retry: float = 1.0
    restart: float = 0.5
    restart_at_most: float = 4.0
    """Watches that end again and again are started ever more slowly; each start lists everything."""
    first_sweep: float = 5.0
    after_listing: float = 2.0
    sweep: float = 300.0
    recheck: float = 10.0
    """For kinds that were missing, for strangers, and for events that a sweep was ahead of."""
    silence: float = WATCH_SECONDS + 3.0
    """A stream that was not heard for so long may be deaf: from then on a sweep each `poll` stands in for it."""
    poll: float = 10.0
    polls: int = 3
    """After so many the watches are started anew."""
    exit: float = 6.0
    """kopf gives its own tasks 5."""
    force: float = 1.0
    failures_within: float = 300.0


@dataclass(slots=True)
class _Agenda:
    """What is due when while the watches run, as moments of the loop's clock."""

    sweep: float
    resync: float
    recheck: float
    polls: int = 0


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
    _expected: dict[str, tuple[int, float]] = field(default_factory=dict)
    """What a sweep has seen and the watches have yet to report: resourceVersion by uid, and until when."""
    _heard: dict[str, int] = field(default_factory=dict)
    _failures: deque[float] = field(default_factory=deque)
    _running: Watches | None = None
    _swept: float | None = None
    _told: str = ""

    async def run(self) -> None:
        """Watch for ever. Raises WatchesBroken."""
        while True:
            kinds = await self._list_all()
            self.synced.set()
            planned = await self._watch(kinds)
            await asyncio.sleep(self.pace.restart if planned else self._count_failure())

    def blind(self) -> float:
        """Seconds for which something may have happened in the cluster that nobody here knows of."""
        now = asyncio.get_running_loop().time()
        unswept = now - self._swept if self._swept is not None else 0.0
        return unswept if self._running is None else min(unswept, self._running.streams.silence())

    async def refresh(self) -> None:
        """List everything once more. What another process wrote last may still be on its way through the watches."""
        await self._list_all()

    def deliver(self, resource: Resource, event: str | None, obj: JSON) -> None:
        """Take one event. An echo of our own write, which the cache has already, wakes nobody."""
        uid, version = obj["metadata"]["uid"], resource_version(obj)
        self._heard[uid] = version
        if uid in self._expected and version >= self._expected[uid][0]:
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
        while True:
            try:
                swept = await self._sweep()
            except OperatorError as error:
                self._complain("waiting for the cluster", str(error))
            else:
                self._wake(swept.touched | set(self.cache.rollouts()))
                if ROLLOUTS in swept.kinds:
                    self._report_missing(swept.kinds)
                    return swept.kinds
                missing = f"the cluster has no {ROLLOUTS.plural}.{ROLLOUTS.group}: install its definition"
                self._complain("waiting for the cluster", missing)
            await asyncio.sleep(self.pace.retry)

    async def _sweep(self) -> Swept:
        """Raises ClusterUnavailable and Refused."""
        self._heard.clear()
        began = asyncio.get_running_loop().time()
        swept = await sweep(self.lists, self.cache, self.namespaces)
        self._swept, self._told = began, ""
        return swept

    async def _watch(self, kinds: tuple[Resource, ...]) -> bool:
        """One run of the watches; True when it was ended on purpose."""
        self._expected.clear()
        self._running = watches = self.watches(kinds, self.deliver)
        watches.start()
        _log.info("watching", kinds=[resource.plural for resource in kinds])
        tending = asyncio.create_task(self._tend(kinds, watches.streams))
        failing = asyncio.create_task(watches.failing.wait())
        try:
            await asyncio.wait({tending, failing}, return_when=asyncio.FIRST_COMPLETED)
            planned = tending.done() and tending.result()
        finally:
            tending.cancel()
            failing.cancel()
            watches.stop()
            self._running = None
        await self._end(watches)
        return planned

    async def _end(self, watches: Watches) -> None:
        """Wait for the end of watches that were asked to end, in the end with force. Raises WatchesBroken."""
        for patience in (self.pace.exit, *[self.pace.force] * _ATTEMPTS):
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await watches.ended.wait()
                return
            _log.error("the watches do not end", after_seconds=patience)
            watches.abandon()
        raise WatchesBroken("the watches failed and did not come to an end")

    async def _tend(self, kinds: tuple[Resource, ...], streams: Streams) -> bool:
        """Sweep now and then. Ends when the watches must start anew: True for new kinds, False for deafness."""
        loop, pace = asyncio.get_running_loop(), self.pace
        now = loop.time()
        agenda = _Agenda(now + pace.first_sweep, now + pace.first_sweep, now + pace.recheck)
        while not self._deaf(agenda):
            await asyncio.sleep(pace.tick)
            self._plan(agenda, streams)
            try:
                if agenda.recheck <= loop.time():
                    agenda.recheck = loop.time() + pace.recheck
                    self._wake(await recheck_strangers(self.lists, self.cache))
                    if set(kinds) != set(WATCHED):
                        agenda.sweep = 0.0
                if agenda.sweep > loop.time():
                    continue
                swept = await self._sweep()
            except OperatorError as error:
                self._complain("sweep failed", str(error))
                agenda.sweep = loop.time() + pace.retry
                continue
            if swept.kinds != kinds:
                self._wake(swept.touched)
                return True
            self._take(swept, agenda, streams)
        return False

    def _plan(self, agenda: _Agenda, streams: Streams) -> None:
        """Bring the next sweep forward when the watches alone are not to be trusted."""
        now = asyncio.get_running_loop().time()
        if streams.listed.is_set():
            # What went between the end of one watch and a listing is in neither.
            streams.listed.clear()
            agenda.sweep = min(agenda.sweep, now + self.pace.after_listing)
        if streams.silence() <= self.pace.silence:
            agenda.polls = 0
        elif not agenda.polls:
            agenda.sweep = min(agenda.sweep, now)

    def _take(self, swept: Swept, agenda: _Agenda, streams: Streams) -> None:
        """Act on a sweep, and plan the next one. What the watches reported while it went on was in time, too."""
        now = asyncio.get_running_loop().time()
        self._wake(swept.touched)
        if agenda.resync <= now:
            agenda.resync = now + self.pace.sweep * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
            self._wake(set(self.cache.rollouts()))
        for uid, new in swept.newer.items():
            if self._heard.get(uid, -1) < new:
                self._expected[uid] = new, now + self.pace.recheck
        silent = streams.silence() > self.pace.silence
        agenda.polls = agenda.polls + 1 if silent else 0
        agenda.sweep = min(agenda.resync, now + self.pace.poll) if silent else agenda.resync

    def _deaf(self, agenda: _Agenda) -> bool:
        """Whether the watches do not report what sweeps have seen, or stay silent while sweeps are answered."""
        now = asyncio.get_running_loop().time()
        late = [uid for uid, (_, until) in self._expected.items() if until < now]
        if late or agenda.polls >= self.pace.polls:
            _log.error("the watches are deaf", behind=len(late), polls=agenda.polls)
        return bool(late) or agenda.polls >= self.pace.polls

    def _report_missing(self, kinds: tuple[Resource, ...]) -> None:
        for resource in WATCHED:
            if resource not in kinds:
                name = f"{resource.plural}.{resource.group}"
                _log.warning("the cluster has no such kind yet, it is looked for again and again", kind=name)

    def _count_failure(self) -> float:
        """Seconds to wait before the next start."""
        now = asyncio.get_running_loop().time()
        self._failures.append(now)
        WATCH_RESTARTS.inc()
        while self._failures[0] < now - self.pace.failures_within:
            self._failures.popleft()
        _log.warning("watches are started anew", failures=len(self._failures))
        return min(self.pace.restart * 2.0 ** (len(self._failures) - 1), self.pace.restart_at_most)

    def _complain(self, event: str, problem: str) -> None:
        """Once for as long as it is the same."""
        if problem != self._told:
            _log.warning(event, error=problem)
        self._told = problem

    def _wake(self, keys: set[Key]) -> None:
        for key in keys:
            self.add(key)
