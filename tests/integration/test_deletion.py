"""The object is deleted: in every phase it goes at once, what it made goes after it, and it may be created again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.situations import (
    NEXT,
    PHASES,
    STABLE,
    failures,
    healthy,
    history,
    quick,
    reach,
    serving,
    settled,
    some_often,
    start,
    versions_since,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

LATER = 103
NAMESPACED = (
    "apis/apps/v1/{}/deployments",
    "apis/apps/v1/{}/replicasets",
    "apis/apps/v1/{}/controllerrevisions",
    "api/v1/{}/pods",
    "api/v1/{}/configmaps",
    "api/v1/{}/services",
    "apis/discovery.k8s.io/v1/{}/endpointslices",
    "apis/gateway.networking.k8s.io/v1/{}/httproutes",
)
"""Every kind that an object leads to, also by way of other controllers."""


def _slug(phase: str) -> str:
    return phase.lower().replace(" ", "-")


def _left(scene: Scene) -> list[str]:
    """What the namespace still has of a rollout, by its label or its name."""
    found = []
    for path in NAMESPACED:
        url = f"{scene.kube.url}/{path.format('namespaces/default')}"
        for item in scene.kube.session.get(url, timeout=10).json()["items"]:
            metadata = item["metadata"]
            ours = metadata.get("labels", {}).get("modelrollout.io/rollout") == scene.name
            if ours or metadata["name"] in {scene.name, f"{scene.name}-stable", f"{scene.name}-canary"}:
                found.append(f"{path.rpartition('/')[2]}/{metadata['name']}")
    return found


def _wait_until_nothing_is_left(scene: Scene) -> None:
    deadline = time.monotonic() + 90
    while left := _left(scene):
        assert time.monotonic() < deadline, left
        time.sleep(0.5)


def _delete(scene: Scene, policy: str = "Background") -> None:
    """Delete the object as kubectl does, with the cascade that was asked for."""
    url = f"{scene.kube.url}/apis/modelrollout.io/v1alpha1/namespaces/default/modelrollouts/{scene.name}"
    scene.kube.session.delete(url, params={"propagationPolicy": policy}, timeout=10).raise_for_status()


@pytest.mark.parametrize("phase", some_often(["Healthy", *PHASES], "Healthy", "Promoting half way"))
def test_deleted_in_every_phase(scene: Callable[[str], Scene], phase: str) -> None:
    """No finalizer holds the object; servers, route and records go after it until the namespace has nothing of it."""
    here = scene(f"gone-{_slug(phase)}")
    start(here)
    if phase == "Healthy":
        _delete(here)
    else:
        with here.traffic() as traffic:
            wait_for_answers(traffic)
            reach(here, phase)
            _delete(here)
    assert here.kube.get("ModelRollout", here.name) is None
    _wait_until_nothing_is_left(here)


@pytest.mark.parametrize("phase", some_often(("step 2", "Promoting half way", "Baking"), "Promoting half way"))
def test_deleted_and_created_again_at_once(scene: Callable[[str], Scene], phase: str) -> None:
    """The new object waits until the old one's children are gone, then begins at its first version as if new."""
    here = scene(f"again-{_slug(phase)}")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, phase)
        before = set(serving(here))
        here.misbehave({})
        _delete(here)
        here.publish(LATER)
        here.kube.apply(quick(here, LATER))
        here.wait("the first version of the new object", healthy, 120)
    status = settled(here)
    assert history(status) == [(LATER, "Promoted")]
    assert status["history"][0]["attempt"] == 1
    assert not before & set(serving(here))
    assert here.weight() == 0
    with here.traffic() as traffic:
        wait_for_answers(traffic)
    assert versions_since(traffic, 0) == {LATER}
    assert not failures(traffic.answers())


def test_deleted_without_its_children(scene: Callable[[str], Scene]) -> None:
    """With `--cascade=orphan` users are served on; a new object of the name touches nothing of it until it is freed."""
    here = scene("orphans")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        before = set(serving(here))
        _delete(here, "Orphan")
        _wait_until_gone(here)
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the stall", lambda s: "NameTaken" in str(s.get("conditions")))
        wait_for_answers(traffic, len(traffic.answers()) + 100)
        assert set(serving(here)) == before
    assert not failures(traffic.answers())
    assert versions_since(traffic, 0) == {STABLE}
    assert "stable" not in status
    for kind in ("Deployment", "Service", "ConfigMap"):
        for track in ("stable", "canary"):
            here.kube.delete(kind, f"{here.name}-{track}")
    here.kube.delete("HTTPRoute", here.name)
    for revision in here.kube.list("ControllerRevision", labelSelector=f"modelrollout.io/rollout={here.name}"):
        here.kube.delete("ControllerRevision", revision["metadata"]["name"])
    here.wait("the first version of the new object", healthy, 120)
    assert history(settled(here)) == [(NEXT, "Promoted")]


def _wait_until_gone(scene: Scene) -> None:
    deadline = time.monotonic() + 60
    while scene.kube.get("ModelRollout", scene.name) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
