"""The operator's process stands still, ends, or is there twice: rollouts come to the same end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from playground.interference import WRITES, Operator, Rule
from tests.interference.conftest import ALONE
from tests.situations import NEXT, STABLE, ended, live, outcome, stage, start, wait_for_answers
from tests.witness import Witness, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.interference import Interference
    from playground.scene import Scene
    from tests.interference.conftest import Staged

STEPS = [20, 50]
FAILING = {"versions": {str(NEXT): {"error_rate": 0.6, "error_code": "INTERNAL"}}}
ROUTE = r"/httproutes/"


def bad_on_sight(here: Scene) -> dict[str, Any]:
    """Version 102, taken back when one answer in five is an error; the way back takes some seconds."""
    strategy = {**here.manifest(NEXT)["spec"]["strategy"], "drainDuration": "4s"}
    metric = {
        "name": "errors",
        "kind": "ErrorRate",
        "test": "Limits",
        "window": "5s",
        "minRequests": 10,
        "limits": {"max": "0.2"},
    }
    analysis = {**here.manifest(NEXT)["spec"]["analysis"], "metrics": [metric]}
    return here.manifest(NEXT, strategy=strategy, analysis=analysis)


@pytest.mark.parametrize(
    ("phase", "seconds"),
    [
        pytest.param("step 1", 8.0, id="step 1 for 8 s"),
        pytest.param("Promoting", 8.0, id="Promoting for 8 s"),
        pytest.param("Preparing", 60.0, id="Preparing for a minute", marks=pytest.mark.long),
        pytest.param("step 1", 60.0, id="step 1 for a minute", marks=pytest.mark.long),
        pytest.param("Promoting", 60.0, id="Promoting for a minute", marks=pytest.mark.long),
        pytest.param("Baking", 60.0, id="Baking for a minute", marks=pytest.mark.long),
    ],
)
def test_good_version_outlasts_an_operator_that_stands_still(
    staged: Callable[[str], Staged], phase: str, seconds: float
) -> None:
    """SIGSTOP in the middle of a phase: users notice nothing, and the rollout goes on where it was."""
    stand = staged(f"still-{phase.lower().replace(' ', '-')}-{seconds:.0f}")
    here = stand.here
    start(here)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(here.manifest(NEXT))
        here.wait(phase, live(20) if phase == "step 1" else stage(phase))
        stand.operator.suspend()
        time.sleep(seconds)
        stand.operator.resume()
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert status["history"][0]["attempt"] == 2
    witness.assert_promoted(traffic.answers(), STEPS, since)


@pytest.mark.parametrize("seconds", [8.0, pytest.param(60.0, id="a minute", marks=pytest.mark.long)])
def test_rollback_outlasts_an_operator_that_stands_still(staged: Callable[[str], Staged], seconds: float) -> None:
    """SIGSTOP in the middle of a rollback: the weight stays 0, no request fails, the version ends up rejected."""
    stand = staged(f"still-back-{seconds:.0f}")
    here = stand.here
    start(here)
    here.misbehave(FAILING)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(bad_on_sight(here))
        here.wait("the rollback", stage("RollingBack"), 120)
        stand.operator.suspend()
        time.sleep(seconds)
        assert here.weight() == 0
        stand.operator.resume()
        status = here.wait("the end", ended(NEXT), 150)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "RolledBack", status
    witness.assert_taken_back(traffic.answers(), STEPS, NEXT, since)


def test_operator_that_slept_through_a_verdict_takes_the_version_back_at_once(staged: Callable[[str], Staged]) -> None:
    """A version that turns bad while the operator stands still is out as soon as it goes on, without another step."""
    stand = staged("still-bad")
    here = stand.here
    start(here)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(bad_on_sight(here))
        here.wait("the first step", live(20))
        stand.operator.suspend()
        here.misbehave(FAILING)
        time.sleep(10)  # the step's time passes, too
        stand.operator.resume()
        status = here.wait("the end", ended(NEXT), 150)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "RolledBack", status
    witness.assert_taken_back(traffic.answers(), STEPS[:1], NEXT, since)


def test_two_operators_promote_a_good_version(staged: Callable[[str], Staged], interference: Interference) -> None:
    """Two operators at work on one object get in each other's way without harm: the same end, no failed request."""
    stand = staged("two-good")
    here, second = stand.here, interference.lane("two-good-second")
    with Operator(here.state, second, "--namespace", here.namespace, ALONE):
        start(here)
        with Witness(here) as witness, here.traffic() as traffic:
            wait_for_answers(traffic)
            since = now()
            here.kube.apply(here.manifest(NEXT))
            status = here.wait("the end", ended(NEXT), 200)
    assert stand.lane.writes()
    assert second.writes()
    assert outcome(status, NEXT) == "Promoted", status
    assert status["history"][0]["attempt"] == 2
    witness.assert_promoted(traffic.answers(), STEPS, since)


