"""Prometheus does not answer, or answers what nobody can judge by: good versions wait, bad ones are still caught."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from playground.interference import Rule
from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    last_version,
    live,
    model_server,
    outcome,
    start,
    wait_for_answers,
)
from tests.witness import Witness, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.interference import Lane
    from playground.scene import Scene
    from tests.interference.conftest import Staged

STEPS = [20, 50]
_ERRORS = {
    "name": "errors",
    "kind": "ErrorRate",
    "test": "Limits",
    "window": "5s",
    "minRequests": 10,
    "limits": {"max": "0.2"},
}
_UP = {
    "name": "up",
    "kind": "Query",
    "query": 'min(up{namespace="${namespace}",pod=~"${pods}"})',
    "limits": {"min": "1"},
}
_QUERY = r"^/api/v1/query"
_ASKS_UP = r"^/api/v1/query.*query=min\(up"
_FAILING = {"versions": {str(NEXT): {"error_rate": 0.6, "error_code": "INTERNAL"}}}
_LONGEST_STEP = 2.0


def _vector(*values: str) -> dict[str, Any]:
    """Prometheus' answer with one series per value."""
    series = [{"metric": {"number": str(n)}, "value": [0, value]} for n, value in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": series}}


_UNAVAILABLE = {"status": "error", "errorType": "unavailable", "error": "the storage is away"}


def judged(here: Scene, lane: Lane, *metrics: dict[str, Any]) -> dict[str, Any]:
    """Version 102, judged by way of the lane; its first step may last two seconds at most, if it is not held."""
    steps = [{"weight": 20, "duration": "1s", "maxDuration": "2s"}, {"weight": 50, "duration": "2s"}]
    strategy = {**here.manifest(NEXT)["spec"]["strategy"], "steps": steps, "bake": {"duration": "2s"}}
    prometheus = {"address": lane.prometheus, "timeout": "4s"}
    analysis = {"prometheus": prometheus, "interval": "1s", "metrics": [*metrics]}
    return here.manifest(NEXT, strategy=strategy, analysis=analysis)


def verdict(name: str, wanted: str) -> Callable[[dict[str, Any]], bool]:
    """Status shows this verdict of this metric."""
    return lambda status: any((j["name"], j["verdict"]) == (name, wanted) for j in status.get("analysis", ()))


@pytest.mark.parametrize(
    ("name", "silence", "metric", "shown"),
    [
        pytest.param("prom-away", Rule(target=_QUERY, drop=True), _ERRORS, "Error", id="away"),
        pytest.param("prom-slow", Rule(target=_QUERY, delay=20), _ERRORS, "Error", id="slow"),
        pytest.param("prom-5xx", Rule(target=_QUERY, status=503, answer=_UNAVAILABLE), _ERRORS, "Error", id="5xx"),
        pytest.param("prom-empty", Rule(target=_QUERY, answer=_vector()), _ERRORS, "NoData", id="empty"),
        pytest.param(
            "prom-nan", Rule(target=_ASKS_UP, answer=_vector("NaN")), _UP, "NoData", id="NaN", marks=pytest.mark.long
        ),
        pytest.param(
            "prom-many",
            Rule(target=_ASKS_UP, answer=_vector("1", "1")),
            _UP,
            "Ambiguous",
            id="series",
            marks=pytest.mark.long,
        ),
        pytest.param("prom-stale", Rule(target=_QUERY, as_of=now()), _ERRORS, "NoData", id="stale"),
    ],
)
def test_silence_holds_a_good_version(
    staged: Callable[[str], Staged],
    name: str,
    silence: Rule,
    metric: dict[str, Any],
    shown: str,
) -> None:
    """Without a usable answer the weight stays where it is, visibly and without end; with answers it goes on."""
    stand = staged(name)
    here, lane = stand.here, stand.lane
    start(here)
    lane.obey(silence)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(judged(here, lane, metric))
        held = here.wait("a visible hold", lambda s: live(20)(s) and verdict(metric["name"], shown)(s))
        assert shown in held["message"], held["message"]
        time.sleep(2 * _LONGEST_STEP)
        assert live(20)(here.status())
        lane.obey()
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    witness.assert_promoted(traffic.answers(), STEPS, since)


def test_silence_beyond_its_deadline_takes_the_version_back(staged: Callable[[str], Staged]) -> None:
    """A declared deadline ends the patience; a Prometheus that is back afterwards changes nothing any more."""
    stand = staged("prom-late")
    here, lane = stand.here, stand.lane
    start(here)
    lane.obey(Rule(target=_QUERY, drop=True))
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(judged(here, lane, {**_ERRORS, "deadline": "3s"}))
        status = here.wait("the end", ended(NEXT), 150)
        lane.obey()
        time.sleep(2 * _LONGEST_STEP)
    assert outcome(status, NEXT) == "RolledBack", status
    assert status["rejected"]["reason"] == "AnalysisError"
    assert here.status()["phase"] == "RolledBack"
    assert witness.walk(since) == [0, 20, 0]
    assert not failures(traffic.answers())
    assert last_version(here) == STABLE


def test_bad_version_is_caught_when_prometheus_is_back(staged: Callable[[str], Staged]) -> None:
    """What a silent Prometheus could not tell is judged as soon as it answers, at the weight that was held."""
    stand = staged("prom-back")
    here, lane = stand.here, stand.lane
    start(here)
    here.misbehave(_FAILING)
    lane.obey(Rule(target=_QUERY, drop=True))
    with Witness(here) as witness, here.traffic(rate=60) as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(judged(here, lane, _ERRORS))
        here.wait("a visible hold", lambda s: live(20)(s) and verdict("errors", "Error")(s))
        lane.obey()
        status = here.wait("the end", ended(NEXT), 150)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "RolledBack", status
    assert status["rejected"]["reason"] == "AnalysisFailed"
    witness.assert_taken_back(traffic.answers(), STEPS[:1], NEXT, since)


@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        pytest.param("prom-lagging", Rule(target=_QUERY, delay=0.8), id="slow but in time"),
        pytest.param("prom-half", Rule(target=_ASKS_UP, answer=_vector("1", "1")), id="one metric ambiguous"),
        pytest.param("prom-flaky", Rule(target=_QUERY, drop=True, skip=12, times=6), id="away for a moment"),
    ],
)
def test_bad_version_is_caught_in_spite_of(staged: Callable[[str], Staged], name: str, trouble: Rule) -> None:
    """As long as one metric can prove a version bad, trouble with others, or now and then, does not save it."""
    stand = staged(name)
    here, lane = stand.here, stand.lane
    start(here)
    here.misbehave(_FAILING)
    lane.obey(trouble)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(judged(here, lane, _ERRORS, _UP))
        status = here.wait("the end", ended(NEXT), 150)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "RolledBack", status
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert "errors" in status["history"][0]["evidence"]
    witness.assert_taken_back(traffic.answers(), STEPS, NEXT, since)


def test_counters_that_a_restart_resets_are_still_counted(staged: Callable[[str], Staged]) -> None:
    """Stable pods that restart within the window count from zero: what they answer since then is enough to compare."""
    stand = staged("prom-reset")
    here, lane = stand.here, stand.lane
    start(here)
    compared = {**_ERRORS, "limits": {"maxRatioToStable": "2", "maxIfStableZero": "0.2"}, "onLowTraffic": "Abort"}
    manifest = judged(here, lane, {**compared, "window": "60s"})
    manifest["spec"]["strategy"]["steps"] = [{"weight": 80, "duration": "10s", "maxDuration": "30s"}]
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic, 600)
        since = now()
        here.kube.apply(manifest)
        here.wait("the step", live(80))
        for pod in here.pods("stable"):
            os.kill(model_server(pod), signal.SIGKILL)
        status = here.wait("the end", ended(NEXT), 200)
    assert outcome(status, NEXT) == "Promoted", status
    assert witness.walk(since) == [0, 80, 0]
