"""The supervisor's watches: those that fail, hang or fall silent are noticed, stood in for, and started anew."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelrollout.core.names import ANNOTATION_REQUEST
from modelrollout.ports import Key
from modelrollout.resources import PODS, ROLLOUTS, WATCHED
from modelrollout.supervisor import WatchesBroken
from tests.unit.watched import KEY, NEVER, QUICK, World, made, running, until


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


async def test_what_a_sweep_after_a_listing_has_shown_is_not_expected_of_the_watches() -> None:
    """It happened before they began; whatever a sweep finds later, they are to report."""
    world = World()
    async with running(world.supervisor(replace(NEVER, recheck=0.05))):
        watches = await world.started.get()
        world.cluster.objects = {ROLLOUTS: [made("recsys", 50, labelled=False)]}
        watches.streams.listed.set()
        await until(lambda: world.cache.rollout(KEY) is not None)
        await asyncio.sleep(0.2)
        assert world.started.empty()


async def test_a_listing_takes_back_what_was_expected_of_the_watches() -> None:
    """A sweep was quicker than watches that had to begin anew: what it found is in their listing."""
    world = World()
    async with running(world.supervisor(replace(NEVER, first_sweep=0.01, recheck=0.1, after_listing=1000.0))):
        watches = await world.started.get()
        world.cluster.objects = {ROLLOUTS: [made("recsys", 50, labelled=False)]}
        await until(lambda: world.cache.rollout(KEY) is not None)
        watches.streams.listed.set()
        await asyncio.sleep(0.3)
        assert world.started.empty()


async def test_a_sweep_wakes_whoever_is_concerned() -> None:
    """As an event would have: those who claim the same as before or now, and whoever asks for something at once."""
    world = World()
    other = Key("default", "other")
    spec = {"model": {"name": "m"}, "traffic": {"gatewayAPI": {"parentRefs": [{"name": "g"}]}}}
    rival = {**made("other", 5, labelled=False), "spec": spec}
    world.cluster.objects = {ROLLOUTS: [rival]}
    async with running(world.supervisor(NEVER)):
        watches = await world.started.get()
        world.added.clear()
        asking = {**made("recsys", 50, labelled=False), "spec": spec}
        asking["metadata"]["annotations"] = {ANNOTATION_REQUEST: "abort:1"}
        world.cluster.objects[ROLLOUTS] = [rival, asking]
        watches.streams.listed.set()
        await until(lambda: {KEY, other} <= set(world.added))
        assert world.urgent == [KEY]


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
