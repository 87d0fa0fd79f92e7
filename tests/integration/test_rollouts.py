"""The main job on the real parts: what users of the models get, and what the object says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    NEXT,
    STABLE,
    containers,
    ended,
    failures,
    last_version,
    live,
    more_answers,
    outcome,
    quick,
    start,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene


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
            {"name": "error-rate", "kind": "ErrorRate", "test": "Limits", "limits": {"max": "0.1"}},
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


def test_rejected_canary_is_kept_for_a_look(scene: Callable[[str], Scene]) -> None:
    """With `retainCanaryFor` the canary outlasts its rejection: it answers who names it, and nobody else."""
    here = scene("kept")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, rollback={"retainCanaryFor": "10m"}))
        here.wait("a step", live(20))
        # On a busy machine proxies take in later what a route says than they say that they have.
        here.wait("the canary's answer", lambda _: here.ask_by_hand("canary") == str(NEXT))
        here.misbehave({"versions": {str(NEXT): {"error_rate": 1.0, "error_code": "INTERNAL"}}})
        status = here.wait("the end", ended(NEXT), 120)
        here.misbehave({})
        answered = more_answers(traffic)
        assert {answer.version for answer in traffic.answers()[answered:]} == {STABLE}
        assert here.ask_by_hand("canary") == str(NEXT)
        here.kube.apply(quick(here, STABLE))
        here.wait("the canary's end", lambda _: not here.pods("canary"))
    assert outcome(status, NEXT) == "RolledBack", status
    assert "Its canary is kept without traffic until" in status["message"]


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
