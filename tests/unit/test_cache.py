"""The cache: newer wins, echoes change nothing, and a rollout finds everything of its own."""

from __future__ import annotations

from typing import Any

from modelrollout.cache import ObjectCache, owners
from modelrollout.core.names import LABEL_MANAGED_BY, LABEL_ROLLOUT, MANAGER
from modelrollout.ports import Key
from modelrollout.resources import CONFIG_MAPS, DEPLOYMENTS, HTTP_ROUTES, PODS, REVISIONS, ROLLOUTS

KEY = Key("default", "recsys")


def made(name: str, version: int = 1, uid: str = "u1", labelled: bool = True, **more: Any) -> dict[str, Any]:
    """An object as the API server gives it."""
    labels = {LABEL_MANAGED_BY: MANAGER, LABEL_ROLLOUT: "recsys"} if labelled else {}
    metadata = {"name": name, "namespace": "default", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"metadata": metadata, **more}


def test_an_older_or_equal_version_changes_nothing() -> None:
    """Late events and echoes of own writes are not taken for news."""
    cache = ObjectCache()
    assert cache.put(DEPLOYMENTS, made("recsys-stable", 10, spec=1))
    assert not cache.put(DEPLOYMENTS, made("recsys-stable", 10, spec=2))
    assert not cache.put(DEPLOYMENTS, made("recsys-stable", 9, spec=3))
    found = cache.find("Deployment", "default", "recsys-stable")
    assert found is not None
    assert found["spec"] == 1


def test_versions_are_compared_as_numbers() -> None:
    """100 is newer than 99."""
    cache = ObjectCache()
    cache.put(DEPLOYMENTS, made("recsys-stable", 99))
    assert cache.put(DEPLOYMENTS, made("recsys-stable", 100))


def test_a_new_object_of_the_same_name_replaces_the_old_one() -> None:
    """Deleted and made anew between two events is seen as the new object."""
    cache = ObjectCache()
    cache.put(DEPLOYMENTS, made("recsys-stable", 10, "old"))
    assert cache.put(DEPLOYMENTS, made("recsys-stable", 12, "new"))
    assert not cache.put(DEPLOYMENTS, made("recsys-stable", 11, "old"))
    assert not cache.drop(DEPLOYMENTS, made("recsys-stable", 13, "old"))
    assert cache.find("Deployment", "default", "recsys-stable") is not None


def test_a_late_event_does_not_bring_a_deleted_object_back() -> None:
    """After an own delete, events that were under way are ignored, whatever their version."""
    cache = ObjectCache()
    cache.put(CONFIG_MAPS, made("recsys-canary", 10))
    assert cache.drop(CONFIG_MAPS, made("recsys-canary"), for_good=True)
    assert not cache.put(CONFIG_MAPS, made("recsys-canary", 99))
    assert cache.find("ConfigMap", "default", "recsys-canary") is None


def test_of_a_pod_only_what_it_shows_is_kept() -> None:
    """The spec of hundreds of pods would be most of the memory, and nobody reads it."""
    cache = ObjectCache()
    cache.put(PODS, made("recsys-stable-1", spec={"nodeName": "gpu-0"}, status={"podIP": "10.1.0.1"}))
    kept = cache.find("Pod", "default", "recsys-stable-1")
    assert kept is not None
    assert "spec" not in kept
    assert kept["status"] == {"podIP": "10.1.0.1"}


def test_an_object_that_only_lost_its_label_may_come_back() -> None:
    """A watch reports a label taken away as deleted; the object returns with a newer version."""
    cache = ObjectCache()
    cache.put(CONFIG_MAPS, made("recsys-canary", 10))
    cache.drop(CONFIG_MAPS, made("recsys-canary", 11))
    assert not cache.put(CONFIG_MAPS, made("recsys-canary", 11))
    assert cache.put(CONFIG_MAPS, made("recsys-canary", 12))


