"""Pods that die, vanish or get stuck at the worst moment: the rollout ends as it should, and users hardly notice."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    is_ready,
    last_version,
    live,
    model_server,
    more_answers,
    outcome,
    quick,
    reach,
    some_often,
    stage,
    start,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

GOING = ("Preparing", "step 1", "Promoting half way", "Baking", "RollingBack")

_BAD = {str(NEXT): {"error_rate": 1.0}}
_PATIENT = [{"weight": 20, "duration": "60s"}, {"weight": 50, "duration": "2s"}]
"""Steps for rollouts that something happens to in the first one."""


def _pod(scene: Scene, name: str) -> dict[str, Any] | None:
    return scene.kube.get("Pod", name)


def _ready(scene: Scene, track: str) -> list[str]:
    return [pod["metadata"]["name"] for pod in scene.pods(track) if is_ready(pod)]


@pytest.mark.parametrize("phase", some_often(GOING, "Promoting half way"))
def test_deleted_stable_pod_changes_nothing(scene: Callable[[str], Scene], phase: str) -> None:
    """A stable pod that is deleted in a phase is replaced and catches up: the same end, no failed request."""
    here = scene(f"pod-deleted-{phase.lower().replace(' ', '-')}")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        reach(here, phase)
        victim = here.pods("stable")[0]["metadata"]["name"]
        here.kube.delete("Pod", victim)
        status = here.wait("the end", ended(NEXT), 150)
        here.wait("two stable pods", lambda _: len(_ready(here, "stable")) == 2)
        more_answers(traffic)
    assert outcome(status, NEXT) == ("RolledBack" if phase == "RollingBack" else "Promoted"), status
    assert not failures(traffic.answers())
    assert victim not in _ready(here, "stable")
    assert last_version(here) == (STABLE if phase == "RollingBack" else NEXT)
    assert seen in ([0, 20, 50, 0], [0, 20, 0])


@pytest.mark.parametrize("phase", some_often(GOING, "step 1"))
def test_killed_stable_pod_changes_nothing(scene: Callable[[str], Scene], phase: str) -> None:
    """A stable model server that is killed in a phase restarts on its ConfigMap and catches up: the same end.

    Requests are lost only until the gateway has noticed.
    """
    here = scene(f"pod-killed-{phase.lower().replace(' ', '-')}")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, phase)
        victim = here.pods("stable")[0]
        name = victim["metadata"]["name"]
        os.kill(model_server(victim), signal.SIGKILL)
        here.wait("its restart", lambda _: _restarts(here, name) == 1 and name in _ready(here, "stable"))
        back = len(traffic.answers())
        status = here.wait("the end", ended(NEXT), 150)
        more_answers(traffic)
    assert outcome(status, NEXT) == ("RolledBack" if phase == "RollingBack" else "Promoted"), status
    assert not failures(traffic.answers()[back:])
    assert last_version(here) == (STABLE if phase == "RollingBack" else NEXT)


def _restarts(scene: Scene, name: str) -> int:
    pod = _pod(scene, name) or {}
    return sum(container["restartCount"] for container in pod.get("status", {}).get("containerStatuses", ()))


def test_unready_stable_pod_does_not_hold_up_an_abort(scene: Callable[[str], Scene]) -> None:
    """With a stable pod unready the weight still goes to 0 and stays there, and the rollback completes."""
    here = scene("pod-unready-at-abort")
    start(here)
    unready = {"unready": True, "pods": here.pods("stable")[0]["metadata"]["name"]}
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=_PATIENT))
        here.wait("the first step", live(20))
        here.misbehave({"server": unready})
        here.wait("an unready stable pod", lambda _: len(_ready(here, "stable")) == 1)
        here.misbehave({"server": unready, "versions": _BAD})
        status = here.wait("the end", ended(NEXT))
        assert len(_ready(here, "stable")) == 1
        assert status["phase"] == "Degraded"
        end = more_answers(traffic)
        here.misbehave({})
        here.wait("all stable pods", lambda s: s["phase"] == "RolledBack")
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert seen == [0, 20, 0]
    assert not failures(traffic.answers()[end:])
    assert {answer.version for answer in traffic.answers()[end:]} == {STABLE}


@pytest.mark.parametrize("phase", some_often(("step 1", "Promoting half way"), "Promoting half way"))
def test_frozen_stable_pod_does_not_hold_up_an_abort(scene: Callable[[str], Scene], phase: str) -> None:
    """With a stable server that answers nobody the weight still goes to 0; the rollback says that it waits for it."""
    here = scene(f"pod-frozen-{phase.lower().replace(' ', '-')}")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        reach(here, phase)
        frozen = here.pods("stable")[0]
        name = frozen["metadata"]["name"]
        process = model_server(frozen)
        os.kill(process, signal.SIGSTOP)
        try:
            here.kube.apply(quick(here, STABLE))
            here.wait("a rollback that waits", lambda s: stage("RollingBack")(s) and name in s["message"])
            assert here.weight() == 0
        finally:
            os.kill(process, signal.SIGCONT)
        status = here.wait("the end", ended(NEXT))
        more_answers(traffic)
    assert outcome(status, NEXT) == "Cancelled"
    assert seen[-1] == 0
    assert seen.count(0) == 2
    assert last_version(here) == STABLE


@pytest.mark.long
def test_vanished_canary_pod_is_waited_for(scene: Callable[[str], Scene]) -> None:
    """With fewer canary pods than the step needs the weight goes to 0; with all back the step is entered again.

    That is nobody's fault: no rejection, and as the other canary pod goes on answering, no failed request.
    """
    here = scene("pod-canary-vanishes")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, replicas=3, steps=[{"weight": 50, "duration": "15s"}]))
        here.wait("the step", live(50))
        assert len(here.pods("canary")) == 2
        here.misbehave({"versions": {str(NEXT): {"load_seconds": 15}}})
        here.kube.delete("Pod", here.pods("canary")[0]["metadata"]["name"])
        here.wait("leaving the traffic", lambda _: here.weight() == 0)
        assert stage("Progressing")(here.status())
        here.misbehave({})
        here.wait("the step again", live(50))
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 50, 0, 50, 0]
    assert status["history"][0]["attempt"] == 2
    assert not failures(traffic.answers())


def test_all_canary_pods_deleted_are_waited_for(scene: Callable[[str], Scene]) -> None:
    """When every canary pod is deleted their users get the stable version again; the step is entered once more."""
    here = scene("pod-canary-all-deleted")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "8s"}]))
        here.wait("the step", live(20))
        here.misbehave({"versions": {str(NEXT): {"load_seconds": 15}}})
        for pod in here.pods("canary"):
            here.kube.delete("Pod", pod["metadata"]["name"])
        here.wait("leaving the traffic", lambda _: here.weight() == 0)
        out = more_answers(traffic)
        here.misbehave({})
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 20, 0, 20, 0]
    assert not failures(traffic.answers()[out:])


@pytest.mark.parametrize("phase", some_often(("step 1", "Promoting half way"), "step 1"))
def test_canary_that_dies_with_traffic_is_rejected(scene: Callable[[str], Scene], phase: str) -> None:
    """Canary servers that end by themselves while they have weight are proof, without any metric."""
    here = scene(f"pod-canary-dies-{phase.lower().replace(' ', '-')}")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        reach(here, phase)
        for pod in here.pods("canary"):
            os.kill(model_server(pod), signal.SIGKILL)
        status = here.wait("the end", ended(NEXT), 120)
        end = more_answers(traffic)
    assert outcome(status, NEXT) == "RolledBack", status
    assert status["rejected"]["reason"] == "CanaryUnavailable"
    assert "137" in status["rejected"]["message"]
    assert seen[-1] == 0
    assert seen.count(0) == 2
    assert not failures(traffic.answers()[end:])
    assert {answer.version for answer in traffic.answers()[end:]} == {STABLE}
