"""Metrics with queries of their own on the real parts: what a model predicts, and the GPU memory that it takes.

The stand-in exports both as people's own counters and GPU exporters do. Proof of either takes some minutes by design.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import NEXT, STABLE, ended, live, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

LONG = 600.0
CLASSES = {
    "name": "classes",
    "kind": "Distribution",
    "query": 'sum by (pod, class) (prediction_class_total{pod=~"${pods}"})',
    "onSuspicion": "Ignore",
}
MEMORY = {
    "name": "gpu-memory",
    "kind": "Gauge",
    "query": 'max by (pod) (gpu_memory_used_bytes{pod=~"${pods}"})',
    "failures": 1,
}


def judged(here: Scene, metric: dict[str, Any]) -> dict[str, Any]:
    """A manifest that rolls 102 out in one step, with this metric alone."""
    manifest = here.manifest(NEXT)
    manifest["spec"]["strategy"]["steps"] = [{"weight": 50, "duration": "30m"}]
    prometheus = {"address": "http://10.0.0.1:9090", "timeout": "2s"}
    manifest["spec"]["analysis"] = {"prometheus": prometheus, "interval": "2s", "metrics": [metric]}
    return manifest


def said(metric: str, verdict: str, words: str = "") -> Callable[[dict[str, Any]], bool]:
    """This is the metric's verdict, in these words."""
    return lambda status: any(
        (item["name"], item["verdict"]) == (metric, verdict) and words in item.get("detail", "")
        for item in status.get("analysis", ())
    )


def of_versions(stable: dict[str, Any], canary: dict[str, Any]) -> dict[str, Any]:
    """What both versions do."""
    return {"versions": {str(STABLE): stable, str(NEXT): canary}}


def test_gauge_that_is_not_one_value_of_each_pod_is_ambiguous(scene: Callable[[str], Scene]) -> None:
    """Series with labels beside the pod's hold the rollout, before any traffic, with the fix in status."""
    here = scene("judge-gauge")
    start(here)
    here.misbehave(of_versions({"gpu_memory": 4e9}, {"gpu_memory": 4e9}))
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, {**MEMORY, "query": 'gpu_memory_used_bytes{pod=~"${pods}"}'}))
        here.wait("an ambiguous gauge", said("gpu-memory", "Ambiguous", "aggregate with max by (pod)"))
        assert here.weight() == 0


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_version_that_predicts_something_else_is_taken_back(scene: Callable[[str], Scene]) -> None:
    """Suspected within seconds, proven after some minutes: cats are predicted twice as often."""
    here = scene("judge-classes")
    start(here)
    here.misbehave(of_versions({"classes": {"cat": 1, "dog": 3}}, {"classes": {"cat": 1, "dog": 1}}))
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, CLASSES))
        here.wait("the step", live(50), LONG)
        here.wait("a suspicion", said("classes", "Suspect"), LONG)
        status = here.wait("the end", ended(NEXT), LONG)
    entry = status["history"][0]
    assert (entry["outcome"], entry["reason"]) == ("RolledBack", "AnalysisFailed"), status
    assert "classes FAIL: canary" in entry["evidence"]
    assert "KS 0.2" in entry["evidence"]


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_version_that_leaks_memory_is_taken_back(scene: Callable[[str], Scene]) -> None:
    """The pod that grows is named, with by how much in a minute; first there are minutes in which nothing is said."""
    here = scene("judge-leak")
    start(here)
    here.misbehave(of_versions({"gpu_memory": 4e9}, {"gpu_memory": 4e9, "gpu_memory_per_request": 1e5}))
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(judged(here, {**MEMORY, "limits": {"maxGrowthPerMinute": "10000000"}}))
        here.wait("the step", live(50), LONG)
        here.wait("nothing proven", said("gpu-memory", "Inconclusive"))
        status = here.wait("the end", ended(NEXT), LONG)
    entry = status["history"][0]
    assert (entry["outcome"], entry["reason"]) == ("RolledBack", "AnalysisFailed"), status
    for words in (
        "gpu-memory FAIL: canary median",
        "over 1.25 times stable in",
        "pod judge-leak-canary-",
        " a minute over",
    ):
        assert words in entry["evidence"]
