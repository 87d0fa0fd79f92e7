"""Two operators and one lease: one acts; the other takes over from one that ends, dies or stands still."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from playground.interference import WRITES, Operator, Rule
from tests.situations import NEXT, ended, live, outcome, start, wait_for_answers
from tests.witness import Witness, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.interference import Interference, Lane
    from tests.interference.conftest import Unled

STEPS = [20, 50]
TERMS = ("--lease-duration=6", "--lease-renew-deadline=4", "--lease-retry-period=1")
_LEASES = Rule(method=WRITES, target=r"/leases")


@dataclass(frozen=True)
class Replica:
    """One of two operators, on a lane of its own."""

    lane: Lane
    operator: Operator

    def led(self) -> list[float]:
        """When it took or renewed the lease."""
        return [
            entry.time
            for entry in self.lane.journal()
            if entry.upstream == "api" and entry.status in {200, 201} and _LEASES.matches(entry.request)
        ]

    def wrote(self) -> list[float]:
        """When the API server took a write of anything else from it."""
        return [entry.time for entry in self.lane.writes() if entry.status in {200, 201}]


def elected(replicas: tuple[Replica, Replica]) -> tuple[Replica, Replica]:
    """The one that leads, then the other."""
    while not any(replica.led() for replica in replicas):
        time.sleep(0.1)
    first, second = sorted(replicas, key=lambda replica: max(replica.led(), default=0.0), reverse=True)
    return first, second


def wait_for_lease(replica: Replica, since: float) -> float:
    """When it took the lease after that moment."""
    while not (found := [moment for moment in replica.led() if moment > since]):
        time.sleep(0.05)
    return found[0]


@pytest.mark.parametrize("end", ["KILL", "TERM", "STOP"])
def test_the_other_replica_goes_on_with_a_rollout(
    unled: Callable[[str], Unled], interference: Interference, record_property: Callable[[str, object], None], end: str
) -> None:
    """Whatever becomes of the leader in the middle of a step: users notice nothing, and never do two of them write."""
    name = f"replica-{end.lower()}"
    stand, lane = unled(name), interference.lane(f"{name}-second")
    here, flags = stand.here, ("--namespace", name, "--lease-namespace", name, *TERMS)
    with Operator(here.state, stand.lane, *flags) as one, Operator(here.state, lane, *flags) as two:
        replicas = Replica(stand.lane, one), Replica(lane, two)
        start(here)
        with Witness(here) as witness, here.traffic() as traffic:
            wait_for_answers(traffic)
            since = now()
            here.kube.apply(here.manifest(NEXT))
            here.wait("the first step", live(20))
            leader, other = elected(replicas)
            assert not other.wrote()
            ended_at = now()
            leader.operator.signal(end)
            taken = wait_for_lease(other, ended_at)
            record_property("seconds without a leader", round(taken - ended_at, 2))
            leader.operator.resume()
            status = here.wait("the end", ended(NEXT), 200)
    assert outcome(status, NEXT) == "Promoted", status
    assert status["history"][0]["attempt"] == 2
    assert min(other.wrote()) > taken
    assert max(leader.wrote()) < taken
    witness.assert_promoted(traffic.answers(), STEPS, since)