def test_two_operators_take_a_bad_version_back(staged: Callable[[str], Staged], interference: Interference) -> None:
    """Whichever of two operators sees the proof first, the weight goes to 0 once and stays there."""
    stand = staged("two-bad")
    here, second = stand.here, interference.lane("two-bad-second")
    with Operator(here.state, second, "--namespace", here.namespace, ALONE):
        start(here)
        here.misbehave(FAILING)
        with Witness(here) as witness, here.traffic() as traffic:
            wait_for_answers(traffic)
            since = now()
            here.kube.apply(bad_on_sight(here))
            status = here.wait("the end", ended(NEXT), 200)
            wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "RolledBack", status
    assert [entry["outcome"] for entry in status["history"]] == ["RolledBack", "Promoted"]
    witness.assert_taken_back(traffic.answers(), STEPS, NEXT, since)


def test_operator_that_lags_behind_another_does_not_raise_the_weight_again(
    staged: Callable[[str], Staged], interference: Interference
) -> None:
    """One of two operators sees every object late and cannot lower: the other's abort stands all the same."""
    stand = staged("two-late")
    here, second = stand.here, interference.lane("two-late-second")
    second.obey(Rule(target=r"[?&]watch=", late=3), Rule(method=WRITES, target=ROUTE, delay=1))
    with Operator(here.state, second, "--namespace", here.namespace, ALONE):
        start(here)
        here.misbehave(FAILING)
        with Witness(here) as witness, here.traffic() as traffic:
            wait_for_answers(traffic)
            since = now()
            here.kube.apply(bad_on_sight(here))
            status = here.wait("the end", ended(NEXT), 200)
            wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "RolledBack", status
    witness.assert_taken_back(traffic.answers(), STEPS, NEXT, since)


def test_raise_that_is_still_under_way_does_not_undo_an_abort(
    staged: Callable[[str], Staged], interference: Interference
) -> None:
    """One operator's raise of the weight hangs while another lowers it for good: the raise is refused, not late."""
    stand = staged("two-raise")
    here, second = stand.here, interference.lane("two-raise-second")
    stand.lane.obey(Rule(method="PATCH", target=ROUTE, body=r'"weight": ?50', delay=4))
    second.obey(Rule(method="PATCH", target=ROUTE, body=r'"weight": ?50', status=500))
    with Operator(here.state, second, "--namespace", here.namespace, ALONE):
        start(here)
        with Witness(here) as witness, here.traffic() as traffic:
            wait_for_answers(traffic)
            since = now()
            here.kube.apply(here.manifest(NEXT))
            here.wait("the second step", lambda s: s.get("rollout", {}).get("step") == len(STEPS), 120)
            time.sleep(1)
            here.kube.apply(here.manifest(STABLE))
            status = here.wait("the end", ended(NEXT), 120)
            wait_for_answers(traffic, len(traffic.answers()) + 100)
    assert outcome(status, NEXT) == "Cancelled", status
    assert 409 in {entry.status for entry in stand.lane.writes() if "/httproutes/" in entry.target}
    assert witness.walk(since) == [0, 20, 0]
