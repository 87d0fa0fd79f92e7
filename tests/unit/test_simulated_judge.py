"""The sequential judge in the simulated world: its two reactions, what a kill costs it, what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.judge.memory_json import memory_from_text
from modelrollout.core.names import Track
from tests.simulation.repertoire import at, edit
from tests.simulation.scenarios import Run, Scenario, begin, kill_points, rest, run_until, settled

if TYPE_CHECKING:
    from modelrollout.core.judge.memory import Memory
    from tests.simulation.world import World

_FIRST = (101, "Promoted", "Initialized")


def analysis(**metric: Any) -> dict[str, Any]:
    """One sequential metric, looked at each second; a suspicion is dropped after 20 s."""
    return {"metrics": [{"name": "errors", "kind": "ErrorRate", **metric}], "suspicionDuration": "20s"}


def go_bad(world: World) -> None:
    """102 fails one request in twenty from now on."""
    world.traffic.wrong = 0.05
    world.traffic.bad.add(102)


def mend(world: World) -> None:
    """It fails no more."""
    world.traffic.bad.clear()


def suspected(world: World) -> bool:
    """The canary is suspected, and the weight is back."""
    return "suspectedSince" in world.status.get("rollout", {}) and world.weight == 10


LONG_STEPS = {"steps": [{"weight": 10, "duration": "4s"}, {"weight": 50, "duration": "30s"}]}
BAD = Scenario(
    ((settled, edit(102)), (at("Progressing", 50), go_bad)),
    101,
    ((102, "RolledBack", "AnalysisFailed"), _FIRST),
    strategy=LONG_STEPS,
    analysis=analysis(),
)
MENDED = Scenario(
    ((settled, edit(102)), (at("Progressing", 50), go_bad), (suspected, mend)),
    102,
    ((102, "Promoted", "Promoted"), _FIRST),
    strategy=LONG_STEPS,
    analysis=analysis(),
)


def memory(world: World) -> Memory | None:
    """What the judge has written down."""
    found = world.api.find("ConfigMap", "recsys-analysis")
    return memory_from_text(found["data"]["memory.json"]) if found else None


def test_canary_gets_no_traffic_before_a_baseline() -> None:
    """Stable is watched for a minute first; one that has served for longer has been watched already."""
    with begin(BAD) as run:
        run.world.edit(102)
        run_until(run.operator, at("Progressing"))
        assert run.world.seconds >= 60
        known = memory(run.world)
        assert known is not None
        assert known.baseline >= 60


def test_bad_version_is_suspected_then_proven() -> None:
    """The weight goes back to the first step's within seconds; proof takes the version out of the traffic."""
    with begin(BAD) as run:
        run_until(run.operator, settled)
        run.world.edit(102)
        run_until(run.operator, at("Progressing", 50))
        run.done = 2
        go_bad(run.world)
        began = run.world.seconds
        run_until(run.operator, suspected)
        assert run.world.seconds - began < 10
        rest(run)
    entry = run.world.status["history"][0]
    assert (entry["outcome"], entry["reason"]) == ("RolledBack", "AnalysisFailed")
    assert "errors FAIL: canary" in entry["evidence"]
    assert "stable 0 of" in entry["evidence"]


def test_suspicion_that_is_not_confirmed_costs_only_time() -> None:
    """A version that had one bad moment goes on from the step it was in, and is promoted."""
    with begin(MENDED) as run:
        seen = []
        while not run.over:
            run.step()
            seen.append((run.world.weight, run.world.status.get("rollout", {})))
    weights = [weight for index, (weight, _) in enumerate(seen) if not index or seen[index - 1][0] != weight]
    assert weights[-5:] == [10, 50, 10, 50, 0]
    assert run.world.status["stable"]["version"] == 102
    assert max(rollout.get("suspicions", 0) for _, rollout in seen) == 1


def out(world: World) -> bool:
    """The canary is suspected, and has no traffic."""
    return "suspectedSince" in world.status.get("rollout", {}) and world.weight == 0


def weights_of(run: Run) -> list[int | None]:
    """The weights in their order, until the scenario is over."""
    weights = [run.world.weight]
    while not run.over:
        run.step()
        if run.world.weight != weights[-1]:
            weights.append(run.world.weight)
    return weights


OUT = analysis(onSuspicion="StepOut") | {"suspicionDuration": "80s"}
BAD_OUT = Scenario(BAD.acts, 101, BAD.history, strategy=LONG_STEPS, analysis=OUT)
MENDED_OUT = Scenario((*BAD.acts, (out, mend)), 102, MENDED.history, strategy=LONG_STEPS, analysis=OUT)


def test_suspicion_may_take_the_canary_out_for_a_minute() -> None:
    """With StepOut a suspected canary has no traffic for a minute, then 2 % until it goes on from its step."""
    with begin(MENDED_OUT) as run:
        assert weights_of(run)[-6:] == [10, 50, 0, 2, 50, 0]
    assert run.world.status["stable"]["version"] == 102


def test_canary_goes_out_in_the_first_step_too() -> None:
    """StepOut ends the traffic of a canary that is bad from its first answer; each new suspicion ends it again."""
    steps = {"steps": [{"weight": 10, "duration": "60s"}]}
    with begin(Scenario(((settled, edit(102)),), 101, BAD.history, strategy=steps, analysis=OUT)) as run:
        go_bad(run.world)
        weights = weights_of(run)
        assert weights[:3] == [0, 10, 0]
        assert set(weights) == {0, 2, 10}
    assert run.world.status["history"][0]["reason"] == "AnalysisFailed"


