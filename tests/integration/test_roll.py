"""Stable pods are replaced, not reloaded: `promotion.method: Roll`, and every change of what pods are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    NEXT,
    STABLE,
    containers,
    ended,
    failures,
    history,
    live,
    over_at,
    promote,
    quick,
    serving,
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

LATER = 103
MARK = [{"name": "MARK", "value": "new"}]


def _changed(scene: Scene, version: int, replicas: int = 2, **serving_fields: Any) -> Object:
    """A manifest that differs in serving fields."""
    manifest = quick(scene, version, replicas)
    manifest["spec"]["serving"].update(serving_fields)
    return manifest


def _container(pod: Object) -> Object:
    container: Object = pod["spec"]["containers"][0]
    return container


def _marked(scene: Scene) -> list[bool]:
    """Which stable pods have the environment of `MARK`."""
    return [MARK[0] in _container(pod).get("env", ()) for pod in scene.pods("stable")]


def _own_config_maps(scene: Scene) -> list[str]:
    found = scene.kube.list("ConfigMap", labelSelector=f"modelrollout.io/rollout={scene.name}")
    return sorted(item["metadata"]["name"] for item in found)


def _attempts(count: int) -> Callable[[Object], bool]:
    """So many attempts are over, and none is under way."""
    return lambda status: "rollout" not in status and len(status.get("history", ())) == count


def test_method_roll_replaces_the_stable_pods(scene: Callable[[str], Scene]) -> None:
    """With `promotion.method: Roll` the steps are the same, then new pods come before old ones go: nobody notices."""
    here = scene("roll")
    start(here)
    before = containers(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        with weights(here) as seen:
            status = promote(here, NEXT, promotion={"method": "Roll"})
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert seen == [0, 20, 50, 0]
    assert not failures(traffic.answers())
    assert versions_since(traffic, over_at(status, NEXT)) == {NEXT}
    settled(here)
    after = containers(here)
    assert len(after) == 2
    assert not after & before
    assert {restarts for _, restarts in after} == {0}
    assert _own_config_maps(here) == ["roll-stable-2"]


def test_versions_that_do_not_fit_in_one_server_are_rolled(scene: Callable[[str], Scene]) -> None:
    """`NoMemoryForTwoVersions` is `Stalled` until `promotion.method` says Roll: the same attempt then goes on."""
    here = scene("roll-memory")
    start(here)
    both = {str(version): {"memory": 6} for version in (STABLE, NEXT)}
    here.misbehave({"memory_limit": 10, "versions": both})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        here.wait("the stall", lambda s: "NoMemoryForTwoVersions" in str(s.get("conditions")))
        status = promote(here, NEXT, promotion={"method": "Roll"})
    assert [entry["attempt"] for entry in status["history"]] == [2, 1]
    assert not failures(traffic.answers())
    assert "NoMemoryForTwoVersions" not in str(settled(here)["conditions"])


@pytest.mark.parametrize("version", [STABLE, NEXT])
def test_changed_serving_fields_take_the_steps(scene: Callable[[str], Scene], version: int) -> None:
    """A changed environment, alone or with a version, is a revision: canary first, then the stable pods are rolled."""
    here = scene(f"fields-{version}")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        with weights(here) as seen:
            here.kube.apply(_changed(here, version, env=MARK))
            here.wait("step 1", live(20), 60)
            assert not any(_marked(here))
            status = here.wait("the end", _attempts(2), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert seen == [0, 20, 50, 0]
    assert history(status) == [(version, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    assert versions_since(traffic, over_at(status, version)) == {version}
    settled(here)
    assert _marked(here) == [True, True]


def test_version_after_a_roll_is_reloaded(scene: Callable[[str], Scene]) -> None:
    """A new version with the fields that pods have by now needs no roll: the rolled pods load it as they are."""
    here = scene("roll-reload")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_changed(here, STABLE, env=MARK))
        here.wait("the rolled pods", _attempts(2), 120)
        settled(here)
        before = containers(here)
        here.kube.apply(_changed(here, NEXT, env=MARK))
        status = here.wait("the end", _attempts(3), 120)
    assert history(status)[0] == (NEXT, "Promoted")
    assert not failures(traffic.answers())
    settled(here)
    assert containers(here) == before
    assert _marked(here) == [True, True]


def test_another_base_path(scene: Callable[[str], Scene]) -> None:
    """The same version number in another directory is another revision; its numbers are what users get at the end."""
    here = scene("base-path")
    start(here)
    scene("base-path-new").publish(STABLE)
    manifest = quick(here, STABLE)
    manifest["spec"]["model"]["basePath"] = "/models/base-path-new"
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        before = set(serving(here))
        with weights(here) as seen:
            here.kube.apply(manifest)
            status = here.wait("the end", _attempts(2), 120)
    assert seen == [0, 20, 50, 0]
    assert history(status) == [(STABLE, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    settled(here)
    assert not before & set(serving(here))
    config = here.kube.get("ConfigMap", "base-path-stable-2")
    assert config is not None
    assert 'base_path: "/models/base-path-new"' in config["data"]["models.config"]


def test_another_gpu_resource(scene: Callable[[str], Scene]) -> None:
    """From a whole GPU to a MIG slice, and on to none: pods move to nodes that have it, and free what they had."""
    here = scene("gpu-kind")
    here.publish(STABLE)
    here.kube.apply(_changed(here, STABLE, replicas=1, gpu={"resource": "nvidia.com/gpu", "count": 1}))
    here.wait("the first version serving", _attempts(1), 180)
    assert {pod["spec"]["nodeName"] for pod in here.pods("stable")} == {"gpu-0"}
    slot = "nvidia.com/mig-1g.10gb"
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_changed(here, STABLE, replicas=1, gpu={"resource": slot, "count": 1}))
        here.wait("slices", _attempts(2), 120)
        settled(here)
        sliced = here.pods("stable")
        here.kube.apply(_changed(here, STABLE, replicas=1))
        here.wait("no GPU", _attempts(3), 120)
        settled(here)
    assert {pod["spec"]["nodeName"] for pod in sliced} == {"mig-0"}
    assert [_container(pod)["resources"]["limits"] for pod in sliced] == [{slot: "1"}]
    assert not any("nvidia" in str(_container(pod).get("resources")) for pod in here.pods("stable"))
    assert not failures(traffic.answers())


def test_rejected_image_never_reaches_a_stable_pod(scene: Callable[[str], Scene]) -> None:
    """An image that does not exist is rejected while it is prepared; stable pods are what they were, even new ones."""
    here = scene("image")
    start(here)
    before = containers(here)
    manifest = _changed(here, STABLE, image="tensorflow/severing:2.20.0")
    manifest["spec"]["strategy"]["canaryReadyDeadline"] = "3s"
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(manifest)
        status = here.wait("the end", _attempts(2))
        assert containers(here) == before
        manifest["spec"]["serving"]["replicas"] = 3
        here.kube.apply(manifest)
        here.wait("a third pod", lambda s: s["phase"] == "RolledBack" and s["replicas"] == 3)
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert {_container(pod)["image"] for pod in here.pods("stable")} == {"tensorflow/serving:2.20.0"}
    assert not failures(traffic.answers())
    settled(here, "RolledBack")


def _half_rolled(scene: Scene, replicas: int = 2) -> None:
    """102 passes its steps, then one new stable pod after the other comes up, slowly."""
    manifest = _changed(scene, NEXT, replicas, env=MARK)
    scene.kube.apply(manifest)
    scene.wait("step 2", live(50), 120)
    scene.misbehave({"versions": {str(NEXT): {"load_seconds": 4}}})
    scene.wait("the roll", stage("Promoting"), 60)
    scene.wait("a new pod", lambda _: any(_marked(scene)), 60)


def test_back_to_stable_half_way_through_a_roll(scene: Callable[[str], Scene]) -> None:
    """`spec` goes back while pods are being replaced: new pods go, the old ones are complete again, Cancelled."""
    here = scene("roll-back")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        _half_rolled(here)
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the end", _attempts(2), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(NEXT, "Cancelled"), (STABLE, "Promoted")]
    assert versions_since(traffic, over_at(status, NEXT)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here)
    assert _marked(here) == [False, False]
    assert _own_config_maps(here) == ["roll-back-stable"]


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
    assert _marked(here) == [False, False]


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


def test_undo_of_a_roll_is_a_roll_without_steps(scene: Callable[[str], Scene]) -> None:
    """Going back to fields that served before takes no steps either, but pods have to be replaced once more."""
    here = scene("roll-undo")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_changed(here, NEXT, env=MARK))
        here.wait("the rolled pods", _attempts(2), 120)
        with weights(here) as seen:
            here.kube.apply(quick(here, STABLE))
            status = here.wait("the end", _attempts(3), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert (status["history"][0]["outcome"], status["history"][0]["reason"]) == ("Promoted", "Undone")
    assert seen == [0]
    assert versions_since(traffic, over_at(status, STABLE)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here)
    assert _marked(here) == [False, False]


def test_roll_waits_for_a_free_gpu(scene: Callable[[str], Scene]) -> None:
    """A roll begins when there is room for one pod more; until then the canary stays where it is, and users too."""
    here = scene("roll-gpu")
    here.publish(STABLE, NEXT)
    gpu = {"resource": "nvidia.com/gpu", "count": 1}
    here.kube.apply(_changed(here, STABLE, gpu=gpu))
    here.wait("the first version serving", _attempts(1))
    neighbour = _neighbour()
    here.kube.apply(neighbour)
    try:
        with here.traffic() as traffic:
            wait_for_answers(traffic)
            manifest = _changed(here, NEXT, gpu=gpu)
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
