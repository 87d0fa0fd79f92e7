"""The rules of docs/design.md over a simulated world: whole rollouts, kills between any two writes, and chance."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.simulation.operator import SimOperator
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SPEC: dict[str, Any] = {
    "model": {"basePath": "/models/recsys", "version": 101},
    "serving": {"image": "tensorflow/serving", "replicas": 3, "storage": {"hostPath": {"path": "/models"}}},
    "traffic": {"gatewayAPI": {"parentRefs": [{"name": "inference"}]}},
    "strategy": {
        "steps": [{"weight": 10, "duration": "5s"}, {"weight": 50, "duration": "5s"}],
        "canaryReadyDeadline": "20s",
        "drainDuration": "3s",
        "bake": {"duration": "10s"},
    },
    "analysis": {
        "prometheus": {"address": "http://prometheus"},
        "interval": "1s",
        "metrics": [
            {"name": "errors", "kind": "ErrorRate", "window": "4s", "minRequests": 10, "limits": {"max": "0.1"}}
        ],
    },
}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop for the asynchronous part of measuring; nothing in it ever waits."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def serving(loop: asyncio.AbstractEventLoop, kill_at: int | None = None) -> SimOperator:
    """Version 101 serves; the kill, if any, counts writes from here on."""
    operator = SimOperator(World(SPEC), loop)
    run_until(operator, settled)
    operator.writes, operator.kill_at = 0, kill_at
    return operator


def settled(operator: SimOperator) -> bool:
    """No rollout is under way, and one ended."""
    status = operator.world.status
    return "rollout" not in status and "history" in status and operator.world.generation == status["observedGeneration"]


def run_until(operator: SimOperator, condition: Callable[[SimOperator], bool], seconds: int = 300) -> None:
    """Let time pass until the condition holds."""
    for _ in range(seconds):
        operator.step()
        if condition(operator):
            return
    raise AssertionError(f"never happened; status {operator.world.status}")


def in_stage(stage: str) -> Callable[[SimOperator], bool]:
    """The rollout is in this stage."""
    return lambda operator: operator.world.status.get("rollout", {}).get("stage") == stage


def good(operator: SimOperator) -> None:
    """102 is good."""
    operator.world.edit(102)
    run_until(operator, settled)


def bad(operator: SimOperator) -> None:
    """102 answers every second request with an error."""
    operator.world.bad = {102}
    operator.world.edit(102)
    run_until(operator, settled)


def superseded(operator: SimOperator) -> None:
    """103 is asked for while 102 is at its first step."""
    operator.world.edit(102)
    run_until(operator, in_stage("Progressing"))
    operator.world.edit(103)
    run_until(operator, lambda op: settled(op) and op.world.status["stable"]["version"] == 103)


def cancelled(operator: SimOperator) -> None:
    """101 is asked for again while stable pods load 102."""
    operator.world.edit(102)
    run_until(operator, in_stage("Promoting"))
    operator.world.edit(101)
    run_until(operator, settled)


ENDS: dict[Callable[[SimOperator], None], tuple[int, list[str]]] = {
    good: (102, ["Promoted", "Promoted"]),
    bad: (101, ["RolledBack", "Promoted"]),
    superseded: (103, ["Promoted", "Superseded", "Promoted"]),
    cancelled: (101, ["Cancelled", "Promoted"]),
}


def check_end(operator: SimOperator, scenario: Callable[[SimOperator], None]) -> None:
    """The end state of a scenario, whatever happened on the way; and nothing is written any more."""
    for _ in range(10):
        operator.step()
    world, (version, outcomes) = operator.world, ENDS[scenario]
    assert world.status["stable"]["version"] == version
    assert [entry["outcome"] for entry in world.status["history"]] == outcomes
    assert world.weight() == 0
    assert all(pod.server.available == {version} for pod in world.pods.values())
    assert ("Deployment", "recsys-canary") not in world.objects
    writes = operator.writes
    for _ in range(5):
        operator.step()
    assert operator.writes == writes


@pytest.mark.parametrize("scenario", ENDS, ids=lambda scenario: scenario.__name__)
def test_rollout_ends_as_it_should(loop: asyncio.AbstractEventLoop, scenario: Callable[[SimOperator], None]) -> None:
    """Undisturbed, each scenario comes to its end and then writes nothing."""
    operator = serving(loop)
    scenario(operator)
    check_end(operator, scenario)


@pytest.mark.parametrize("scenario", ENDS, ids=lambda scenario: scenario.__name__)
def test_kill_between_any_two_writes_changes_nothing(
    loop: asyncio.AbstractEventLoop, scenario: Callable[[SimOperator], None]
) -> None:
    """Killed before each write in turn, the next process brings the same end; every safety rule holds on the way."""
    undisturbed = serving(loop)
    scenario(undisturbed)
    for number in range(undisturbed.writes):
        operator = serving(loop, kill_at=number)
        scenario(operator)
        check_end(operator, scenario)


def test_steps_are_walked_in_order_once(loop: asyncio.AbstractEventLoop) -> None:
    """A good rollout visits each step once, in order."""
    operator = serving(loop)
    good(operator)
    assert sorted(set(operator.world.steps)) == [(2, 1), (2, 2)]


def test_prometheus_outage_holds_the_weight(loop: asyncio.AbstractEventLoop) -> None:
    """However long Prometheus is away, a version is neither promoted nor taken back; then it goes on."""
    operator = serving(loop)
    operator.world.edit(102)
    run_until(operator, lambda op: op.world.weight() == 10)
    operator.world.prometheus = False
    for _ in range(200):
        operator.step()
    assert operator.world.weight() == 10
    assert "holdSince" in operator.world.status["rollout"]
    operator.world.prometheus = True
    run_until(operator, settled)
    assert operator.world.status["stable"]["version"] == 102


def test_declared_deadline_ends_a_hold(loop: asyncio.AbstractEventLoop) -> None:
    """With a deadline the version is taken back once the metric was silent for that long."""
    metric = {**SPEC["analysis"]["metrics"][0], "deadline": "30s"}
    operator = serving(loop)
    operator.world.spec = {**SPEC, "analysis": {**SPEC["analysis"], "metrics": [metric]}}
    operator.world.edit(102)
    run_until(operator, lambda op: op.world.weight() == 10)
    operator.world.prometheus = False
    run_until(operator, settled)
    assert operator.world.status["rejected"]["reason"] == "AnalysisError"


def test_missing_version_is_rejected_without_traffic(loop: asyncio.AbstractEventLoop) -> None:
    """A version that is not published never gets weight and is rejected at the deadline; the message names the path."""
    operator = serving(loop)
    operator.world.edit(199)
    run_until(operator, settled)
    assert operator.world.status["rejected"]["reason"] == "CanaryNotReady"
    assert "/models/recsys/199" in operator.world.status["rejected"]["message"]
    assert operator.world.answered[199] == 0


def test_rejected_version_is_not_tried_again(loop: asyncio.AbstractEventLoop) -> None:
    """While spec keeps a rejected version nothing starts; another version does, and then the first may again."""
    operator = serving(loop)
    bad(operator)
    for _ in range(30):
        operator.step()
    assert operator.world.status["history"][0]["attempt"] == 2
    operator.world.edit(103)
    run_until(operator, settled)
    assert operator.world.status["stable"]["version"] == 103
    assert "rejected" not in operator.world.status


def test_crash_of_the_canary_is_proof(loop: asyncio.AbstractEventLoop) -> None:
    """A canary container that exits while it has traffic is taken out without Prometheus."""
    operator = serving(loop)
    operator.world.edit(102)
    run_until(operator, lambda op: op.world.weight() == 50)
    operator.world.prometheus = False
    canary = next(pod for pod in operator.world.pods.values() if pod.track == "canary")
    canary.exited = operator.world.seconds
    operator.step()
    assert operator.world.weight() == 0
    run_until(operator, settled)
    assert operator.world.status["rejected"]["reason"] == "CanaryUnavailable"


class Chance(RuleBasedStateMachine):
    """Users, faults and kills in any order. The world checks the safety rules at every write."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    @initialize()
    def begin(self) -> None:
        """The first version serves."""
        self.operator = serving(self.loop)
        self.world = self.operator.world

    @rule(seconds=st.integers(1, 8))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        for _ in range(seconds):
            self.operator.step()

    @rule(version=st.sampled_from([101, 102, 103, 104, 199]))
    def edit(self, version: int) -> None:
        """Somebody changes the version, also to one that does not exist."""
        self.world.edit(version)

    @rule(version=st.sampled_from([102, 103, 104]), turns_bad=st.booleans())
    def turn(self, version: int, turns_bad: bool) -> None:
        """A version turns bad or is well again."""
        self.world.bad = self.world.bad | {version} if turns_bad else self.world.bad - {version}

    @rule(up=st.booleans())
    def prometheus(self, up: bool) -> None:
        """Prometheus goes away or comes back."""
        self.world.prometheus = up

    @rule(writes=st.integers(0, 6))
    def kill(self, writes: int) -> None:
        """The operator is to die after so many more writes."""
        self.operator.kill_at = self.operator.writes + writes

    @rule()
    def crash(self) -> None:
        """A canary container exits."""
        for pod in self.world.pods.values():
            if pod.track == "canary":
                pod.exited = self.world.seconds

    @rule(delay=st.sampled_from([0.2, 5.0]))
    def gateway(self, delay: float) -> None:
        """The gateway gets slow or quick."""
        self.world.gateway_delay = delay

    @invariant()
    def no_traffic_to_a_rejected_version(self) -> None:
        """What was rejected has no weight while spec keeps it."""
        if hasattr(self, "world") and "rejected" in self.world.status and "rollout" not in self.world.status:
            assert self.world.weight() == 0

    def teardown(self) -> None:
        """Left in peace the world settles, and then nothing is written."""
        if hasattr(self, "world"):
            self.world.prometheus, self.world.gateway_delay = True, 0.2
            self.operator.kill_at = None
            run_until(self.operator, lambda op: settled(op) or "stable" not in op.world.status)
            for _ in range(20):
                self.operator.step()
            writes = self.operator.writes
            for _ in range(5):
                self.operator.step()
            assert self.operator.writes == writes
        self.loop.close()


TestChance = Chance.TestCase
TestChance.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
