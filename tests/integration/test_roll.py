"""Stable pods are replaced, not reloaded: `promotion.method: Roll`, and every change of what pods are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.rolls import MARK, changed, container, marked, own_config_maps
from tests.situations import (
    NEXT,
    STABLE,
    attempts,
    containers,
    failures,
    history,
    live,
    over_at,
    promote,
    quick,
    serving,
    settled,
    start,
    versions_since,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene


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
    assert own_config_maps(here) == ["roll-stable-2"]


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


@pytest.mark.parametrize("version", [pytest.param(STABLE, marks=pytest.mark.long), NEXT])
def test_changed_serving_fields_take_the_steps(scene: Callable[[str], Scene], version: int) -> None:
    """A changed environment, alone or with a version, is a revision: canary first, then the stable pods are rolled."""
    here = scene(f"fields-{version}")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        with weights(here) as seen:
            here.kube.apply(changed(here, version, env=MARK))
            here.wait("step 1", live(20), 60)
            assert not any(marked(here))
            status = here.wait("the end", attempts(2), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert seen == [0, 20, 50, 0]
    assert history(status) == [(version, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    assert versions_since(traffic, over_at(status, version)) == {version}
    settled(here)
    assert marked(here) == [True, True]


@pytest.mark.long
def test_version_after_a_roll_is_reloaded(scene: Callable[[str], Scene]) -> None:
    """A new version with the fields that pods have by now needs no roll: the rolled pods load it as they are."""
    here = scene("roll-reload")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(changed(here, STABLE, env=MARK))
        here.wait("the rolled pods", attempts(2), 120)
        settled(here)
        before = containers(here)
        here.kube.apply(changed(here, NEXT, env=MARK))
        status = here.wait("the end", attempts(3), 120)
    assert history(status)[0] == (NEXT, "Promoted")
    assert not failures(traffic.answers())
    settled(here)
    assert containers(here) == before
    assert marked(here) == [True, True]


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
            status = here.wait("the end", attempts(2), 120)
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
    here.kube.apply(changed(here, STABLE, replicas=1, gpu={"resource": "nvidia.com/gpu", "count": 1}))
    here.wait("the first version serving", attempts(1), 180)
    assert {pod["spec"]["nodeName"] for pod in here.pods("stable")} == {"gpu-0"}
    slot = "nvidia.com/mig-1g.10gb"
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(changed(here, STABLE, replicas=1, gpu={"resource": slot, "count": 1}))
        here.wait("slices", attempts(2), 120)
        settled(here)
        sliced = here.pods("stable")
        here.kube.apply(changed(here, STABLE, replicas=1))
        here.wait("no GPU", attempts(3), 120)
        settled(here)
    assert {pod["spec"]["nodeName"] for pod in sliced} == {"mig-0"}
    assert [container(pod)["resources"]["limits"] for pod in sliced] == [{slot: "1"}]
    assert not any("nvidia" in str(container(pod).get("resources")) for pod in here.pods("stable"))
    assert not failures(traffic.answers())


def test_rejected_image_never_reaches_a_stable_pod(scene: Callable[[str], Scene]) -> None:
    """An image that does not exist is rejected while it is prepared; stable pods are what they were, even new ones."""
    here = scene("image")
    start(here)
    before = containers(here)
    manifest = changed(here, STABLE, image="tensorflow/severing:2.20.0")
    manifest["spec"]["strategy"]["canaryReadyDeadline"] = "3s"
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(manifest)
        status = here.wait("the end", attempts(2))
        assert containers(here) == before
        manifest["spec"]["serving"]["replicas"] = 3
        here.kube.apply(manifest)
        here.wait("a third pod", lambda s: s["phase"] == "RolledBack" and s["replicas"] == 3)
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert {container(pod)["image"] for pod in here.pods("stable")} == {"tensorflow/serving:2.20.0"}
    assert not failures(traffic.answers())
    settled(here, "RolledBack")
