"""Strategy or analysis edited while a rollout is under way: steps are frozen, everything else applies at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    history,
    live,
    quick,
    reach,
    settled,
    stage,
    start,
    versions_since,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene

LATER = 103
ONE_STEP = [{"weight": 70, "duration": "2s"}]
LONG_STEP = [{"weight": 20, "duration": "60s"}]


def _promoted_once(status: Object) -> bool:
    """Editing made no further attempt."""
    return [(e["attempt"], e["outcome"]) for e in status["history"]] == [(2, "Promoted"), (1, "Promoted")]


def _judging_latency(here: Scene, limit: str, **metric: Any) -> Object:
    """102 is in one long step, judged by the median of its latency."""
    manifest = quick(here, NEXT, replicas=1, steps=LONG_STEP)
    latency = manifest["spec"]["analysis"]["metrics"][1]
    manifest["spec"]["analysis"]["metrics"] = [{**latency, "limits": {"max": limit}, **metric}]
    return manifest


def _holds(status: Object) -> bool:
    """The step is held, and says so."""
    return live(20)(status) and "holding" in status["message"]


def _exited(here: Scene) -> bool:
    """A canary's server has ended by itself."""
    containers = [box for pod in here.pods("canary") for box in pod["status"].get("containerStatuses", ())]
    return any("terminated" in {**box.get("lastState", {}), **box.get("state", {})} for box in containers)


class _Weights:
    """Waits for the end of a version, and notes every weight that was live on the way."""

    def __init__(self, version: int) -> None:
        self._over = ended(version)
        self.seen: set[int] = set()

    def __call__(self, status: Object) -> bool:
        self.seen.add(status.get("rollout", {}).get("weightLive", 0))
        return self._over(status)


def test_steps_edited_before_the_first_apply(scene: Callable[[str], Scene]) -> None:
    """Until the first step begins the steps are the ones of `spec`, as they are now."""
    here = scene("steps-early")
    start(here)
    weights = _Weights(NEXT)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, "Preparing")
        here.kube.apply(quick(here, NEXT, steps=ONE_STEP))
        status = here.wait("the end", weights, 120)
    assert weights.seen == {0, 70}
    assert _promoted_once(status)
    assert not failures(traffic.answers())


def test_steps_edited_under_way_are_for_the_next_attempt(scene: Callable[[str], Scene]) -> None:
    """Once a step has begun the attempt keeps its steps; the next revision takes the new ones."""
    here = scene("steps-frozen")
    start(here)
    here.publish(LATER)
    first, second = _Weights(NEXT), _Weights(LATER)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, "step 1")
        here.kube.apply(quick(here, NEXT, steps=ONE_STEP))
        here.wait("the end of 102", first, 120)
        here.kube.apply(quick(here, LATER, steps=ONE_STEP))
        status = here.wait("the end of 103", second, 120)
    assert first.seen == {0, 20, 50}
    assert second.seen == {0, 70}
    assert history(status) == [(LATER, "Promoted"), (NEXT, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())


def test_tighter_limit_applies_at_once(scene: Callable[[str], Scene]) -> None:
    """A limit that is tightened in the middle of a step takes back a version that was good enough before."""
    here = scene("limit-tight")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"latency": 0.1}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_judging_latency(here, "0.5"))
        here.wait("passing", lambda s: live(20)(s) and s.get("lastVerdict") == "Pass", 120)
        here.kube.apply(_judging_latency(here, "0.02"))
        status = here.wait("the end", ended(NEXT), 60)
    assert history(status) == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert not failures(traffic.answers())


@pytest.mark.long
def test_looser_limit_applies_at_once(scene: Callable[[str], Scene]) -> None:
    """A limit that is loosened in the middle of a step lets a version pass that broke it before."""
    here = scene("limit-loose")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"latency": 0.1}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_judging_latency(here, "0.02", failures=100))
        here.wait("a breach", lambda s: live(20)(s) and s.get("lastVerdict") == "Inconclusive", 120)
        here.kube.apply(_judging_latency(here, "0.5", failures=1))
        status = here.wait("passing", lambda s: ended(NEXT)(s) or s.get("lastVerdict") == "Pass", 60)
    assert stage("Progressing")(status), status
    assert not failures(traffic.answers())


def test_metric_added_under_way_is_judged_at_once(scene: Callable[[str], Scene]) -> None:
    """A metric that is added in the middle of a step can take the version back in that step."""
    here = scene("metric-added")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"latency": 0.4}}})
    manifest = quick(here, NEXT, steps=LONG_STEP)
    errors, latency = manifest["spec"]["analysis"]["metrics"]
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        manifest["spec"]["analysis"]["metrics"] = [errors]
        here.kube.apply(manifest)
        here.wait("passing", lambda s: live(20)(s) and s.get("lastVerdict") == "Pass", 120)
        manifest["spec"]["analysis"]["metrics"] = [errors, latency]
        here.kube.apply(manifest)
        status = here.wait("the end", ended(NEXT), 60)
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert "latency" in status["rejected"]["message"]


