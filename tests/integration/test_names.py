"""Names and places that are not the object's alone: children's names, their length, a volume with other readers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from playground.kube import RefusedError
from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    healthy,
    history,
    live,
    promote,
    quick,
    settled,
    some_often,
    start,
    versions_since,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene

LATER = 103
LONGEST = "a-name-of-fifty-characters-is-as-long-as-it-may-be"
_POD = {"containers": [{"name": "web", "image": "playground/sleep"}], "terminationGracePeriodSeconds": 1}
STRANGERS: dict[str, dict[str, Any]] = {
    "Deployment": {
        "apiVersion": "apps/v1",
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": _POD},
        },
    },
    "ConfigMap": {"apiVersion": "v1", "data": {"colour": "blue"}},
    "Service": {"apiVersion": "v1", "spec": {"ports": [{"port": 80}], "selector": {"app": "web"}}},
    "HTTPRoute": {"apiVersion": "gateway.networking.k8s.io/v1", "spec": {"hostnames": ["web.example.com"]}},
}


def _stranger(kind: str, name: str) -> Object:
    """Somebody else's object."""
    return {"kind": kind, "metadata": {"name": name, "namespace": "default"}, **STRANGERS[kind]}


def _stalled(status: Object) -> str:
    """Reason and message of `Stalled`, empty when it is not."""
    found = (item for item in status.get("conditions", ()) if item["type"] == "Stalled" and item["status"] == "True")
    return next((f"{item['reason']}: {item['message']}" for item in found), "")


def _untouched(scene: Scene, made: Object) -> bool:
    """Nobody but its owner has written a stranger's object; controllers may have written its status."""
    now = scene.kube.get(made["kind"], made["metadata"]["name"])
    return now is not None and {entry["manager"] for entry in now["metadata"]["managedFields"]} <= {
        "kubectl",
        "kube-controller-manager",
    }


@pytest.mark.parametrize("kind", some_often(STRANGERS, "Deployment", "HTTPRoute"))
def test_name_taken_before_the_first_version(scene: Callable[[str], Scene], kind: str) -> None:
    """Somebody's object of a child's name is never written: Stalled, NameTaken, until it is gone; then all goes on."""
    here = scene(f"taken-{kind.lower()}")
    here.publish(STABLE)
    name = here.name if kind == "HTTPRoute" else f"{here.name}-stable"
    made = here.kube.apply(_stranger(kind, name))
    try:
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the stall", _stalled)
        assert f"NameTaken: {kind} {name}" in _stalled(status)
        assert _untouched(here, made)
    finally:
        here.kube.delete(kind, name)
    assert not _stalled(here.wait("the first version serving", lambda s: healthy(s) and not _stalled(s), 120))
    with here.traffic() as traffic:
        wait_for_answers(traffic)
    assert not failures(traffic.answers())
    settled(here)


def test_name_of_the_canary_taken(scene: Callable[[str], Scene]) -> None:
    """A rollout whose canary cannot have its name stalls without any traffic, and goes on when the name is free."""
    here = scene("taken-canary")
    start(here)
    made = here.kube.apply(_stranger("Deployment", "taken-canary-canary"))
    try:
        with here.traffic() as traffic:
            wait_for_answers(traffic)
            here.kube.apply(quick(here, NEXT))
            here.wait("the stall", lambda s: "NameTaken" in _stalled(s))
            assert _untouched(here, made)
            assert here.weight() == 0
            here.kube.delete("Deployment", "taken-canary-canary")
            status = here.wait("the end", ended(NEXT), 120)
    finally:
        here.kube.delete("Deployment", "taken-canary-canary")
    assert history(status) == [(NEXT, "Promoted"), (STABLE, "Promoted")]
    assert not _stalled(settled(here))
    assert not failures(traffic.answers())


def test_name_taken_does_not_switch_the_abort_off(scene: Callable[[str], Scene]) -> None:
    """A child becomes somebody else's while the canary has traffic; a bad version leaves the traffic all the same."""
    here = scene("taken-abort")
    start(here)
    name = "taken-abort-canary"
    try:
        with here.traffic() as traffic:
            wait_for_answers(traffic)
            here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "60s"}]))
            here.wait("step 1", live(20), 60)
            _take(here, "ConfigMap", name)
            here.wait("the stall", lambda s: "NameTaken" in _stalled(s))
            here.misbehave({"versions": {str(NEXT): {"error_rate": 1.0}}})
            here.wait("weight 0", lambda _: here.weight() == 0, 60)
    finally:
        here.kube.delete("ConfigMap", name)
    assert history(here.wait("the end", ended(NEXT), 90)) == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert "NameTaken" not in _stalled(settled(here, "RolledBack"))


def _take(scene: Scene, kind: str, name: str) -> None:
    """Make an object somebody else's: it has no controller any more."""
    url = f"{scene.kube.url}/api/v1/namespaces/default/{kind.lower()}s/{name}"
    headers = {"Content-Type": "application/merge-patch+json"}
    patch = {"metadata": {"ownerReferences": None}}
    scene.kube.session.patch(url, json=patch, headers=headers, timeout=10).raise_for_status()


def test_longest_name(scene: Callable[[str], Scene]) -> None:
    """An object with a name of 50 characters gets all its children and goes through a whole rollout."""
    here = scene(LONGEST)
    assert len(LONGEST) == 50
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        status = promote(here, NEXT)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(NEXT, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    settled(here)


def test_name_that_is_too_long(scene: Callable[[str], Scene]) -> None:
    """With 51 characters the children's names would not fit; the API server refuses the object and says so."""
    here = scene(f"{LONGEST}s")
    with pytest.raises(RefusedError, match="at most 50 lower case letters"):
        here.kube.apply(quick(here, STABLE))


@pytest.mark.long
def test_two_objects_share_a_volume(scene: Callable[[str], Scene]) -> None:
    """Two objects serve one directory; what one of them rolls out and takes back says nothing about the other."""
    here, other = scene("shared-a"), scene("shared-b")
    start(here)
    neighbour = quick(other, STABLE)
    neighbour["spec"]["model"]["basePath"] = "/models/shared-a"
    other.kube.apply(neighbour)
    other.wait("the neighbour serving", healthy)
    here.misbehave({"versions": {str(NEXT): {"error_rate": 1.0}}})
    here.publish(LATER)
    with other.traffic(rate=30) as theirs, here.traffic(rate=40) as ours:
        wait_for_answers(ours)
        here.kube.apply(quick(here, NEXT))
        assert history(here.wait("the end of 102", ended(NEXT), 120))[0] == (NEXT, "RolledBack")
        promote(here, LATER)
        assert versions_since(theirs, 0) == {STABLE}
        neighbour["spec"]["model"]["version"] = LATER
        other.kube.apply(neighbour)
        status = other.wait("the end of 103", ended(LATER), 120)
    assert history(status) == [(LATER, "Promoted"), (STABLE, "Promoted")]
    assert not failures(theirs.answers())
    assert {answer.version for answer in failures(ours.answers())} <= {None, NEXT}
    settled(here)
    settled(other)
