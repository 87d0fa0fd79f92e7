"""Nodes come and go, GPUs are taken: nobody's fault, so nothing is rejected for it."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    healthy,
    is_ready,
    last_version,
    live,
    more_answers,
    outcome,
    quick,
    stage,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playground.kube import Kube, Object
    from playground.scene import Scene

_OFFLINE = "playground.modelrollout.io/offline"
_MIG = "nvidia.com/mig-1g.10gb"
_SLICES = 7
_BAD = {str(NEXT): {"error_rate": 1.0}}
_PATIENT = [{"weight": 20, "duration": "60s"}]


def _spread(scene: Scene, version: int, **strategy: Any) -> Object:
    """A quick rollout of which no two pods share a node: two stable pods and a canary on the three nodes."""
    term = {
        "labelSelector": {"matchLabels": {"modelrollout.io/rollout": scene.name}},
        "topologyKey": "kubernetes.io/hostname",
    }
    fields = quick(scene, version, **strategy)
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    fields["spec"]["serving"]["pod"]["affinity"] = affinity
    return fields


def _serve(scene: Scene, fields: Object) -> None:
    scene.publish(STABLE, NEXT)
    scene.kube.apply(fields)
    scene.wait("the first version serving", healthy)


def _node_url(kube: Kube, name: str = "") -> str:
    return f"{kube.url}/api/v1/nodes" + (f"/{name}" if name else "")


@contextmanager
def _offline(kube: Kube, node: str) -> Iterator[None]:
    """The node's processes are dead and it does not report, while the block lasts; then it is back."""

    def mark(value: str | None) -> None:
        body = {"metadata": {"annotations": {_OFFLINE: value}}}
        headers = {"Content-Type": "application/merge-patch+json"}
        kube.session.patch(_node_url(kube, node), json=body, headers=headers, timeout=10).raise_for_status()

    mark("true")
    try:
        yield
    finally:
        mark(None)


@contextmanager
def _deleted(kube: Kube, node: str) -> Iterator[None]:
    """There is no such node while the block lasts; its pods are garbage. Then it joins again, empty."""
    found = kube.session.get(_node_url(kube, node), timeout=10).json()
    kube.session.delete(_node_url(kube, node), timeout=10).raise_for_status()
    try:
        yield
    finally:
        anew = {"metadata": {"name": node, "labels": found["metadata"]["labels"]}}
        kube.session.post(_node_url(kube), json=anew, timeout=10).raise_for_status()


def _node_of(scene: Scene, track: str) -> str:
    return str(scene.pods(track)[0]["spec"]["nodeName"])


def test_node_of_the_canary_goes_and_comes_back(scene: Callable[[str], Scene]) -> None:
    """With the canary's node the canary's traffic goes; when it is back the step is entered again, no rejection."""
    here = scene("node-canary-back")
    _serve(here, _spread(here, STABLE))
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(_spread(here, NEXT, steps=[{"weight": 20, "duration": "12s"}]))
        here.wait("the step", live(20))
        with _offline(here.kube, _node_of(here, "canary")):
            here.wait("leaving the traffic", lambda _: here.weight() == 0)
            assert stage("Progressing")(here.status())
            more_answers(traffic)
            out = more_answers(traffic)
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 20, 0, 20, 0]
    assert not failures(traffic.answers()[out:])


@pytest.mark.long  # pods of a deleted node are garbage after forty seconds
def test_node_of_the_canary_goes_for_good(scene: Callable[[str], Scene]) -> None:
    """When the canary's node is deleted its pod is made on another one, and the step is entered again there."""
    here = scene("node-canary-gone")
    _serve(here, quick(here, STABLE))
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "12s"}]))
        here.wait("the step", live(20))
        node = _node_of(here, "canary")
        with _offline(here.kube, node):
            here.wait("leaving the traffic", lambda _: here.weight() == 0)
            with _deleted(here.kube, node):
                here.wait("another node", lambda _: _placed_elsewhere(here, node), 150)
                status = here.wait("the end", ended(NEXT), 150)
                end = more_answers(traffic)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 20, 0, 20, 0]
    assert not failures(traffic.answers()[end:])
    assert last_version(here) == NEXT