@pytest.mark.parametrize(("policy", "weight"), [("Hold", 50), ("Ignore", 50)])
def test_suspicion_may_leave_the_weight(policy: str, weight: int) -> None:
    """With Hold or Ignore a suspected canary keeps its weight until there is proof."""
    scenario = Scenario(BAD.acts, 101, BAD.history, strategy=LONG_STEPS, analysis=analysis(onSuspicion=policy))
    with begin(scenario) as run:
        while _verdict(run.world) != "Suspect":
            run.step()
        assert run.world.weight == weight
        held = "suspectedSince" in run.world.status["rollout"]
        assert held is (policy == "Hold")


def _verdict(world: World) -> str:
    return next((item["verdict"] for item in world.status.get("analysis", ()) if item["name"] == "errors"), "")


def test_suspicion_while_promoting_stops_the_reloads() -> None:
    """No further stable pod gets a version that is suspected, and the canary's weight goes back."""
    with begin(BAD) as run:
        run.world.edit(102)
        run_until(run.operator, lambda w: w.stage == "Promoting", seconds=600)
        go_bad(run.world)
        run_until(run.operator, suspected)
        run.operator.step(4)  # what had been called for shows
        had = [pod.server.available for pod in run.world.pods.of(Track.STABLE)]
        run.operator.step(10)
        assert [pod.server.available for pod in run.world.pods.of(Track.STABLE)] == had
        assert {101} in had


def test_half_of_the_answers_bad_is_enough() -> None:
    """The circuit breaker needs no statistics: twenty answers, half of them bad."""
    with begin(BAD) as run:
        run.world.traffic.wrong = 0.5
        run.world.traffic.bad.add(102)
        run.world.edit(102)
        run_until(run.operator, at("Progressing", 10))
        began = run.world.seconds
        run_until(run.operator, lambda w: w.stage == "RollingBack")
        assert run.world.seconds - began < 5
        assert "of the canary's last" in run.world.status["rollout"]["message"]


def test_one_bad_pod_is_replaced_and_the_version_goes_on() -> None:
    """A canary pod that is bad alone is ended once, with a warning; the version is not blamed for it."""
    steps = {"steps": [{"weight": 60, "duration": "150s"}]}
    scenario = Scenario(((settled, edit(102)),), 102, MENDED.history, strategy=steps, analysis=analysis())
    with begin(scenario) as run:
        run.world.edit(102)
        run_until(run.operator, at("Progressing", 60))
        run.world.traffic.wrong = 0.3
        bad = run.world.pods.of(Track.CANARY)[0].name
        run.world.traffic.odd.add(bad)
        run_until(run.operator, lambda w: "oddPods" in w.status.get("rollout", {}))
        assert run.world.status["rollout"]["oddPods"] == [bad]
        run.done = 1
        rest(run)
    assert run.world.status["stable"]["version"] == 102


def test_one_bad_stable_pod_is_a_warning() -> None:
    """A stable pod that is bad alone is on record, with an event; nobody is blamed for it, and it stays."""
    steps = {"steps": [{"weight": 20, "duration": "20s"}]}
    scenario = Scenario(((settled, edit(102)),), 102, MENDED.history, strategy=steps, analysis=analysis())
    with begin(scenario) as run:
        run_until(run.operator, settled)
        bad = run.world.pods.of(Track.STABLE)[0].name
        run.world.traffic.wrong = 0.3
        run.world.traffic.odd.add(bad)
        run.operator.step(300)
        run.world.edit(102)
        run_until(run.operator, lambda w: "oddStablePods" in w.status.get("rollout", {}))
        assert run.world.status["rollout"]["oddStablePods"] == [bad]
        run.done = 1
        rest(run)
        assert bad in {pod.name for pod in run.world.pods.of(Track.STABLE)}
    assert run.world.status["stable"]["version"] == 102


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(BAD, id="bad"),
        pytest.param(MENDED, id="mended", marks=pytest.mark.long),
        pytest.param(BAD_OUT, id="bad-out", marks=pytest.mark.long),
        pytest.param(MENDED_OUT, id="mended-out", marks=pytest.mark.long),
    ],
)
def test_kill_loses_no_evidence(scenario: Scenario) -> None:
    """Killed at any write, the operator ends where it would have: what was remembered is read again."""
    for index, (where, fork) in enumerate(kill_points(begin(scenario))):
        if index % 3 == 0:
            _finish(where, fork, scenario)


def _finish(where: str, fork: Run, scenario: Scenario) -> None:
    with fork:
        fork.finish()
    history = tuple((entry["version"], entry["outcome"], entry["reason"]) for entry in fork.world.status["history"])
    assert history == scenario.history, where


@pytest.mark.parametrize(("shifted", "outcome"), [(set(), "Promoted"), ({102}, "RolledBack")])
def test_predictions_that_shift_are_proven(shifted: set[int], outcome: str) -> None:
    """A version that predicts cats twice as often is taken back; one that predicts as stable does is promoted."""
    metric = {
        "kind": "Distribution",
        "query": 'sum by (pod, class) (predictions{pod=~"${pods}"})',
        "onSuspicion": "Hold",
    }
    steps = {"steps": [{"weight": 50, "duration": "20m"}]}
    scenario = Scenario(BAD.acts, 101, BAD.history, strategy=steps, analysis=analysis(**metric))
    with begin(scenario) as run:
        run.world.traffic.shifted = shifted
        run.world.edit(102)
        run_until(run.operator, lambda w: len(w.status["history"]) == 2, seconds=2000)
    entry = run.world.status["history"][0]
    assert entry["outcome"] == outcome
    assert "KS 0" in entry["evidence"]
    assert ("cat of" in entry["evidence"]) or not shifted
