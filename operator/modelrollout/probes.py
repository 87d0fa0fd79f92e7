"""Readings in the background: model servers, metrics, capacity. Their results wake a pass; no pass ever waits for them.

The reconciler says after each pass what it wants to know (`readings_wanted`); the probes keep to that plan and hold
what they last read. Everything here is memory: losing it costs time, never safety.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zlib import crc32

import structlog

from modelrollout.core.actions import Reload
from modelrollout.core.analysis import Analysed
from modelrollout.core.readings import (
    ACTIVE_INTERVAL,
    IDLE_INTERVAL,
    CapacityQuestion,
    MetricsPlan,
    Readings,
    ServerPlan,
)
from modelrollout.core.snapshot import Capacity, ReloadCall, Server
from modelrollout.errors import ClusterUnavailable, ReloadRefused, ServerUnavailable
from modelrollout.measuring import measure
from modelrollout.metrics import RELOADS, VerdictCounts
from modelrollout.ports import Capacities, Clock, Key, Metrics, ModelServers, Wake
from modelrollout.rhythm import Rhythm
from modelrollout.tracing import span, trace
from modelrollout.turnstile import Turnstile

log = structlog.get_logger(__name__)

CAPACITY_INTERVAL = timedelta(seconds=3)
RESTART_SECONDS = 2.0
_SLOWER, _SLOWEST = 0.1, 10.0
"""Without a rollout pauses grow with the time without news, by this share of it, to so many seconds at most."""

_TOGETHER, _TOGETHER_IN_ROLLOUTS = 10.0, 0.1
"""Where nothing is to change, pauses end at multiples of these seconds: a question that comes alone takes 4 ms of a
core over a new connection and 3 over one that is there, of ten that come together each takes 1.6."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where probes read from. Questions to model servers pass a turnstile, which all objects share."""

    servers: ModelServers
    metrics: Metrics
    capacities: Capacities
    clock: Clock
    in_rollouts: Turnstile = field(default_factory=lambda: Turnstile(200))
    at_rest: Turnstile = field(default_factory=lambda: Turnstile(50, every=0.25))


