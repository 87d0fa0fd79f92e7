"""The sequential judge on the real parts: each verdict, and both reactions (docs/design.md, "Analysis").

Stable is watched for a minute before the canary gets traffic, and proof takes two minutes: these tests are long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.judge.memory_json import memory_from_text
from tests.situations import NEXT, STABLE, ended, live, outcome, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

LONG = 240.0
PROMETHEUS = {"address": "http://10.0.0.1:9090", "timeout": "2s"}
STEPS = [{"weight": 20, "duration": "5s"}, {"weight": 50, "duration": "120s"}]


def judged(here: Scene, version: int, steps: list[dict[str, Any]] | None = None, **analysis: Any) -> dict[str, Any]:
    """A manifest with one sequential metric that is looked at each second."""
    manifest = here.manifest(version)
    manifest["spec"]["strategy"]["steps"] = STEPS if steps is None else steps
    metric = {"name": "error-rate", "kind": "ErrorRate", **analysis.pop("metric", {})}
    manifest["spec"]["analysis"] = {"prometheus": PROMETHEUS, "interval": "1s", "metrics": [metric], **analysis}
    return manifest


def failing(rate: float, **more: Any) -> dict[str, Any]:
    """Faults of 102: this share of its answers fails."""
    return {"versions": {str(NEXT): {"error_rate": rate, "error_code": "INTERNAL", **more}}}


def verdict(wanted: str, metric: str = "error-rate") -> Callable[[dict[str, Any]], bool]:
    """This is the metric's verdict."""
    return lambda status: any((j["name"], j["verdict"]) == (metric, wanted) for j in status.get("analysis", ()))


def suspected(status: dict[str, Any]) -> bool:
    """A metric suspects the canary."""
    return "suspectedSince" in status.get("rollout", {})


def test_version_that_goes_bad_is_suspected_then_proven(scene: Callable[[str], Scene]) -> None:
    """Suspect takes the weight back to the first step's; Fail ends it, with both sides' counts as evidence."""
    here = scene("judge-fail")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, NEXT))
        here.wait("the second step", live(50), LONG)
        here.misbehave(failing(0.1))
        status = here.wait("a suspicion", suspected, LONG)
        assert status["rollout"]["suspectedBy"] == "error-rate"
        here.wait("weight back at the first step's", live(20))
        status = here.wait("the end", ended(NEXT), LONG)
    entry = status["history"][0]
    assert (entry["outcome"], entry["reason"]) == ("RolledBack", "AnalysisFailed"), status
    for words in ("error-rate FAIL: canary", "bad of", ", stable 0 of", "evidence", ">= 100"):
        assert words in entry["evidence"]
    remembered = here.kube.get("ConfigMap", "judge-fail-analysis")
    assert remembered is not None
    memory = memory_from_text(remembered["data"]["memory.json"])
    assert memory is not None
    assert memory.metrics["error-rate"].case is not None


def test_suspicion_that_is_not_confirmed_is_dropped(scene: Callable[[str], Scene]) -> None:
    """A version that had one bad moment loses time, not its chance: it goes on from the step it was in."""
    here = scene("judge-doubt")
    start(here)
    steps = [{"weight": 20, "duration": "5s"}, {"weight": 50, "duration": "15s"}]
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, NEXT, steps, suspicionDuration="10s"))
        here.wait("the second step", live(50), LONG)
        here.misbehave(failing(0.2))
        here.wait("a suspicion", suspected)
        here.misbehave({})
        here.wait("weight back at the first step's", live(20))
        status = here.wait("the second step again", lambda s: live(50)(s) and not suspected(s), LONG)
        assert status["rollout"]["suspicions"] >= 1
        status = here.wait("the end", ended(NEXT), LONG)
    assert outcome(status, NEXT) == "Promoted", status


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_suspicion_may_take_the_canary_out(scene: Callable[[str], Scene]) -> None:
    """With StepOut a suspected canary has no traffic for a minute, in the first step too, and 2 % after that."""
    here = scene("judge-out")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        steps = [{"weight": 50, "duration": "30s"}]
        analysis = {"metric": {"onSuspicion": "StepOut"}, "suspicionDuration": "90s"}
        here.kube.apply(judged(here, NEXT, steps, **analysis))
        here.wait("the step", live(50), LONG)
        here.misbehave(failing(0.2))
        here.wait("a suspicion", suspected)
        here.wait("no traffic", lambda _: here.weight() == 0)
        here.misbehave({})
        here.wait("a little traffic", live(2), LONG)
        here.wait("the step again", live(50), LONG)
        status = here.wait("the end", ended(NEXT), LONG)
    assert outcome(status, NEXT) == "Promoted", status


