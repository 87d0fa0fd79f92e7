"""How often model servers are asked: in virtual time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from modelrollout.core.readings import ACTIVE_INTERVAL, IDLE_INTERVAL, Readings, ServerPlan
from modelrollout.errors import ServerUnavailable
from modelrollout.ports import Key
from modelrollout.probes import Probe, Sources
from tests.builders import NEW, report
from tests.simulation.clock import VirtualLoop
from tests.simulation.ports import SimCapacities, SimClock
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelrollout.core.model_config import ModelTarget
    from modelrollout.core.snapshot import ServerReport

READY = 300.0


@pytest.fixture
def virtual() -> Iterator[VirtualLoop]:
    """A loop in which waiting takes no time."""
    loop = VirtualLoop(0)
    yield loop
    loop.close()


@dataclass
class SlowServer:
    """One that loads its model for five minutes, or does not answer meanwhile."""

    answers: bool
    asked: list[float] = field(default_factory=list)

    async def report(self, _ip: str, _model: str) -> ServerReport:
        """As it is by now."""
        self.asked.append(asyncio.get_running_loop().time())
        if self.asked[-1] < READY:
            if not self.answers:
                raise ServerUnavailable("not yet")
            return report(loading=NEW)
        return report(NEW)

    async def reload(self, _ip: str, _target: ModelTarget) -> None:
        """Never called."""
        raise AssertionError


def wake_nobody(key: Key, *, urgent: bool = False) -> None:
    """There are no passes."""
    del key, urgent


async def at_rest(names: list[str]) -> list[float]:
    """When servers of these objects at rest are asked in twenty minutes; each begins at another moment."""
    server, world = SlowServer(answers=True), World()
    sources = Sources(server, world, SimCapacities(world), SimClock())
    probes = [Probe(Key("shop", name), sources, wake_nobody) for name in names]
    for probe in probes:
        probe.want(Readings(servers=ServerPlan("recsys", (("pod-1", "uid-1", "10.0.0.1"),), IDLE_INTERVAL)))
        await asyncio.sleep(0.7)
    await asyncio.sleep(1200)
    for probe in probes:
        probe.stop()
    await asyncio.sleep(0)
    return server.asked


async def follow(server: SlowServer, *, under_way: bool, begins: float = 0.0) -> list[float]:
    """When a pass was woken in six minutes of this plan, of which an object may rest so many seconds at first."""
    woken: list[float] = []

    def wake(key: Key, *, urgent: bool = False) -> None:
        del key, urgent
        woken.append(asyncio.get_running_loop().time())

    world = World()
    probe = Probe(Key("shop", "recsys"), Sources(server, world, SimCapacities(world), SimClock()), wake)
    plan = ServerPlan("recsys", (("pod-1", "uid-1", "10.0.0.1"),), ACTIVE_INTERVAL)
    probe.want(Readings(servers=plan))
    await asyncio.sleep(begins)
    probe.want(Readings(servers=replace(plan, under_way=under_way)))
    await asyncio.sleep(READY + 60 - begins)
    probe.stop()
    await asyncio.sleep(0)
    return woken


@pytest.mark.parametrize("answers", [True, False])
def test_without_a_rollout_servers_with_nothing_new_are_asked_ever_more_rarely(
    virtual: VirtualLoop, answers: bool
) -> None:
    """There may be thousands of them; what takes minutes may be seen seconds later."""
    server = SlowServer(answers)
    woken = virtual.run_until_complete(follow(server, under_way=False))
    assert sum(at < READY for at in server.asked) < READY / 4
    assert len(woken) == 2 if answers else 1
    assert woken[-1] <= READY + 10


def test_servers_at_rest_are_asked_some_at_a_time(virtual: VirtualLoop) -> None:
    """Each within ten minutes, not all at once; together with others, as a question that comes alone costs more."""
    asked = virtual.run_until_complete(at_rest([f"m{number}" for number in range(100)]))
    again = Counter(round(at, 1) for at in asked[100:200])
    assert set(again) <= {round(10.0 * slot, 1) for slot in range(1, 70)}
    assert 10 <= len(again) <= 25


def test_in_a_rollout_servers_are_asked_each_second(virtual: VirtualLoop) -> None:
    """People wait for it."""
    server = SlowServer(answers=True)
    woken = virtual.run_until_complete(follow(server, under_way=True))
    assert sum(at < READY for at in server.asked) == pytest.approx(READY, abs=2)
    assert woken[-1] <= READY + 1


def test_a_rollout_that_begins_waits_for_no_pause_of_an_object_at_rest(virtual: VirtualLoop) -> None:
    """Its servers are asked at once, and each second from then on."""
    server = SlowServer(answers=True)
    virtual.run_until_complete(follow(server, under_way=True, begins=200.5))
    assert any(200.5 <= at < 200.6 for at in server.asked)
    assert sum(200.5 <= at < 210.4 for at in server.asked) == 10
