"""A roll that does not simply go on: back, superseded, failed, undone, without a free GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.rolls import MARK, changed, marked, own_config_maps
from tests.situations import (
    LATER,
    NEXT,
    STABLE,
    attempts,
    containers,
    ended,
    failures,
    history,
    live,
    over_at,
    promote,
    quick,
    settled,
    stage,
    start,
    versions_since,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene


def _half_rolled(scene: Scene, replicas: int = 2) -> None:
    """102 passes its steps, then one new stable pod after the other comes up, slowly."""
    manifest = changed(scene, NEXT, replicas, env=MARK)
    scene.kube.apply(manifest)
    scene.wait("step 2", live(50), 120)
    scene.misbehave({"versions": {str(NEXT): {"load_seconds": 4}}})
    scene.wait("the roll", stage("Promoting"), 60)
    scene.wait("a new pod", lambda _: any(marked(scene)), 60)


def test_back_to_stable_half_way_through_a_roll(scene: Callable[[str], Scene]) -> None:
    """`spec` goes back while pods are being replaced: new pods go, the old ones are complete again, Cancelled."""
    here = scene("roll-back")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        _half_rolled(here)
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the end", attempts(2), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(NEXT, "Cancelled"), (STABLE, "Promoted")]
    assert versions_since(traffic, over_at(status, NEXT)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here)
    assert marked(here) == [False, False]
    assert own_config_maps(here) == ["roll-back-stable"]


@pytest.mark.long
def test_new_revision_half_way_through_a_roll(scene: Callable[[str], Scene]) -> None:
    """Another revision supersedes a roll under way: the old pods are complete again before it is tried by steps."""
    here = scene("roll-superseded")
    start(here)
    here.publish(LATER)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        _half_rolled(here)
        status = promote(here, LATER)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(LATER, "Promoted"), (NEXT, "Superseded"), (STABLE, "Promoted")]
    assert versions_since(traffic, over_at(status, LATER)) == {LATER}
    assert not failures(traffic.answers())
    settled(here)
    assert marked(here) == [False, False]


def test_roll_that_fails_is_taken_back(scene: Callable[[str], Scene]) -> None:
    """A new stable pod that cannot load what the canary could is proof enough: rejected, old pods serve throughout."""
    here = scene("roll-fails")
    start(here)
    before = containers(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, promotion={"method": "Roll"}, canaryReadyDeadline="10s"))
        here.wait("step 2", live(50), 120)
        here.misbehave({"versions": {str(NEXT): {"refuse_load": "no such op: Frobnicate"}}})
        status = here.wait("the end", ended(NEXT), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert status["rejected"]["reason"] == "PromotionLoadFailed"
    assert "Frobnicate" in status["rejected"]["message"]
    assert versions_since(traffic, over_at(status, NEXT)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here, "RolledBack")
    assert containers(here) == before


@pytest.mark.long
def test_undo_of_a_roll_is_a_roll_without_steps(scene: Callable[[str], Scene]) -> None:
    """Going back to fields that served before takes no steps either, but pods have to be replaced once more."""
    here = scene("roll-undo")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(changed(here, NEXT, env=MARK))
        here.wait("the rolled pods", attempts(2), 120)
        with weights(here) as seen:
            here.kube.apply(quick(here, STABLE))
            status = here.wait("the end", attempts(3), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert (status["history"][0]["outcome"], status["history"][0]["reason"]) == ("Promoted", "Undone")
    assert seen == [0]
    assert versions_since(traffic, over_at(status, STABLE)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here)
    assert marked(here) == [False, False]


def test_roll_waits_for_a_free_gpu(scene: Callable[[str], Scene]) -> None:
    """A roll begins when there is room for one pod more; until then the canary stays where it is, and users too."""
    here = scene("roll-gpu")
    here.publish(STABLE, NEXT)
    gpu = {"resource": "nvidia.com/gpu", "count": 1}
    here.kube.apply(changed(here, STABLE, gpu=gpu))
    here.wait("the first version serving", attempts(1))
    neighbour = _neighbour()
    here.kube.apply(neighbour)
    try:
        with here.traffic() as traffic:
            wait_for_answers(traffic)
            manifest = changed(here, NEXT, gpu=gpu)
            manifest["spec"]["strategy"]["promotion"] = {"method": "Roll"}
            here.kube.apply(manifest)
            held = here.wait("no room", lambda s: stage("Promoting")(s) and "InsufficientGPU" in s["message"], 120)
            assert here.weight() == 50
            here.kube.delete("Pod", neighbour["metadata"]["name"])
            status = here.wait("the end", ended(NEXT), 120)
    finally:
        here.kube.delete("Pod", neighbour["metadata"]["name"])
    assert "nvidia.com/gpu" in held["message"]
    assert history(status) == [(NEXT, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())


def _neighbour() -> Object:
    """A pod of somebody else that takes one of the four whole GPUs."""
    gpu = {"nvidia.com/gpu": "1"}
    container = {"name": "training", "image": "playground/sleep", "resources": {"limits": gpu, "requests": gpu}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "training", "namespace": "default"},
        "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
    }
