"""A cluster, watches and a work queue that exist in memory alone: what the tests of the supervisor share."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from modelrollout.cache import ObjectCache
from modelrollout.core.names import LABEL_MANAGED_BY, LABEL_ROLLOUT, MANAGER
from modelrollout.errors import ClusterUnavailable
from modelrollout.pace import Pace
from modelrollout.ports import Key
from modelrollout.resources import WATCHED, Listing, Resource
from modelrollout.streams import Streams
from modelrollout.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from modelrollout.handlers import Deliver

KEY = Key("default", "recsys")
QUICK = Pace(
    tick=0.005,
    retry=0.01,
    restart=0.01,
    restart_at_most=0.02,
    first_sweep=0.01,
    after_listing=0.01,
    sweep=0.05,
    recheck=0.02,
    silence=1000.0,
    poll=0.02,
    exit=0.05,
    force=0.01,
)
NEVER = replace(QUICK, first_sweep=1000.0, sweep=1000.0)


def made(name: str, version: int, labelled: bool = True) -> dict[str, Any]:
    """An object as the API server gives it."""
    labels = {LABEL_MANAGED_BY: MANAGER, LABEL_ROLLOUT: "recsys"} if labelled else {}
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": name,
            "resourceVersion": str(version),
            "labels": labels,
        }
    }


@dataclass
class FakeCluster:
    """Lists what is put into it. `kinds` are those that it knows."""

    objects: dict[Resource, list[dict[str, Any]]] = field(default_factory=dict)
    kinds: set[Resource] = field(default_factory=lambda: set(WATCHED))
    version: int = 100
    away: bool = False
    asked: int = 0
    on_list: Callable[[Resource], None] = lambda _: None

    async def list_watched(self, resource: Resource, namespace: str | None) -> Listing | None:
        """What is there."""
        self.asked += 1
        self.on_list(resource)
        if self.away:
            raise ClusterUnavailable(f"no answer for {namespace}")
        if resource not in self.kinds and resource.kind != "Namespace":
            return None
        return Listing(tuple(self.objects.get(resource, ())), self.version)

    async def find(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """One object, labelled or not."""
        same = (o for o in self.objects.get(resource, ()) if o["metadata"]["name"] == name)
        return next((o for o in same if o["metadata"]["namespace"] == namespace), None)


@dataclass
class FakeWatches:
    """Watches that deliver what a test tells them to, over one stream of which nothing is heard any more."""

    kinds: tuple[Resource, ...]
    deliver: Deliver
    hangs: int = 0
    failing: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    streams: Streams = field(default_factory=lambda: Streams(["/all"]))

    def start(self) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Ends at once, unless it hangs."""
        if not self.hangs:
            self.ended.set()

    def abandon(self) -> None:
        """Ends when this was called as often as it hangs."""
        self.hangs -= 1
        self.stop()

    def fail(self) -> None:
        """A part of it ends by itself."""
        self.failing.set()


@dataclass
class World:
    """A supervisor with everything around it."""

    cluster: FakeCluster = field(default_factory=FakeCluster)
    cache: ObjectCache = field(default_factory=ObjectCache)
    added: list[Key] = field(default_factory=list)
    urgent: list[Key] = field(default_factory=list)
    started: asyncio.Queue[FakeWatches] = field(default_factory=asyncio.Queue)
    hangs: int = 0

    def watches(self, kinds: tuple[Resource, ...], deliver: Deliver) -> FakeWatches:
        """Start watches."""
        made_now = FakeWatches(kinds, deliver, self.hangs)
        self.started.put_nowait(made_now)
        return made_now

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """As the work queue."""
        self.added.append(key)
        if urgent:
            self.urgent.append(key)

    def supervisor(self, pace: Pace = QUICK) -> Supervisor:
        """The object under test."""
        return Supervisor(self.cluster, self.cache, self.add, self.watches, pace=pace)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something that no event tells."""
    while not condition():  # noqa: ASYNC110 - the objects under test have no such event
        await asyncio.sleep(0.002)


@asynccontextmanager
async def running(supervisor: Supervisor) -> AsyncIterator[asyncio.Task[None]]:
    """Run it in the background."""
    task = asyncio.create_task(supervisor.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