def _placed_elsewhere(scene: Scene, node: str) -> bool:
    return any(is_ready(pod) and pod["spec"]["nodeName"] != node for pod in scene.pods("canary"))


@pytest.mark.long
def test_node_of_a_stable_pod_is_away_at_the_abort(scene: Callable[[str], Scene]) -> None:
    """With a stable pod's node away a bad version still loses its traffic; going back ends when the pod is back."""
    here = scene("node-stable-away")
    _serve(here, _spread(here, STABLE))
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(_spread(here, NEXT, steps=_PATIENT))
        here.wait("the step", live(20))
        lost = here.pods("stable")[0]
        with _offline(here.kube, lost["spec"]["nodeName"]):
            here.wait("an unready pod", lambda _: sum(is_ready(pod) for pod in here.pods("stable")) == 1)
            here.misbehave({"versions": _BAD})
            here.wait("the abort", lambda s: stage("RollingBack")(s) and lost["metadata"]["name"] in s["message"])
            assert here.weight() == 0
        status = here.wait("the end", ended(NEXT), 120)
        end = more_answers(traffic)
    assert outcome(status, NEXT) == "RolledBack", status
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert seen == [0, 20, 0]
    assert not failures(traffic.answers()[end:])
    assert {answer.version for answer in traffic.answers()[end:]} == {STABLE}


def _on_slices(scene: Scene, version: int) -> Object:
    """A quick rollout of one stable pod, each pod on a MIG slice; a canary has eight seconds to become ready."""
    fields = quick(scene, version, replicas=1, canaryReadyDeadline="8s")
    fields["spec"]["serving"]["gpu"] = {"resource": _MIG, "count": 1}
    return fields


@contextmanager
def _slices_taken(kube: Kube, count: int) -> Iterator[None]:
    """Somebody else's pod has so many of the slices while the block lasts."""
    limits = {"limits": {_MIG: count}}
    container = {"name": "training", "image": "playground/sleep", "resources": limits}
    pod = {"metadata": {"name": "training"}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 0}}
    url = f"{kube.url}/api/v1/namespaces/default/pods"
    kube.session.post(url, json=pod, timeout=10).raise_for_status()
    try:
        _until_it_runs(kube, "training")
        yield
    finally:
        kube.delete("Pod", "training")


def _until_it_runs(kube: Kube, pod: str) -> None:
    """Slices of pods on their way out are free only once those have ended."""
    for _ in range(600):
        if is_ready(kube.get("Pod", pod) or {}):
            return
        time.sleep(0.1)
    raise AssertionError(f"{pod} never ran")


@pytest.mark.long
def test_canary_waits_for_a_gpu_as_long_as_it_takes(scene: Callable[[str], Scene]) -> None:
    """Without a free GPU no canary is started, the deadline does not run, and the first free one is taken."""
    here = scene("gpu-taken")
    _serve(here, _on_slices(here, STABLE))
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        with _slices_taken(here.kube, _SLICES - 1):
            here.kube.apply(_on_slices(here, NEXT))
            here.wait("waiting for a GPU", lambda s: stage("Preparing")(s) and "InsufficientGPU" in s["message"])
            more_answers(traffic, 900)  # at 60 a second that is well beyond the deadline of the canary
            assert "InsufficientGPU" in here.status()["message"]
            assert not here.pods("canary")
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())


@pytest.mark.long
def test_rollout_that_waits_for_a_gpu_can_be_cancelled(scene: Callable[[str], Scene]) -> None:
    """Going back while the canary waits for a GPU needs none."""
    here = scene("gpu-taken-cancel")
    _serve(here, _on_slices(here, STABLE))
    with _slices_taken(here.kube, _SLICES - 1):
        here.kube.apply(_on_slices(here, NEXT))
        here.wait("waiting for a GPU", lambda s: stage("Preparing")(s) and "InsufficientGPU" in s["message"])
        here.kube.apply(_on_slices(here, STABLE))
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "Cancelled"
    assert healthy(here.wait("health", healthy))
