"""The operator over the simulated world, synchronously: the real rules, and a kill after any write."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from modelrollout.core.actions import Annotate, Apply, Delete, Emit, Reload
from modelrollout.core.decide import decide
from modelrollout.core.observe import Memory, observe
from modelrollout.core.readings import Readings, readings_wanted
from modelrollout.core.snapshot import ReloadCall, Server
from modelrollout.core.status_json import status_to_json
from modelrollout.errors import ReloadRefused
from modelrollout.measuring import measure
from tests.simulation.world import NAME, START

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from modelrollout.core.actions import Action
    from modelrollout.core.analysis import Analysed
    from tests.simulation.world import World


class KilledError(Exception):
    """The process ended here."""


@dataclass
class SimOperator:
    """One process at a time over a world; `kill_at` counts writes down, None never kills."""

    world: World
    loop: asyncio.AbstractEventLoop
    kill_at: int | None = None
    writes: int = 0
    servers: dict[str, Server] = field(default_factory=dict)
    analysed: Analysed | None = None
    route: tuple[int, float] = (0, 0.0)
    plan: Readings = field(default_factory=Readings)

    def forget(self) -> None:
        """A new process knows nothing but the cluster."""
        self.servers, self.analysed, self.route, self.plan = {}, None, (0, 0.0), Readings()

    def step(self, seconds: float = 1.0) -> None:
        """Time passes, probes read, then passes run until nothing is to be done."""
        self.world.advance(seconds)
        self.world.check_servers()
        self.probe()
        try:
            for _ in range(20):
                if not self.reconcile():
                    return
                self.world.check_servers()
        except KilledError:
            self.forget()
            return
        raise AssertionError("passes never came to rest")

    def probe(self) -> None:
        """Read every server, and the metrics that the last pass wanted."""
        for pod in self.world.pods.values():
            before = self.servers.get(pod.uid, Server())
            report = pod.server.report() if pod.up else None
            changed = before.changed
            if report is not None and (before.report is None or before.report.active != report.active):
                changed = self.world.now()
            self.servers[pod.uid] = replace(before, report=report, changed=changed)
        if self.plan.metrics is not None:
            reading = measure(self.plan.metrics, self.analysed, self.world, self.world.now())
            self.analysed = self.loop.run_until_complete(reading)

    def reconcile(self) -> bool:
        """One pass; whether anything was written."""
        route = self.world.objects.get(("HTTPRoute", NAME))
        if route is not None and route["metadata"]["generation"] != self.route[0]:
            self.route = (route["metadata"]["generation"], self.world.seconds)
        seen = START + timedelta(seconds=self.route[1])
        memory = Memory(self.servers, self.analysed, self.world.capacity(), seen)
        snapshot = observe(self.world.rollout(), self.world.seen(), memory, self.world.now())
        decision = decide(snapshot)
        wrote = self._perform(decision.first)
        status = status_to_json(decision.status)
        if status != self.world.status:
            self._write(lambda: self.world.write_status(status))
            wrote = True
        self.plan = readings_wanted(replace(snapshot, status=decision.status))
        return self._perform(decision.then) or wrote

    def _perform(self, actions: tuple[Action, ...]) -> bool:
        wrote = False
        for action in actions:
            match action:
                case Apply():
                    self._write(partial(self.world.apply, action.manifest))
                    wrote = True
                case Delete():
                    self._write(partial(self.world.delete, action.kind, action.name))
                    wrote = True
                case Reload():
                    self._write(partial(self._reload, action))
                case Annotate() | Emit():
                    pass  # neither changes what the rules see
        return wrote

    def _reload(self, action: Reload) -> None:
        pod = next(pod for pod in self.world.pods.values() if pod.name == action.pod)
        error = ""
        try:
            pod.server.reload(action.target, self.world.seconds)
        except ReloadRefused as refusal:
            error = str(refusal)
        call = ReloadCall(action.target, self.world.now(), self.world.now(), error)
        self.servers[pod.uid] = replace(self.servers.get(pod.uid, Server()), reload=call)

    def _write(self, write: Callable[[], None]) -> None:
        """Do one write, then die if its number has come up."""
        if self.kill_at == self.writes:
            self.kill_at = None
            raise KilledError
        write()
        self.writes += 1
