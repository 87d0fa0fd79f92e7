"""Whole rollouts in the simulated world: how each kind ends, and what outages do to it.

The world checks the safety rules of docs/design.md all the while (tests/simulation/rules.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from modelrollout.core.names import Track
from modelrollout.errors import ClusterUnavailable, Conflict
from tests.simulation.repertoire import SCENARIOS, at, bad_from_start, request
from tests.simulation.scenarios import SPEC, begin, end_of, rest, run_until, settled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.operator import Meddle, SimOperator


@pytest.fixture
def operator() -> Iterator[SimOperator]:
    """Version 101 serves."""
    with begin(SCENARIOS["good"]) as run:
        yield run.operator


_MANY_WRITES = ("good", "bad while promoting", "rolled and bad", "undone")


def failing(number: int, taken: bool, error: Exception) -> Meddle:
    """The write of this number fails, before or after the API server took it. Calls of model servers are left out."""

    def meddle(operator: SimOperator, what: str, after: bool) -> None:
        if after is taken and len(operator.writes) - after == number and not what.startswith("reload"):
            operator.meddle = None
            raise error

    return meddle


@pytest.mark.parametrize("name", SCENARIOS)
def test_rollout_ends_as_it_should(name: str) -> None:
    """Undisturbed, each scenario comes to its end; then nothing is written, and every server has one version."""
    with begin(SCENARIOS[name]) as run:
        rest(run)
    world, scenario = run.world, run.scenario
    history = tuple((entry["version"], entry["outcome"], entry["reason"]) for entry in world.status["history"])
    assert history == scenario.history
    assert world.status["stable"]["version"] == scenario.version
    assert world.weight == 0
    assert [pod.server.available for pod in world.pods.all.values()] == [{scenario.version}] * 3


def test_steps_are_walked_in_order_once() -> None:
    """A good rollout visits each step once, in order."""
    with begin(SCENARIOS["good"]) as run:
        rest(run)
    assert run.world.rules.steps == [(2, 1), (2, 2)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_nobody_is_told_of_repairs_where_nobody_meddles(name: str) -> None:
    """What the operator deletes and makes again, as for a retry, was changed by nobody else."""
    with begin(SCENARIOS[name]) as run:
        rest(run)
        assert run.operator.process is not None
        said = run.operator.process.events.said
    assert "RolloutStarted" in said
    assert not {reason for reason in said if reason.endswith(("Overwritten", "Contested"))}


@pytest.mark.parametrize("silence", ["away", "empty"])
def test_prometheus_outage_holds_the_weight(operator: SimOperator, silence: str) -> None:
    """However long Prometheus is away, a version is neither promoted nor taken back; then it goes on."""
    operator.world.edit(102)
    run_until(operator, at("Progressing", 10))
    operator.world.traffic.prometheus = silence
    operator.step(200)
    assert operator.world.weight == 10
    writes = len(operator.writes)
    operator.step(50)
    assert len(operator.writes) == writes
    operator.world.traffic.prometheus = "up"
    run_until(operator, settled)
    assert operator.world.status["stable"]["version"] == 102


def test_declared_deadline_ends_a_hold(operator: SimOperator) -> None:
    """With a deadline the version is taken back once the metric was silent for that long."""
    metric = {**SPEC["analysis"]["metrics"][0], "deadline": "30s"}
    operator.world.change("analysis", metrics=[metric])
    operator.world.edit(102)
    run_until(operator, at("Progressing", 10))
    operator.world.traffic.prometheus = "away"
    run_until(operator, settled)
    assert operator.world.status["rejected"]["reason"] == "AnalysisError"


def test_missing_version_is_rejected_without_traffic(operator: SimOperator) -> None:
    """A version that is not published never gets weight and is rejected at the deadline; the message names the path."""
    operator.world.edit(199)
    run_until(operator, settled)
    assert operator.world.status["rejected"]["reason"] == "CanaryNotReady"
    assert "/models/recsys/199" in operator.world.status["rejected"]["message"]
    assert operator.world.traffic.answers[Track.CANARY, 199] == 0


def test_rejected_canary_is_kept_for_a_look(operator: SimOperator) -> None:
    """With `retainCanaryFor` it stays for so long, without traffic and without a write; then its GPUs are free."""
    world = operator.world
    world.change("strategy", rollback={"retainCanaryFor": "60s"})
    bad_from_start(world)
    run_until(operator, settled)
    answers, writes = world.traffic.answers[Track.CANARY, 102], len(operator.writes)
    assert "Its canary is kept without traffic until" in world.status["message"]
    operator.step(50)
    assert world.pods.of(Track.CANARY)
    assert (world.weight, world.traffic.answers[Track.CANARY, 102]) == (0, answers)
    assert not operator.writes[writes:]
    operator.step(20)
    assert not world.pods.of(Track.CANARY)
    assert world.status["stable"]["version"] == 101


def test_kept_canary_goes_when_spec_leaves_its_version(operator: SimOperator) -> None:
    """Whoever goes back to what serves has seen enough."""
    world = operator.world
    world.change("strategy", rollback={"retainCanaryFor": "10m"})
    bad_from_start(world)
    run_until(operator, settled)
    operator.step(5)
    world.edit(101)
    operator.step(5)
    assert not world.pods.of(Track.CANARY)
    assert world.status["phase"] == "Healthy"


def test_rejected_version_is_not_tried_again() -> None:
    """While spec keeps a rejected version nothing starts; another version does, and then the first may again."""
    with begin(SCENARIOS["bad"]) as run:
        rest(run)
        world = run.world
        run.operator.step(60)
        assert world.status["history"][0]["attempt"] == 2
        for version in (103, 102):
            world.traffic.bad.clear()
            world.edit(version)
            run_until(run.operator, settled)
            assert world.status["stable"]["version"] == version
            assert "rejected" not in world.status


def test_version_whose_load_failed_once_may_be_tried_again() -> None:
    """Servers list a failed load for ever; a mended version that is asked for again is promoted all the same."""
    with begin(SCENARIOS["load fails in a stable pod"]) as run:
        rest(run)
        run.world.disk.broken.clear()
        request("retry")(run.world)
        run_until(run.operator, settled)
    assert run.world.status["stable"]["version"] == 102


def test_stale_request_does_nothing(operator: SimOperator) -> None:
    """A request for another attempt is answered as stale, and the rollout goes on."""
    operator.world.edit(102)
    run_until(operator, at("Progressing", 10))
    revision = operator.world.status["canary"]["revision"]
    operator.world.request(f"abort:{revision}.7:1")
    run_until(operator, settled)
    assert operator.world.status["lastRequest"]["answer"].startswith("abort: stale")
    assert operator.world.status["stable"]["version"] == 102


def test_stale_retry_does_nothing() -> None:
    """A retry that names another attempt than the one that was rejected last is answered as stale."""
    with begin(SCENARIOS["bad"]) as run:
        rest(run)
        run.world.request(f"retry:{run.world.status['rejected']['revision']}.1:0")
        run.operator.step(5)
    assert run.world.status["lastRequest"]["answer"].startswith("retry: stale")
    assert "rollout" not in run.world.status


def test_crash_of_the_canary_is_proof(operator: SimOperator) -> None:
    """A canary container that exits while it has traffic is taken out without Prometheus."""
    operator.world.edit(102)
    run_until(operator, at("Progressing", 50))
    operator.world.traffic.prometheus = "away"
    operator.world.crash(Track.CANARY)
    operator.step()
    assert operator.world.weight == 0
    run_until(operator, settled)
    assert operator.world.status["rejected"]["reason"] == "CanaryUnavailable"


def test_canary_that_is_lost_again_and_again_is_rejected(operator: SimOperator) -> None:
    """The third loss of the canary pods with weight in one attempt is the version's doing."""
    world = operator.world
    world.edit(102)
    for _ in range(3):
        run_until(operator, at("Progressing", 10))
        run_until(operator, lambda world: world.traffic.live == 10)
        operator.step(1.5)
        for _ in world.pods.of(Track.CANARY):
            world.lose(Track.CANARY)
        run_until(operator, lambda world: world.weight == 0)
    run_until(operator, settled)
    assert world.status["rejected"]["reason"] == "CanaryUnavailable"


