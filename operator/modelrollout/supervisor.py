"""Keeps the cache true to the cluster and the work queue fed: runs the watches, sweeps, and starts either anew.

Run by `process` in the main loop. Whatever becomes of the watches, listings stand in for them within seconds. When the
watches hang it raises, and the process ends: starting again is safe at any moment, being blind is not.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from modelrollout.cache import ObjectCache
from modelrollout.core.values import JSON
from modelrollout.errors import OperatorError
from modelrollout.handlers import Deliver
from modelrollout.metrics import WATCH_RESTARTS
from modelrollout.pace import Agenda, Pace
from modelrollout.ports import Key, Wake
from modelrollout.resources import ROLLOUTS, WATCHED, Resource, resource_version
from modelrollout.shard import Shard
from modelrollout.streams import Streams
from modelrollout.sweep import Lists, Swept, concerns, recheck_strangers, sweep

_ATTEMPTS = 3
"""How often watches that do not end are ended by force before the process ends."""
_TOGETHER = 10
"""Objects that are looked at together without a reason."""

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


@dataclass(slots=True)
class Supervisor:
    """Set `synced` tells that every kind was listed once: until then a missing child may just not have been read."""

    lists: Lists
    cache: ObjectCache
    add: Wake
    watches: StartWatches
    namespaces: tuple[str, ...] = ()
    shard: Shard | None = None
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
        if self.shard is not None and resource == self.shard.resource:
            if self.shard.hear(event, obj):
                self._wake(self._in({obj["metadata"]["name"]}))
            return
        known = self.cache.find(resource.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if self.cache.drop(resource, obj) if event == "DELETED" else self.cache.put(resource, obj):
            current = self.cache.find(resource.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            concerned, asked = concerns(self.cache, resource, known, current)
            self._wake(concerned - asked)
            self._wake(asked, urgent=True)

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
                    self._told = ""
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
        if self.shard is not None and (listing := await self.lists.list_watched(self.shard.resource, None)) is not None:
            swept.touched |= self._in(self.shard.learn(listing))
            swept.kinds = (*swept.kinds, self.shard.resource)
        self._swept = began
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
        agenda = Agenda(self.pace, streams)
        while not self._deaf(agenda):
            await agenda.rest()
            agenda.listen()
            if agenda.listed:
                # Nobody will report what was before that.
                self._expected.clear()
            try:
                if agenda.take_recheck():
                    self._wake(await recheck_strangers(self.lists, self.cache))
                    if set(kinds) != set(self._watched):
                        agenda.hurry(0.0)
                if not agenda.sweep_is_due():
                    continue
                swept = await self._sweep()
            except OperatorError as error:
                self._complain("sweep failed", str(error))
                agenda.put_off()
                continue
            self._told = ""
            self._wake(swept.asked, urgent=True)
            self._wake(swept.touched)
            if swept.kinds != kinds:
                return True
            if not agenda.listed:
                self._expect(swept)
            if agenda.swept():
                self._wake_by_and_by(self.cache.rollouts())
        return False

    def _wake_by_and_by(self, keys: list[Key]) -> None:
        """In case something was missed of one: no reason to keep those waiting for which something has changed.

        Some at a time: a pass that comes alone takes twice the CPU.
        """
        for first in range(0, len(keys), _TOGETHER):
            delay = self.pace.spread * first / len(keys)
            asyncio.get_running_loop().call_later(delay, self._wake, set(keys[first : first + _TOGETHER]))

    def _expect(self, swept: Swept) -> None:
        """What a sweep found is to be reported; what was reported while it went on was in time, too."""
        until = asyncio.get_running_loop().time() + self.pace.recheck
        for uid, new in swept.newer.items():
            if self._heard.get(uid, -1) < new:
                self._expected[uid] = new, until

    def _deaf(self, agenda: Agenda) -> bool:
        """Whether the watches do not report what sweeps have seen, or stay silent while sweeps are answered."""
        now = asyncio.get_running_loop().time()
        late = [uid for uid, (_, until) in self._expected.items() if until < now]
        if late or agenda.polls >= self.pace.polls:
            _log.error("the watches are deaf", behind=len(late), polls=agenda.polls)
        return bool(late) or agenda.polls >= self.pace.polls

    @property
    def _watched(self) -> tuple[Resource, ...]:
        return WATCHED if self.shard is None else (*WATCHED, self.shard.resource)

    def _in(self, namespaces: set[str]) -> set[Key]:
        return {key for key in self.cache.rollouts() if key.namespace in namespaces}

    def _report_missing(self, kinds: tuple[Resource, ...]) -> None:
        for resource in self._watched:
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

    def _wake(self, keys: set[Key], *, urgent: bool = False) -> None:
        for key in keys:
            self.add(key, urgent=urgent)
