"""What each write names, so that one that comes late, or too early, changes nothing: on a real API server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from modelrollout.adapters.cluster import KubernetesCluster
from modelrollout.adapters.credentials import Credentials
from modelrollout.adapters.kube import KubeClient, NotFound
from modelrollout.cache import ObjectCache
from modelrollout.core.manifests import Owner
from modelrollout.core.names import MANAGER
from modelrollout.errors import Conflict
from modelrollout.resources import CONFIG_MAPS, DEPLOYMENTS, PODS, ROLLOUTS
from modelrollout.sweep import sweep
from tests.contract.test_cluster import client, config_map, key_of, kubeconfig, rollout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelrollout.core.values import JSON
    from modelrollout.resources import Resource

__all__ = ["client", "kubeconfig", "rollout"]


class Overtaken(KubeClient):
    """Whenever this client finds that a name is free, somebody takes it at that moment."""

    async def find(self, resource: Resource, namespace: str, name: str) -> JSON | None:
        """None, which is true no longer."""
        found = await super().find(resource, namespace, name)
        if found is None:
            await self.create(resource, namespace, {"metadata": {"name": name}, "data": {"whose": "theirs"}})
        return found


@pytest.fixture
async def overtaken(kubeconfig: str) -> AsyncIterator[Overtaken]:
    """Such a client."""
    credentials = Credentials(kubeconfig)
    await credentials.load()
    async with aiohttp.ClientSession() as session:
        yield Overtaken(credentials, session)


def deployment(rollout: dict[str, Any], image: str) -> dict[str, Any]:
    """A child that the rollout owns."""
    owner = Owner(rollout["metadata"]["name"], "default", rollout["metadata"]["uid"])
    labels = {"a": "b"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": pod}
    metadata = owner.metadata(f"{owner.name}-stable")
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


async def test_a_stranger_that_was_quicker_is_not_written_over(
    client: KubeClient, overtaken: Overtaken, rollout: dict[str, Any]
) -> None:
    """Between the look whether a name is free and the write somebody took it: a conflict, and the view shows whose."""
    cache, key = ObjectCache(), key_of(rollout)
    with pytest.raises(Conflict):
        await KubernetesCluster(overtaken, cache).apply(key, config_map(rollout, whose="ours"), create=True)
    (shown,) = cache.children(key)
    assert shown["data"] == {"whose": "theirs"}
    found = await client.get(CONFIG_MAPS, "default", f"{key.name}-stable")
    assert found["data"] == {"whose": "theirs"}
    assert "ownerReferences" not in found["metadata"]


async def test_our_own_object_may_be_made_once_more(client: KubeClient, rollout: dict[str, Any]) -> None:
    """A process that does not know yet what the one before it made writes it as it should be."""
    key = key_of(rollout)
    for data in ("before", "after"):
        await KubernetesCluster(client, ObjectCache()).apply(key, config_map(rollout, data=data), create=True)
    assert (await client.get(CONFIG_MAPS, "default", f"{key.name}-stable"))["data"] == {"data": "after"}


async def test_a_scale_in_between_is_no_conflict(client: KubeClient, rollout: dict[str, Any]) -> None:
    """What others may write at any time, such as an autoscaler, does not stop a write of ours."""
    cache, key = ObjectCache(), key_of(rollout)
    cluster = KubernetesCluster(client, cache)
    await cluster.apply(key, deployment(rollout, "one"), create=True)
    await client.merge_patch(DEPLOYMENTS, "default", f"{key.name}-stable", {"spec": {"replicas": 5}}, "scale")
    await cluster.apply(key, deployment(rollout, "two"), create=False)
    (shown,) = cache.children(key)
    assert shown["spec"]["template"]["spec"]["containers"][0]["image"] == "two"
    assert MANAGER in {entry["manager"] for entry in (await _found(client, key.name))["metadata"]["managedFields"]}


class Absent(KubeClient):
    """An API server that answers 404 to everything, as one may that starts."""

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, body: JSON, subresource: str = ""
    ) -> JSON:
        """Not found."""
        raise NotFound(f"{resource.plural}/{namespace}/{name}/{subresource}: {body}")

    async def find(self, resource: Resource, namespace: str, name: str) -> JSON | None:
        """Not found."""

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> JSON:
        """Not found."""
        raise NotFound(f"{resource.plural}/{namespace}/{name}: {uid}")


async def test_what_is_not_found_for_a_moment_is_not_gone_for_good(
    client: KubeClient, kubeconfig: str, rollout: dict[str, Any]
) -> None:
    """Objects that a write did not find come back with the next listing, unchanged as they are."""
    cache, key = ObjectCache(), key_of(rollout)
    cache.put(ROLLOUTS, rollout)
    await KubernetesCluster(client, cache).apply(key, config_map(rollout), create=True)
    (child,) = cache.children(key)
    async with aiohttp.ClientSession() as session:
        absent = KubernetesCluster(Absent(Credentials(kubeconfig), session), cache)
        with pytest.raises(Conflict):
            await absent.write_status(key, rollout, {"phase": "Healthy"})
        await absent.delete(key, "ConfigMap", child["metadata"]["name"], child["metadata"]["uid"])
    assert cache.rollout(key) is None
    assert not list(cache.children(key))
    await sweep(client, cache, ("default",))
    assert cache.rollout(key) is not None
    assert [found["metadata"]["uid"] for found in cache.children(key)] == [child["metadata"]["uid"]]


async def test_another_pod_of_the_same_name_is_not_annotated(client: KubeClient, rollout: dict[str, Any]) -> None:
    """It is not the one that was meant; the view shows it then."""
    cache, key = ObjectCache(), key_of(rollout)
    pod = {"metadata": {"name": key.name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = await client.create(PODS, "default", pod)
    cache.put(PODS, {**made, "metadata": {**made["metadata"], "uid": "before", "resourceVersion": "1"}})
    await KubernetesCluster(client, cache).annotate_pod(key, key.name, "modelrollout.io/config-hash", "1")
    assert "annotations" not in (await client.get(PODS, "default", key.name))["metadata"]
    shown = cache.find("Pod", "default", key.name)
    assert shown is not None
    assert shown["metadata"]["uid"] == made["metadata"]["uid"]


async def _found(client: KubeClient, name: str) -> JSON:
    return await client.get(DEPLOYMENTS, "default", f"{name}-stable")