def test_a_listing_decides_whether_an_object_is_there() -> None:
    """One that a listing left out comes back with a younger listing, unchanged as it may be, and with no older one."""
    cache, obj = ObjectCache(), made("recsys-stable", 10)
    cache.put(DEPLOYMENTS, obj)
    assert cache.drop(DEPLOYMENTS, obj, listed=20)
    assert not cache.put(DEPLOYMENTS, obj)
    assert not cache.put(DEPLOYMENTS, obj, listed=15)
    assert not cache.put(DEPLOYMENTS, made("recsys-stable", 19))
    assert cache.put(DEPLOYMENTS, obj, listed=21)


def test_an_object_that_was_not_found_for_a_moment_comes_back() -> None:
    """Though nothing at all was written in the cluster meanwhile, so that the listing is as old as the object."""
    cache, obj = ObjectCache(), made("recsys-stable", 10)
    cache.put(DEPLOYMENTS, obj)
    cache.drop(DEPLOYMENTS, obj)
    assert not cache.put(DEPLOYMENTS, obj)
    assert cache.put(DEPLOYMENTS, obj, listed=10)
    cache.drop(DEPLOYMENTS, obj, for_good=True)
    assert not cache.put(DEPLOYMENTS, obj, listed=99)


def test_children_are_found_by_label_and_by_exact_name() -> None:
    """A stranger in one of our names is shown; one whose name only begins alike is not."""
    cache = ObjectCache()
    cache.put(ROLLOUTS, made("recsys", labelled=False))
    cache.put(PODS, made("recsys-stable-abc", uid="p"))
    cache.put(REVISIONS, made("recsys-1234", uid="r"))
    cache.put(HTTP_ROUTES, made("recsys", uid="h", labelled=False))
    cache.put(DEPLOYMENTS, made("recsys-canary", uid="d", labelled=False))
    cache.put(DEPLOYMENTS, made("recsys-canary-2", uid="e", labelled=False))
    found = {(child["kind"], child["metadata"]["name"]) for child in cache.children(KEY)}
    assert found == {
        ("Pod", "recsys-stable-abc"),
        ("ControllerRevision", "recsys-1234"),
        ("HTTPRoute", "recsys"),
        ("Deployment", "recsys-canary"),
    }


def test_a_changed_label_moves_the_object_to_its_other_rollout() -> None:
    """The index follows labels."""
    cache = ObjectCache()
    cache.put(PODS, made("p", 1))
    moved = made("p", 2)
    moved["metadata"]["labels"][LABEL_ROLLOUT] = "other"
    cache.put(PODS, moved)
    assert not list(cache.children(KEY))
    assert [child["metadata"]["name"] for child in cache.children(Key("default", "other"))] == ["p"]


def test_what_nobody_reads_is_not_kept() -> None:
    """Managed fields and kubectl's copy of the manifest are dropped; kind and apiVersion, which lists lack, are set."""
    cache, obj = ObjectCache(), made("recsys", labelled=False)
    bulky = "kubectl.kubernetes.io/last-applied-configuration"
    obj["metadata"] |= {"managedFields": [{}], "annotations": {bulky: "x", "modelrollout.io/request": "y"}}
    cache.put(ROLLOUTS, obj)
    kept = cache.rollout(KEY)
    assert kept is not None
    assert "managedFields" not in kept["metadata"]
    assert kept["metadata"]["annotations"] == {"modelrollout.io/request": "y"}
    assert (kept["kind"], kept["apiVersion"]) == ("ModelRollout", "modelrollout.io/v1alpha1")
    assert "managedFields" in obj["metadata"]


def test_owners_are_known_by_label_and_by_controller() -> None:
    """An object whose label was changed still concerns the rollout that controls it."""
    obj = made("x", labelled=False)
    obj["metadata"]["ownerReferences"] = [
        {"kind": "ModelRollout", "name": "recsys", "uid": "u", "controller": True},
        {"kind": "ReplicaSet", "name": "other", "uid": "v"},
    ]
    obj["metadata"]["labels"][LABEL_ROLLOUT] = "renamed"
    assert owners(obj) == {KEY, Key("default", "renamed")}
