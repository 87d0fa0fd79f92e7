"""The supervisor: the cache is full before work begins, and who is woken by what."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from modelrollout.core.names import ANNOTATION_REQUEST
from modelrollout.resources import DEPLOYMENTS, HTTP_ROUTES, PODS, ROLLOUTS, WATCHED
from modelrollout.shard import Shard
from tests.unit.watched import KEY, NEVER, QUICK, World, made, running, until


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


async def test_after_a_regular_sweep_objects_are_looked_at_by_and_by() -> None:
    """Thousands in one moment would keep those waiting for which something has changed."""
    world = World()
    names = [f"m{number}" for number in range(20)]
    world.cluster.objects = {ROLLOUTS: [made(name, 1, labelled=False) for name in names]}
    supervisor = world.supervisor(replace(QUICK, first_sweep=0.2, spread=1.0))
    async with running(supervisor):
        await supervisor.synced.wait()
        world.added.clear()
        await until(lambda: len(world.added) > 0)
        assert len(world.added) == 10
        await until(lambda: {key.name for key in world.added} == {*names})


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
