"""The main job on the real parts: what users of the models get, and what the object says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from playground import control

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.load import Answer
    from playground.scene import Scene, Traffic

STABLE, NEXT = 101, 102


def healthy(status: dict[str, Any]) -> bool:
    """The rollout is settled and all stable pods answer."""
    return status.get("phase") == "Healthy"


def ended(version: int) -> Callable[[dict[str, Any]], bool]:
    """The rollout of a version is over."""
    return lambda status: "rollout" not in status and outcome(status, version) is not None


def outcome(status: dict[str, Any], version: int) -> str | None:
    """How the last rollout of a version ended."""
    return next((e["outcome"] for e in status.get("history", ()) if e["version"] == version), None)


def stage(name: str) -> Callable[[dict[str, Any]], bool]:
    """The rollout is in this stage."""
    return lambda status: status.get("rollout", {}).get("stage") == name


def live(weight: int) -> Callable[[dict[str, Any]], bool]:
    """This weight is live."""
    return lambda status: status.get("rollout", {}).get("weightLive") == weight


def start(scene: Scene, **spec: Any) -> None:
    """Version 101 serves, 102 is published."""
    scene.publish(STABLE, NEXT)
    scene.kube.apply(scene.manifest(STABLE, **spec))
    scene.wait("the first version serving", healthy)


def wait_for_answers(traffic: Traffic, count: int = 100) -> None:
    """Users have been answered."""
    while len(traffic.answers()) < count:
        time.sleep(0.1)


def failures(answers: list[Answer]) -> list[Answer]:
    """Answers that were no right answers."""
    return [answer for answer in answers if answer.error]


def containers(scene: Scene) -> set[tuple[str, int]]:
    """Stable pods with their restarts: the same before and after a promotion."""
    return {
        (pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in scene.pods("stable")
    }


def last_version(scene: Scene) -> int | None:
    """Who answers now."""
    with scene.traffic(rate=20) as traffic:
        wait_for_answers(traffic, 10)
    versions = {answer.version for answer in traffic.answers()}
    assert len(versions) == 1, versions
    return versions.pop()


def test_first_version_serves_over_rest_and_grpc(scene: Callable[[str], Scene]) -> None:
    """The first version is made from nothing and answers both protocols; everything made is owned by the object."""
    here = scene("first")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
    assert not failures(traffic.answers())
    assert {(a.protocol, a.version) for a in traffic.answers()} == {("rest", STABLE), ("grpc", STABLE)}
    uid = here.rollout()["metadata"]["uid"]
    for kind, name in (("Deployment", "first-stable"), ("ConfigMap", "first-stable"), ("HTTPRoute", "first")):
        child = here.kube.get(kind, name)
        assert child is not None
        assert child["metadata"]["ownerReferences"][0]["uid"] == uid


def test_good_version_is_promoted_without_a_failed_request(scene: Callable[[str], Scene]) -> None:
    """A good version goes through its steps and is promoted; no request fails, no stable pod restarts."""
    here = scene("good")
    start(here)
    before = containers(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT))
        status = here.wait("the end", ended(NEXT), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())
    assert traffic.answers()[-1].version == NEXT
    assert containers(here) == before
    assert here.pods("canary") == [] or all("deletionTimestamp" in p["metadata"] for p in here.pods("canary"))


@pytest.mark.parametrize(
    ("name", "fault", "metric"),
    [
        pytest.param(
            "bad-errors",
            {"error_rate": 0.5, "error_code": "INTERNAL"},
            {"name": "error-rate", "kind": "ErrorRate", "limits": {"max": "0.1"}},
            id="by errors",
        ),
        pytest.param(
            "bad-latency",
            {"latency": 0.3},
            {
                "name": "latency",
                "kind": "Latency",
                "quantile": "0.9",
                "limits": {"maxRatioToStable": "3", "max": "0.2"},
            },
            id="by latency",
        ),
    ],
)
def test_bad_version_is_taken_back(
    scene: Callable[[str], Scene], name: str, fault: dict[str, Any], metric: dict[str, Any]
) -> None:
    """A bad version is caught, leaves the traffic, and is rejected with its evidence; users get 101 again."""
    here = scene(name)
    start(here)
    here.misbehave({"versions": {str(NEXT): fault}})
    analysis = {
        "prometheus": {"address": "http://10.0.0.1:9090"},
        "interval": "1s",
        "metrics": [{**metric, "window": "5s", "minRequests": 10}],
    }
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT, analysis=analysis))
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "RolledBack", status
    assert status["rejected"]["version"] == NEXT
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert metric["name"] in status["history"][0]["evidence"]
    assert here.weight() == 0
    assert last_version(here) == STABLE
    assert here.rollout()["spec"]["model"]["version"] == NEXT
    here.wait("staying rejected", lambda s: s["phase"] == "RolledBack" and "rollout" not in s)


def test_missing_version_is_rejected_before_any_traffic(scene: Callable[[str], Scene]) -> None:
    """A version whose directory does not exist never gets traffic; the message names the path."""
    here = scene("missing")
    start(here)
    strategy = {**here.manifest(NEXT)["spec"]["strategy"], "canaryReadyDeadline": "5s"}
    here.kube.apply(here.manifest(199, strategy=strategy))
    status = here.wait("the end", ended(199))
    assert outcome(status, 199) == "RolledBack"
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert "/models/missing/199" in status["rejected"]["message"]
    assert last_version(here) == STABLE


def test_prometheus_outage_holds_a_good_version(scene: Callable[[str], Scene]) -> None:
    """Without Prometheus the weight stays, visibly; when it is back the rollout goes on to its promotion."""
    here = scene("outage")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT))
        here.wait("the first step", live(20))
        control.ask(here.state, "stop", name="prometheus")
        here.wait("a visible hold", lambda s: "holdSince" in s.get("rollout", {}))
        held = here.status()
        assert held["rollout"]["stage"] == "Progressing"
        control.ask(here.state, "start", name="prometheus")
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())


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


def test_settled_object_is_not_written(scene: Callable[[str], Scene]) -> None:
    """When nothing changes nothing is written: the object and its children keep their resourceVersions."""
    here = scene("quiet")
    start(here)
    time.sleep(3)  # whatever is still settling

    def versions() -> list[str]:
        children = [("ModelRollout", "quiet"), ("HTTPRoute", "quiet"), ("ConfigMap", "quiet-stable")]
        found = [here.kube.get(kind, name) for kind, name in children]
        return [item["metadata"]["resourceVersion"] for item in found if item]

    before = versions()
    time.sleep(10)
    assert versions() == before
