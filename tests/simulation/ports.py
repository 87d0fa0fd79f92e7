"""What the operator reads and writes through (modelrollout.ports), over the simulated world."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelrollout.errors import Conflict, ServerUnavailable
from modelrollout.resources import PODS, ROLLOUTS, resource_of
from tests.simulation.api import NAME
from tests.simulation.clock import moment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from modelrollout.cache import ObjectCache
    from modelrollout.core.model_config import ModelTarget
    from modelrollout.core.readings import CapacityQuestion
    from modelrollout.core.snapshot import Capacity, ServerReport
    from modelrollout.core.values import JSON
    from modelrollout.ports import Key
    from tests.simulation.world import World


@dataclass
class Pen:
    """Everything that one process writes goes through here. `meddle` is told before and after (True) each write.

    Once `lifted`, the process is dead: whatever it is about to write waits for ever.
    """

    meddle: Callable[[str, bool], None]
    lifted: bool = False

    async def write(self, what: str, act: Callable[[], Any]) -> Any:
        """Do one write."""
        await asyncio.sleep(0)
        await self._told(what, False)
        result = act()
        await self._told(what, True)
        return result

    async def _told(self, what: str, after: bool) -> None:
        if not self.lifted:
            self.meddle(what, after)
        if self.lifted:
            await asyncio.Event().wait()


@dataclass(frozen=True)
class SimCluster:
    """`ports.Cluster`, as adapters.cluster: every answer is in the cache at once, a conflict refreshes it."""

    world: World
    cache: ObjectCache
    pen: Pen

    async def apply(self, key: Key, manifest: JSON, create: bool) -> None:
        """Server-side apply."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        known = None if create else self.cache.find(kind, key.namespace, name)
        uid = known["metadata"]["uid"] if known else None
        try:
            stored = await self.pen.write(f"{kind} {name}", lambda: self.world.apply(manifest, uid))
        except Conflict:
            self._refresh(kind, key.namespace, name)
            raise
        self.cache.put(resource_of(kind), stored)

    async def delete(self, key: Key, kind: str, name: str, uid: str) -> None:
        """Delete that very object."""
        await self.pen.write(f"delete {kind} {name}", lambda: self.world.delete(kind, name, uid))
        stub = {"metadata": {"namespace": key.namespace, "name": name, "uid": uid}}
        self.cache.drop(resource_of(kind), stub, for_good=True)

    async def annotate_pod(self, key: Key, pod: str, annotation: str, value: str) -> None:
        """Set one annotation of a pod; a pod that is gone is fine."""
        stored = await self.pen.write(f"annotate {pod}", lambda: self.world.annotate(pod, annotation, value))
        if stored is None:
            self._refresh(PODS.kind, key.namespace, pod)
        else:
            self.cache.put(PODS, stored)

    async def write_status(self, key: Key, seen: JSON, status: Mapping[str, Any]) -> None:
        """Replace `status`."""
        try:
            write = f"status {status['phase']}"
            stored = await self.pen.write(write, lambda: self.world.write_status(seen, status))
        except Conflict:
            self._refresh(ROLLOUTS.kind, key.namespace, NAME)
            raise
        self.cache.put(ROLLOUTS, stored)

    def _refresh(self, kind: str, namespace: str, name: str) -> None:
        found, known = self.world.api.find(kind, name), self.cache.find(kind, namespace, name)
        if found is not None:
            self.cache.put(resource_of(kind), found)
        elif known is not None:
            self.cache.drop(resource_of(kind), known, for_good=True)


@dataclass(frozen=True)
class SimServers:
    """`ports.ModelServers`."""

    world: World
    pen: Pen

    async def report(self, ip: str, _model: str) -> ServerReport:
        """What a server says, unless it says nothing."""
        pod = self.world.at(ip)
        if pod is None or not pod.up or pod.silent:
            raise ServerUnavailable("nobody answers")
        return pod.server.report()

    async def reload(self, ip: str, target: ModelTarget) -> None:
        """Send a configuration."""
        pod = self.world.at(ip)
        what = f"reload {pod.name if pod else ip} {target.versions}"
        await self.pen.write(what, lambda: self.world.reload(ip, target))


@dataclass(frozen=True)
class SimCapacities:
    """`ports.Capacities`."""

    world: World

    async def read(self, _question: CapacityQuestion) -> Capacity:
        """Room on the nodes."""
        return self.world.capacity()


class SimClock:
    """`ports.Clock`: the running loop's time."""

    def now(self) -> datetime:
        """The time."""
        return moment(asyncio.get_running_loop().time())


class SimEvents:
    """`ports.Events`: the reasons alone are kept."""

    def __init__(self) -> None:
        """Nothing was said yet."""
        self.said: list[str] = []

    def emit(self, rollout: JSON, reason: str, message: str, warning: bool) -> None:
        """Take it down."""
        del rollout, message, warning
        self.said.append(reason)