def test_half_of_the_answers_bad_fails_at_once(scene: Callable[[str], Scene]) -> None:
    """The circuit breaker waits for no statistics: the first step's weight is gone before proof could be had."""
    here = scene("judge-breaker")
    start(here)
    here.misbehave(failing(0.9))
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, NEXT))
        status = here.wait("the end", ended(NEXT), LONG)
    entry = status["history"][0]
    assert (entry["outcome"], entry["reason"]) == ("RolledBack", "AnalysisFailed"), status
    assert "of the canary's last" in entry["message"]


@pytest.mark.long
def test_good_version_passes_where_that_is_required(scene: Callable[[str], Scene]) -> None:
    """With requirePass a step ends once it is shown that the canary is no worse; until then it is Inconclusive."""
    here = scene("judge-pass")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, NEXT, [{"weight": 50, "duration": "2s"}], metric={"requirePass": True}))
        here.wait("no proof yet", verdict("Inconclusive"), LONG)
        here.wait("proof", verdict("Pass"), 2 * LONG)
        status = here.wait("the end", ended(NEXT), LONG)
    assert outcome(status, NEXT) == "Promoted", status
    assert "error-rate PASS: canary 0 bad of" in status["history"][0]["evidence"]


def test_quiet_night_is_low_traffic(scene: Callable[[str], Scene]) -> None:
    """Without users there is nothing to tell; the step ends at its maxDuration."""
    here = scene("judge-night")
    start(here)
    here.kube.apply(judged(here, NEXT, [{"weight": 50, "duration": "2s", "maxDuration": "6s"}]))
    here.wait("too few requests", verdict("LowTraffic"), LONG)
    status = here.wait("the end", ended(NEXT), LONG)
    assert outcome(status, NEXT) == "Promoted", status


@pytest.mark.long
def test_canary_waits_for_something_to_compare_with(scene: Callable[[str], Scene]) -> None:
    """Without Prometheus the canary gets no traffic (Error); when it answers, the rollout goes on."""
    here = scene("judge-blind")
    start(here)
    blind = judged(here, NEXT, [{"weight": 50, "duration": "2s"}])
    blind["spec"]["analysis"]["prometheus"] = {"address": "http://10.0.0.1:9", "timeout": "1s"}
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(blind)
        status = here.wait("no answer", verdict("Error"), LONG)
        assert status["rollout"]["weightSet"] == 0
        assert "to compare with" in here.wait("a message", lambda s: "watching" in s["message"], LONG)["message"]
        here.kube.apply(judged(here, NEXT, [{"weight": 50, "duration": "2s"}]))
        status = here.wait("the end", ended(NEXT), LONG)
    assert outcome(status, NEXT) == "Promoted", status
    assert {answer.version for answer in traffic.answers() if answer.error} <= {None, STABLE}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_slow_version_is_taken_back(scene: Callable[[str], Scene]) -> None:
    """Latency is judged at bounds that are taken from stable; proof of a slow tail takes some minutes by design."""
    here = scene("judge-slow")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        metric = {"name": "latency", "kind": "Latency", "warmup": "5s"}
        here.kube.apply(judged(here, NEXT, [{"weight": 30, "duration": "30m"}], metric=metric))
        here.wait("the step", live(30), LONG)
        here.misbehave({"versions": {str(NEXT): {"latency": 1.0, "latency_rate": 0.3}}})
        status = here.wait("the end", ended(NEXT), 4 * LONG)
    entry = status["history"][0]
    assert (entry["outcome"], entry["reason"]) == ("RolledBack", "AnalysisFailed"), status
    assert "ms or failed of" in entry["evidence"]


@pytest.mark.long  # three minutes of evidence
def test_one_bad_pod_is_replaced(scene: Callable[[str], Scene]) -> None:
    """A canary pod that is bad alone is ended and made anew, with a warning; the version is promoted."""
    here = scene("judge-pod")
    start(here)
    steps = [{"weight": 50, "duration": "100s", "replicas": 3}]
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, NEXT, steps, metric={"onSuspicion": "Ignore"}))
        here.wait("the step", live(50), LONG)
        bad = here.pods("canary")[0]["metadata"]["name"]
        here.misbehave(failing(0.3, pods=bad))
        status = here.wait("a replaced pod", lambda s: "oddPods" in s.get("rollout", {}), LONG)
        assert status["rollout"]["oddPods"] == [bad]
        status = here.wait("the end", ended(NEXT), LONG)
    assert outcome(status, NEXT) == "Promoted", status