def test_prometheus_address_corrected_ends_the_hold(scene: Callable[[str], Scene]) -> None:
    """A wrong address of Prometheus holds the first step; once it is corrected the same attempt goes on to the end."""
    here = scene("address")
    start(here)
    manifest = quick(here, NEXT)
    right = manifest["spec"]["analysis"]["prometheus"]
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        manifest["spec"]["analysis"]["prometheus"] = {"address": "http://10.0.0.1:9", "timeout": "1s"}
        here.kube.apply(manifest)
        held = here.wait("a visible hold", _holds, 120)
        manifest["spec"]["analysis"]["prometheus"] = right
        here.kube.apply(manifest)
        status = here.wait("the end", ended(NEXT), 120)
    assert "cannot be reached" in held["message"]
    assert _promoted_once(status)
    assert not failures(traffic.answers())


@pytest.mark.long
def test_analysis_removed_leaves_timed_steps(scene: Callable[[str], Scene]) -> None:
    """Without `analysis` the steps are timed; a hold for want of metrics ends when they are no longer asked for."""
    here = scene("unjudged")
    start(here)
    manifest = quick(here, NEXT)
    manifest["spec"]["analysis"]["prometheus"] = {"address": "http://10.0.0.1:9", "timeout": "1s"}
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(manifest)
        here.wait("a visible hold", _holds, 120)
        del manifest["spec"]["analysis"]
        here.kube.apply(manifest)
        status = here.wait("the end", ended(NEXT), 120)
    assert _promoted_once(status)
    assert not failures(traffic.answers())


@pytest.mark.long
def test_bake_edited_under_way_applies_at_once(scene: Callable[[str], Scene]) -> None:
    """A bake made longer is waited for; one made shorter than it has lasted is over."""
    here = scene("bake")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, "step 2")
        here.kube.apply(quick(here, NEXT, bake={"duration": "1h"}))
        here.wait("the bake without canary", lambda s: stage("Baking")(s) and not here.pods("canary"), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 180)
        assert stage("Baking")(here.status())
        here.kube.apply(quick(here, NEXT, bake={"duration": "1s"}))
        status = here.wait("the end", ended(NEXT), 60)
    assert _promoted_once(status)
    assert not failures(traffic.answers())
    assert settled(here)["stable"]["version"] == NEXT


def test_drain_edited_while_rolling_back_applies_at_once(scene: Callable[[str], Scene]) -> None:
    """A drain that is made shorter ends at once, and the rollback with it."""
    here = scene("drain-back")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"latency": 0.4}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, drainDuration="1h"))
        here.wait("the rollback, draining", lambda s: stage("RollingBack")(s) and "draining" in s["progress"], 120)
        assert here.pods("canary")
        here.kube.apply(quick(here, NEXT, drainDuration="1s"))
        status = here.wait("the end", ended(NEXT), 60)
    assert history(status) == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())


@pytest.mark.long
def test_drain_edited_while_baking_applies_at_once(scene: Callable[[str], Scene]) -> None:
    """The canary of a promoted version stays for the drain as it is now; the bake is not over before it is gone."""
    here = scene("drain-bake")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, drainDuration="1h"))
        baking = here.wait("the bake", stage("Baking"), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 180)
        assert here.pods("canary")
        assert stage("Baking")(here.status())
        here.kube.apply(quick(here, NEXT, drainDuration="1s"))
        status = here.wait("the end", ended(NEXT), 60)
    assert baking["rollout"]["attempt"] == 2
    assert _promoted_once(status)
    assert not failures(traffic.answers())


def test_deadline_edited_while_preparing_applies_at_once(scene: Callable[[str], Scene]) -> None:
    """A version that refuses to load is rejected as soon as the deadline of `spec`, as it is now, has passed."""
    here = scene("deadline")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"refuse_load": "no such op: Frobnicate"}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, canaryReadyDeadline="1h"))
        here.wait("a canary that cannot load", lambda s: stage("Preparing")(s) and _exited(here), 60)
        here.kube.apply(quick(here, NEXT, canaryReadyDeadline="3s"))
        status = here.wait("the end", ended(NEXT), 60)
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert "Frobnicate" in status["rejected"]["message"]
    assert versions_since(traffic, 0) == {STABLE}
    assert not failures(traffic.answers())
