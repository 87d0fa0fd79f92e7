"""One process of the operator over the simulated cluster, whose passes come when a test says so.

Its model servers hang. Used by `test_reconciler`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelrollout.cache import ObjectCache
from modelrollout.errors import ClusterUnavailable
from modelrollout.probes import Sources
from modelrollout.reconciler import Reconciler
from modelrollout.resources import HTTP_ROUTES, resource_of
from tests.simulation.api import NAME
from tests.simulation.clock import VirtualLoop
from tests.simulation.operator import KEY
from tests.simulation.ports import Pen, SimCapacities, SimClock, SimCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from modelrollout.core.model_config import ModelTarget
    from modelrollout.core.snapshot import ServerReport
    from modelrollout.core.values import JSON
    from modelrollout.ports import Key
    from tests.simulation.world import World


@dataclass
class HangingServers:
    """Model servers that never answer anything; how many are being asked."""

    asked: int = 0

    async def report(self, _ip: str, _model: str) -> ServerReport:
        """Never."""
        self.asked += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.asked -= 1
        raise AssertionError

    async def reload(self, _ip: str, _target: ModelTarget) -> None:
        """Never."""
        await asyncio.Event().wait()


@dataclass
class Journal:
    """What was written and told, in order; `fails` is a write that the API server does not answer."""

    lines: list[str] = field(default_factory=list)
    fails: str = ""

    def note(self, what: str, after: bool) -> None:
        """As the pen tells it."""
        if not after and self.fails and what.startswith(self.fails):
            raise ClusterUnavailable("away")
        if after:
            self.lines.append(what)

    def emit(self, _rollout: JSON, reason: str, _message: str, warning: bool) -> None:
        """An event, as ports.Events."""
        self.lines.append(f"{'warning' if warning else 'event'} {reason}")


class OlderDefinition(SimCluster):
    """A cluster whose schema does not know a field of status: it is dropped."""

    async def write_status(self, key: Key, seen: JSON, status: Mapping[str, Any]) -> None:
        """As the API server would."""
        await super().write_status(key, seen, {name: value for name, value in status.items() if name != "progress"})


class Shell:
    """One process that runs a pass when a test says so."""

    def __init__(self, world: World, made: type[SimCluster]) -> None:
        self.world, self.journal, self.cache = world, Journal(), ObjectCache()
        self.servers = HangingServers()
        for (kind, _), obj in world.api.objects.items():
            self.cache.put(resource_of(kind), obj)
        cluster = made(world, self.cache, Pen(self.journal.note))
        sources = Sources(self.servers, world, SimCapacities(world), SimClock())
        self._reconciler = Reconciler(self.cache, cluster, sources, self.journal, self._wake)

    def _wake(self, key: Key, *, urgent: bool = False) -> None:
        """Passes come when the test says so."""

    async def passes(self, count: int = 1, seconds: float = 0.0) -> list[str]:
        """Run passes, with so much time between them; what they wrote and told."""
        before = len(self.journal.lines)
        for _ in range(count):
            await self._reconciler.reconcile(KEY)
            await asyncio.sleep(seconds)
        return self.journal.lines[before:]

    def stop(self) -> None:
        """End the probes."""
        self._reconciler.forget(KEY)

    def see(self) -> None:
        """What the world changed of the object since the start."""
        self.cache.put(resource_of("ModelRollout"), self.world.api.rollout)

    def change(self, **spec: Any) -> None:
        """Somebody writes fields of spec that the schema of another version let through."""
        found = self.world.api.rollout
        self._put({**found, "spec": {**found["spec"], **spec}})

    def set_status(self, **status: Any) -> None:
        """Another operator wrote status."""
        found = self.world.api.rollout
        self._put({**found, "status": {**found["status"], **status}})

    def _put(self, obj: JSON) -> None:
        self.cache.put(resource_of("ModelRollout"), self.world.api.store("ModelRollout", obj, self.world.seconds))

    def change_route(self, weight: int) -> None:
        """Somebody else gives the canary another weight."""
        found = self.world.api.objects["HTTPRoute", NAME]
        shares = {f"{NAME}-stable": 100 - weight, f"{NAME}-canary": weight}
        rules = [
            {**rule, "backendRefs": [{**backend, "weight": shares[backend["name"]]} for backend in rule["backendRefs"]]}
            for rule in found["spec"]["rules"]
        ]
        changed = {**found, "spec": {**found["spec"], "rules": rules}}
        self.cache.put(HTTP_ROUTES, self.world.api.store("HTTPRoute", changed, self.world.seconds))


def play(
    world: World, scene: Callable[[Shell], Coroutine[Any, Any, None]], cluster: type[SimCluster] = SimCluster
) -> None:
    """Run a scene over a process that has just started, in virtual time that goes on from the world's."""
    loop = VirtualLoop(world.seconds)

    async def run() -> None:
        shell = Shell(world, cluster)
        try:
            await scene(shell)
        finally:
            shell.stop()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

    loop.run_until_complete(run())
    loop.close()