@dataclass(slots=True)
class Probe:
    """All background reading for one ModelRollout."""

    key: Key
    sources: Sources
    wake: Wake
    servers: dict[str, Server] = field(default_factory=dict)
    analysed: Analysed | None = None
    measured: datetime | None = None
    capacity: Capacity | None = None
    _wanted: Readings = field(default_factory=Readings)
    _loops: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _calls: set[asyncio.Task[None]] = field(default_factory=set)
    _verdicts: VerdictCounts = field(init=False)

    def __post_init__(self) -> None:
        """Counts are the object's own."""
        self._verdicts = VerdictCounts(*self.key)

    def want(self, readings: Readings) -> None:
        """Follow this plan from now on; loops that it still needs go on undisturbed."""
        before, self._wanted = self._wanted, readings
        now = readings.wish != before.wish
        slower, other = _slower(before.servers, readings.servers), _other(before.metrics, readings.metrics)
        self._keep("servers", readings.servers is not None, self._read_servers, slower or now)
        self._keep("metrics", readings.metrics is not None, self._read_metrics, other or now)
        self._keep("capacity", readings.capacity is not None, self._read_capacity, now)
        if readings.capacity is None:
            self.capacity = None
        if readings.metrics is None:
            self._verdicts.forget()
        known = {uid for _, uid, _ in readings.servers.pods} if readings.servers else set()
        self.servers = {uid: server for uid, server in self.servers.items() if uid in known or server.reloading}

    def reload(self, uid: str, action: Reload) -> None:
        """Send a configuration without waiting; `Server.reload` shows that it is under way, and how it ended."""
        before = self.servers.get(uid, Server())
        # The words of the last call stay until this one is answered, so that they do not come and go in status.
        words = before.reload.error if before.reload else ""
        again = before.reload is not None and before.reload.target == action.target
        over = before.reload.over if before.reload and again else None
        call = ReloadCall(action.target, self.sources.clock.now(), error=words, over=over)
        self.servers[uid] = replace(before, reload=call)
        task = asyncio.create_task(self._send(uid, action, call))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def pause(self) -> None:
        """Read nothing until the next plan; what was read last stays. Calls that are under way go on."""
        for task in self._loops.values():
            task.cancel()
        self._loops.clear()

    def stop(self) -> None:
        """End every loop: the object is gone."""
        self.pause()
        for task in self._calls:
            task.cancel()
        self._verdicts.forget()

    def _keep(self, name: str, wanted: bool, loop: Callable[[], Awaitable[None]], restart: bool) -> None:
        task = self._loops.get(name)
        if task is not None and (not wanted or restart or task.done()):
            task.cancel()
            del self._loops[name]
        if wanted and name not in self._loops:
            self._loops[name] = asyncio.create_task(self._guard(name, loop))

    async def _guard(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        """A loop that ends by an error says so, and a pass soon after starts it again."""
        try:
            await loop()
        except Exception as error:
            log.exception("probe failed", rollout=self.key, probe=name, error=repr(error))
            asyncio.get_running_loop().call_later(RESTART_SECONDS, self.wake, self.key)

    async def _send(self, uid: str, action: Reload, call: ReloadCall) -> None:
        error, unanswered = "", False
        try:
            with span("reload", pod=action.pod, versions=str(action.target.versions)):
                await self.sources.servers.reload(action.address, action.target)
        except ReloadRefused as problem:
            error = str(problem)
        except ServerUnavailable as problem:
            error, unanswered = str(problem), True
        RELOADS.labels("unanswered" if unanswered else "refused" if error else "ok").inc()
        now = self.sources.clock.now()
        ended = replace(call, ended=now, error=error, unanswered=unanswered, over=call.over or now)
        self.servers[uid] = replace(self.servers.get(uid, Server()), reload=ended)
        log.info("reload answered", rollout=self.key, pod=action.pod, versions=action.target.versions, error=error)
        self.wake(self.key)

    async def _read_servers(self) -> None:
        clock = asyncio.get_running_loop().time
        news = clock()
        while (plan := self._wanted.servers) is not None:
            found = await asyncio.gather(*(self._read_server(plan, uid, ip) for _, uid, ip in plan.pods))
            if any(found):
                news = clock()
                self.wake(self.key)
            await asyncio.sleep(self._pause(plan, clock() - news))

    def _pause(self, plan: ServerPlan, quiet: float) -> float:
        """Seconds until servers are asked again that have said nothing new for so long."""
        seconds = plan.interval.total_seconds()
        if plan.under_way:
            return seconds if plan.interval <= ACTIVE_INTERVAL else _together(seconds, _TOGETHER_IN_ROLLOUTS)
        if plan.interval < IDLE_INTERVAL:
            # A model that loads for minutes, a server that is away for hours: there may be thousands of them.
            return max(seconds, min(_SLOWEST, quiet * _SLOWER))
        # Pauses of idle objects differ, so that a new process does not ask all servers at once again and again.
        return _together(seconds * (0.75 + crc32("/".join(self.key).encode()) % 256 / 1024), _TOGETHER)

    async def _read_server(self, plan: ServerPlan, uid: str, ip: str) -> bool:
        """Ask one server; True when it says something else than before."""
        await (self.sources.in_rollouts if plan.under_way else self.sources.at_rest).turn()
        try:
            report, error = await self.sources.servers.report(ip, plan.model), ""
        except ServerUnavailable as problem:
            report, error = None, str(problem)
        before = self.servers.get(uid, Server())
        changed = before.changed
        if report is not None and (before.report is None or before.report.active != report.active):
            changed = self.sources.clock.now()
        silent = None if report is not None else before.silent_since or self.sources.clock.now()
        self.servers[uid] = replace(before, report=report, error=error, changed=changed, silent_since=silent)
        return report != before.report

    async def _read_metrics(self) -> None:
        rhythm = Rhythm()
        while (plan := self._wanted.metrics) is not None:
            began = asyncio.get_running_loop().time()
            with trace("measure", namespace=self.key.namespace, name=self.key.name, comparison=plan.key):
                found = await measure(plan, self.analysed, self.sources.metrics, self.sources.clock.now())
            known = self.analysed.proofs() if self.analysed and self.analysed.key == found.key else frozenset()
            self.analysed, self.measured = found, self.sources.clock.now()
            self._verdicts.count({name: state.last.verdict for name, state in found.metrics.items()})
            self.wake(self.key, urgent=bool(found.proofs() - known))
            elapsed = asyncio.get_running_loop().time() - began
            await asyncio.sleep(rhythm.pause(plan.analysis, found, elapsed))

    async def _read_capacity(self) -> None:
        while (question := self._wanted.capacity) is not None:
            capacity = await self._ask_capacity(question)
            if capacity != self.capacity:
                self.capacity = capacity
                self.wake(self.key)
            await asyncio.sleep(CAPACITY_INTERVAL.total_seconds())

    async def _ask_capacity(self, question: CapacityQuestion) -> Capacity | None:
        try:
            return await self.sources.capacities.read(question)
        except ClusterUnavailable:
            return self.capacity


def _together(seconds: float, slot: float) -> float:
    """A pause of nearly so many seconds, which ends with those of other objects."""
    return seconds - (asyncio.get_running_loop().time() + seconds) % slot


def _slower(before: ServerPlan | None, after: ServerPlan | None) -> bool:
    """Whether a loop has to begin anew: it sleeps or waits longer than is wanted, or has not asked some pod."""
    if before is None or after is None:
        return False
    begins = after.under_way and not before.under_way
    return begins or after.interval < before.interval or not set(after.pods) <= set(before.pods)


def _other(before: MetricsPlan | None, after: MetricsPlan | None) -> bool:
    return before is not None and after is not None and before.key != after.key
