"""Prometheus goes away, the operator is killed: rollouts go on to the same end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from modelrollout.core.judge.memory_json import memory_from_text
from playground import control
from tests.situations import NEXT, ended, failures, live, outcome, stage, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelrollout.core.judge.memory import Memory
    from playground.scene import Scene


@pytest.mark.long
def test_prometheus_outage_holds_a_good_version(scene: Callable[[str], Scene]) -> None:
    """Without Prometheus the weight stays, visibly; when it is back the rollout goes on to its promotion."""
    here = scene("outage")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT))
        here.wait("the first step", live(20))
        control.ask(here.state, "stop", name="prometheus")
        here.wait("a visible hold", lambda s: any("silentSince" in item for item in s.get("analysis", ())))
        held = here.status()
        assert held["rollout"]["stage"] == "Progressing"
        control.ask(here.state, "start", name="prometheus")
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())


@pytest.mark.long
@pytest.mark.parametrize("phase", ["Preparing", "Progressing", "Promoting", "Baking"])
def test_operator_killed_in_each_phase_goes_on(scene: Callable[[str], Scene], phase: str) -> None:
    """SIGKILL of the operator in a phase loses nothing: the same end, no second attempt, no failed request."""
    here = scene(f"kill-{phase.lower()}")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT))
        here.wait(phase, stage(phase))
        control.ask(here.state, "kill", name="operator")
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())
    assert status["history"][0]["attempt"] == 2


def test_operator_killed_while_rolling_back_finishes_it(scene: Callable[[str], Scene]) -> None:
    """SIGKILL of the operator during a rollback: the weight stays 0 and the version ends up rejected."""
    here = scene("kill-rollback")
    strategy = {**here.manifest(NEXT)["spec"]["strategy"], "drainDuration": "4s"}
    start(here, strategy=strategy)
    here.misbehave({"versions": {str(NEXT): {"error_rate": 0.8, "error_code": "INTERNAL"}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT, strategy=strategy))
        here.wait("the rollback", stage("RollingBack"), 120)
        assert here.weight() == 0
        control.ask(here.state, "kill", name="operator")
        status = here.wait("the end", ended(NEXT), 120)
        assert here.weight() == 0
    assert outcome(status, NEXT) == "RolledBack"


@pytest.mark.long
def test_operator_killed_while_it_suspects_loses_no_evidence(scene: Callable[[str], Scene]) -> None:
    """SIGKILL between suspicion and proof: the weight is not raised, and proof rests on what came before too."""
    here = scene("kill-suspect")
    start(here)
    manifest = here.manifest(NEXT)
    manifest["spec"]["strategy"]["steps"] = [{"weight": 20, "duration": "5s"}, {"weight": 50, "duration": "60s"}]
    manifest["spec"]["analysis"]["metrics"] = [{"name": "error-rate", "kind": "ErrorRate"}]
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(manifest)
        here.wait("the second step", live(50), 150)
        here.misbehave({"versions": {str(NEXT): {"error_rate": 0.1, "error_code": "INTERNAL"}}})
        here.wait("the weight back", lambda s: "suspectedSince" in s.get("rollout", {}) and live(20)(s))
        first = memory_of(here).at
        control.ask(here.state, "kill", name="operator")
        weights = set()
        while "rollout" in here.status():
            weights.add(here.weight())
            time.sleep(0.2)
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "RolledBack", status
    assert weights <= {20, 0}
    assert memory_of(here).begun < first < memory_of(here).at


def memory_of(here: Scene) -> Memory:
    """What the judge has written down."""
    found = here.kube.get("ConfigMap", f"{here.name}-analysis")
    assert found is not None
    memory = memory_from_text(found["data"]["memory.json"])
    assert memory is not None
    return memory