def test_abort_reaches_a_pod_that_was_just_told_to_load(operator: SimOperator) -> None:
    """A stable pod that was called a moment before the abort never answers with the version that is taken back."""
    operator.world.edit(102)
    run_until(operator, lambda world: any(102 in pod.server.told for pod in world.pods.of(Track.STABLE)))
    operator.world.edit(101)
    operator.step(0.5)
    run_until(operator, settled)
    operator.step(5)
    assert operator.world.traffic.answers[Track.STABLE, 102] == 0


def test_rollback_waits_for_every_stable_pod(operator: SimOperator) -> None:
    """A stable pod that cannot be told to go back keeps the rollback open; it is told as soon as it listens."""
    operator.world.edit(102)
    run_until(operator, at("Baking"))
    deaf = operator.world.pods.of(Track.STABLE)[0]
    deaf.silent = True
    operator.world.edit(101)
    operator.step(30)
    assert operator.world.stage == "RollingBack"
    assert deaf.name in operator.world.status["message"]
    deaf.silent = False
    run_until(operator, settled, seconds=60)
    operator.step(3)
    assert deaf.server.available == {101}


def test_slow_gateway_only_takes_time(operator: SimOperator) -> None:
    """Steps and drains count from the moment that the gateway follows; nobody is ever left without an answer."""
    operator.world.traffic.delay = 5.0
    operator.world.edit(102)
    run_until(operator, settled)
    assert operator.world.status["stable"]["version"] == 102
    assert operator.world.traffic.unanswered == 0


