"""The supervisor: the cache is full before work begins, watches are started anew, blindness is noticed."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.cache import ObjectCache
from modelrollout.core.names import ANNOTATION_REQUEST, LABEL_MANAGED_BY, LABEL_ROLLOUT, MANAGER
from modelrollout.errors import ClusterUnavailable
from modelrollout.pace import Pace
from modelrollout.ports import Key
from modelrollout.resources import DEPLOYMENTS, HTTP_ROUTES, PODS, ROLLOUTS, WATCHED, Listing, Resource
from modelrollout.shard import Shard
from modelrollout.streams import Streams
from modelrollout.supervisor import Supervisor, WatchesBroken

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


async def test_nothing_is_synced_before_every_kind_was_listed() -> None:
    """A cluster that does not answer is waited for; then the cache is full and every rollout is due."""
    world = World()
    world.cluster.objects = {ROLLOUTS: [made("recsys", 1, labelled=False)], PODS: [made("p", 2)]}
    world.cluster.away = True
    supervisor = world.supervisor()
    async with running(supervisor):
        await until(lambda: world.cluster.asked >= 3)
        assert not supervisor.synced.is_set()
        world.cluster.away = False
        await supervisor.synced.wait()
        assert world.added == [KEY]
        assert [child["metadata"]["name"] for child in world.cache.children(KEY)] == ["p"]


async def test_our_own_kind_is_waited_for() -> None:
    """Without its definition installed the operator waits instead of ending."""
    world = World()
    world.cluster.kinds.discard(ROLLOUTS)
    supervisor = world.supervisor()
    async with running(supervisor):
        await until(lambda: world.cluster.asked >= 2 * len(WATCHED))
        assert not supervisor.synced.is_set()
        world.cluster.kinds.add(ROLLOUTS)
        await supervisor.synced.wait()


async def test_a_kind_that_appears_later_is_watched_then() -> None:
    """The Gateway API may be installed after the operator."""
    world = World()
    world.cluster.kinds.discard(HTTP_ROUTES)
    async with running(world.supervisor()):
        first = await world.started.get()
        assert HTTP_ROUTES not in first.kinds
        world.cluster.kinds.add(HTTP_ROUTES)
        assert (await world.started.get()).kinds == WATCHED


async def test_an_event_wakes_its_rollout_and_an_echo_does_not() -> None:
    """Own writes come back as events; they are in the cache already."""
    world = World()
    supervisor = world.supervisor()
    world.cache.put(DEPLOYMENTS, made("recsys-stable", 5))
    supervisor.deliver(DEPLOYMENTS, "MODIFIED", made("recsys-stable", 5))
    assert world.added == []
    supervisor.deliver(DEPLOYMENTS, "MODIFIED", made("recsys-stable", 6))
    assert world.added
    assert set(world.added) == {KEY}


async def test_a_deleted_object_is_dropped_and_wakes_its_rollout() -> None:
    """A child that somebody deletes is made again; a rollout that is deleted is forgotten."""
    world = World()
    supervisor = world.supervisor()
    for resource, name in ((DEPLOYMENTS, "recsys-stable"), (ROLLOUTS, "recsys")):
        world.cache.put(resource, made(name, 5))
        supervisor.deliver(resource, "DELETED", made(name, 6))
        assert world.cache.find(resource.kind, "default", name) is None
        assert KEY in world.added


async def test_a_sweep_finds_what_the_watches_missed() -> None:
    """An object that went while the watches were interrupted is dropped, one made after the listing is not."""
    world = World()
    world.cluster.objects = {ROLLOUTS: [made("recsys", 1, labelled=False)], PODS: [made("p", 2)]}
    async with running(world.supervisor()):
        await world.started.get()
        world.cache.put(PODS, made("younger", 101))
        world.cluster.objects[PODS] = []
        await until(lambda: world.cache.find("Pod", "default", "p") is None)
        assert world.cache.find("Pod", "default", "younger")


async def test_watches_that_stay_behind_a_listing_are_started_anew() -> None:
    """Watches that live but report nothing are noticed by comparing with a listing."""
    world = World()
    async with running(world.supervisor()):
        await world.started.get()
        world.cluster.objects = {ROLLOUTS: [made("recsys", 50, labelled=False)]}
        await world.started.get()


async def test_watches_that_report_what_a_sweep_saw_go_on() -> None:
    """A sweep that was merely faster than the watch restarts nothing."""
    world = World()
    async with running(world.supervisor(replace(QUICK, recheck=0.3))):
        first = await world.started.get()
        world.cluster.objects = {ROLLOUTS: [made("recsys", 50, labelled=False)]}
        await until(lambda: world.cache.rollout(KEY) is not None)
        first.deliver(ROLLOUTS, "ADDED", made("recsys", 50, labelled=False))
        asked = world.cluster.asked
        await until(lambda: world.cluster.asked >= asked + 2 * len(WATCHED))
        assert world.started.empty()


async def test_what_somebody_asks_for_goes_before_everything_else() -> None:
    """A new request may be for an abort; one that was seen before is as any other change."""
    world = World()
    supervisor = world.supervisor()
    rollout = made("recsys", 5, labelled=False)
    supervisor.deliver(ROLLOUTS, "MODIFIED", rollout)
    assert world.urgent == []
    for version in ("6", "7"):
        metadata = {**rollout["metadata"], "resourceVersion": version, "annotations": {ANNOTATION_REQUEST: "abort:x"}}
        supervisor.deliver(ROLLOUTS, "MODIFIED", {"metadata": metadata})
    assert world.urgent == [KEY]
    assert set(world.added) == {KEY}


async def test_an_event_that_comes_while_the_sweep_goes_on_is_in_time() -> None:
    """Listing all kinds takes a while; what the watches report meanwhile is not waited for again."""
    world = World()
    async with running(world.supervisor(replace(QUICK, recheck=0.05))):
        first = await world.started.get()
        rollout = made("recsys", 50, labelled=False)
        world.cluster.objects = {ROLLOUTS: [rollout]}
        world.cluster.on_list = lambda kind: first.deliver(ROLLOUTS, "ADDED", rollout) if kind is PODS else None
        await until(lambda: world.cache.rollout(KEY) is not None)
        asked = world.cluster.asked
        await until(lambda: world.cluster.asked >= asked + 2 * len(WATCHED))
        assert world.started.empty()


async def test_watches_that_fail_are_started_anew() -> None:
    """Of many things kopf dies; the operator goes on."""
    world = World()
    async with running(world.supervisor()):
        (await world.started.get()).fail()
        await world.started.get()


@pytest.mark.parametrize("times", [1, 3])
async def test_watches_that_fail_and_hang_are_ended_by_force(times: int) -> None:
    """Of several failures at a time kopf sometimes does not come back; the operator goes on all the same."""
    world = World(hangs=times)
    async with running(world.supervisor()):
        (await world.started.get()).fail()
        await world.started.get()


async def test_watches_that_nothing_ends_end_the_process() -> None:
    """A thread that is stuck may do anything when it goes on."""
    world = World(hangs=1000)
    async with running(world.supervisor()) as task:
        (await world.started.get()).fail()
        with pytest.raises(WatchesBroken, match="did not come to an end"):
            await task


async def test_watches_that_fail_again_and_again_are_not_given_up() -> None:
    """Each start lists everything, so that the operator sees the cluster all the same; nothing ends the process."""
    world = World()
    async with running(world.supervisor(NEVER)) as task:
        for number in range(20):
            watches = await world.started.get()
            world.cluster.objects = {ROLLOUTS: [made("recsys", number + 1, labelled=False)]}
            assert number == 0 or world.cache.find("ModelRollout", "default", "recsys") is not None
            watches.fail()
        assert not task.done()


async def test_listings_stand_in_for_a_stream_that_is_silent() -> None:
    """What happens meanwhile is seen, and a stream that stays silent is started anew."""
    world = World()
    async with running(world.supervisor(replace(NEVER, silence=0.01, recheck=1000.0))):
        await world.started.get()
        world.cluster.objects = {ROLLOUTS: [made("recsys", 50, labelled=False)]}
        await until(lambda: world.cache.rollout(KEY) is not None)
        assert KEY in world.added
        await world.started.get()


async def test_a_stream_that_is_heard_needs_no_listings() -> None:
    """The API server is asked for nothing while the watches do their work."""
    world = World()
    async with running(world.supervisor(NEVER)):
        await world.started.get()
        asked = world.cluster.asked
        await asyncio.sleep(20 * NEVER.tick)
        assert world.cluster.asked == asked


async def test_a_listing_of_the_watches_is_followed_by_a_sweep() -> None:
    """When a watch is too old (410) everything is listed anew, and nothing reports what went meanwhile."""
    world = World()
    world.cluster.objects = {ROLLOUTS: [made("recsys", 1, labelled=False)], PODS: [made("p", 2)]}
    async with running(world.supervisor(NEVER)):
        watches = await world.started.get()
        world.cluster.objects[PODS] = []
        watches.streams.listed.set()
        await until(lambda: world.cache.find("Pod", "default", "p") is None)


async def test_objects_outlive_a_kind_that_is_not_found_for_a_while() -> None:
    """An API server that starts may answer 404 to everything: that says nothing of what is there."""
    world = World()
    world.cluster.objects = {ROLLOUTS: [made("recsys", 1, labelled=False)], PODS: [made("p", 2)]}
    supervisor = world.supervisor()
    async with running(supervisor):
        await world.started.get()
        world.cluster.kinds.clear()
        asked = world.cluster.asked
        await until(lambda: world.cluster.asked >= asked + 3 * len(WATCHED))
        assert world.cache.rollout(KEY) is not None
        world.cluster.kinds |= set(WATCHED)
        assert (await world.started.get()).kinds == WATCHED
        assert [child["metadata"]["name"] for child in world.cache.children(KEY)] == ["p"]


async def test_blindness_is_the_time_since_a_sweep_or_a_sign_of_every_stream() -> None:
    """Nothing counts before the first listing; an API server that is away makes blind."""
    world = World()
    supervisor = world.supervisor(NEVER)
    assert supervisor.blind() == 0
    world.cluster.away = True
    async with running(supervisor):
        await until(lambda: world.cluster.asked > 3)
        assert supervisor.blind() == 0
        world.cluster.away = False
        await world.started.get()
        before = supervisor.blind()
        await until(lambda: supervisor.blind() > before + 0.05)


async def test_a_namespace_that_changes_shards_wakes_its_rollouts() -> None:
    """Whoever leaves it forgets them, whoever enters it begins with them."""
    world = World()
    world.cluster.objects = {ROLLOUTS: [made("recsys", 1, labelled=False)]}
    supervisor = world.supervisor(NEVER)
    supervisor.shard = shard = Shard("team=x", asyncio.get_running_loop().time)
    async with running(supervisor):
        watches = await world.started.get()
        assert watches.kinds == (*WATCHED, shard.resource)
        assert not shard.owns(KEY)
        world.added.clear()
        namespace = {"metadata": {"name": "default", "uid": "n", "resourceVersion": "200"}}
        watches.deliver(shard.resource, "ADDED", namespace)
        assert world.added == [KEY]
        assert shard.wait(KEY)
        watches.deliver(shard.resource, "DELETED", namespace)
        assert world.added == [KEY, KEY]
        assert shard.wait(KEY) is None


async def test_a_stranger_in_our_name_is_asked_for_again() -> None:
    """When the object that took the name goes, the rollout that was stalled by it goes on."""
    world, taken = World(), made("recsys-stable", 3, labelled=False)
    world.cluster.objects = {ROLLOUTS: [made("recsys", 1, labelled=False)]}
    world.cache.put(DEPLOYMENTS, taken)
    async with running(world.supervisor()):
        await world.started.get()
        world.added.clear()
        await until(lambda: world.cache.find("Deployment", "default", "recsys-stable") is None)
        assert KEY in world.added