@pytest.mark.parametrize("name", SCENARIOS)
def test_late_watches_only_take_time(name: str) -> None:
    """An operator that sees everything three seconds late brings every scenario to the same end."""
    with begin(SCENARIOS[name]) as prompt:
        rest(prompt)
    with begin(SCENARIOS[name]) as late:
        late.world.lag = 3.0
        late.finish()
        late.operator.step(5)
        rest(late)
    assert end_of(late.world) == end_of(prompt.world)


@pytest.mark.parametrize("error", [ClusterUnavailable("no answer"), Conflict("modified")], ids=["away", "conflict"])
@pytest.mark.parametrize("taken", [False, True], ids=["lost on the way", "taken, answer lost"])
@pytest.mark.parametrize("name", ["bad", *(pytest.param(name, marks=pytest.mark.long) for name in _MANY_WRITES)])
def test_write_that_fails_is_made_up_for(name: str, taken: bool, error: Exception) -> None:
    """An error at every write in turn, whether it was taken or not, leaves the same end."""
    with begin(SCENARIOS[name]) as undisturbed:
        rest(undisturbed)
    start = begin(SCENARIOS[name])
    for number in range(len(undisturbed.operator.writes)):
        with start.fork() as run:
            run.operator.meddle = failing(number, taken, error)
            rest(run)
            assert end_of(run.world) == end_of(undisturbed.world), f"write {number}"


def test_refused_write_holds_nothing_else_up(operator: SimOperator) -> None:
    """Without the right to make the canary the rollout waits and says so; once it has it, the rollout goes on."""
    operator.world.api.refuses = {"Deployment"}
    operator.world.edit(102)
    operator.step(30)
    stalled = [item for item in operator.world.status["conditions"] if item["type"] == "Stalled"]
    assert stalled[0]["reason"] == "WriteRefused"
    operator.world.api.refuses = set()
    run_until(operator, settled)
    assert operator.world.status["stable"]["version"] == 102


def test_api_server_away_only_takes_time(operator: SimOperator) -> None:
    """A minute without API server in each second of a rollout costs time and nothing else."""
    operator.world.edit(102)
    for _ in range(60):
        operator.step()
        operator.world.api.down = not operator.world.api.down
        operator.step(10)
    operator.world.api.down = False
    run_until(operator, settled)
    assert operator.world.status["stable"]["version"] == 102
