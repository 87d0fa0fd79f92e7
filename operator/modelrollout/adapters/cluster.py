"""Writes to the cluster: `ports.Cluster` on the API client, with every answer put into the cache at once."""

from collections.abc import Mapping
from typing import Any

from modelrollout.adapters.kube import KubeClient, NotFound
from modelrollout.cache import ObjectCache, controller_uid
from modelrollout.core.values import JSON
from modelrollout.errors import Conflict, OperatorError, Refused
from modelrollout.metrics import STATUS_WRITES
from modelrollout.ports import Key
from modelrollout.resources import PODS, ROLLOUTS, Resource, resource_of


class KubernetesCluster:
    """Implements `ports.Cluster`. Reads only to find out whether a name is taken."""

    def __init__(self, client: KubeClient, cache: ObjectCache) -> None:
        """Both belong to the running event loop."""
        self._client = client
        self._cache = cache

    async def apply(self, key: Key, manifest: JSON, create: bool) -> None:
        """Server-side apply with force; with `create`, somebody else's object is only shown in the view."""
        resource, name = resource_of(manifest["kind"]), manifest["metadata"]["name"]
        if not create:
            known = self._cache.find(resource.kind, key.namespace, name)
            self._cache.put(resource, await self._apply(resource, manifest, known))
            return
        found = await self._client.find(resource, key.namespace, name)
        if found is None:
            self._cache.put(resource, await self._create(resource, manifest))
            return
        self._cache.put(resource, found)
        if controller_uid(found) == controller_uid(manifest):
            self._cache.put(resource, await self._apply(resource, manifest, found))

    async def delete(self, key: Key, kind: str, name: str, uid: str) -> None:
        """Delete in the background, only that very object; one that is gone already is fine."""
        resource = resource_of(kind)
        stub = {"metadata": {"namespace": key.namespace, "name": name, "uid": uid}}
        try:
            answer = await self._client.delete(resource, key.namespace, name, uid)
        except Conflict:
            self._cache.drop(resource, stub, for_good=True)
            return
        except NotFound:
            self._forget(resource, key.namespace, name)
            return
        if "deletionTimestamp" in answer.get("metadata", {}):
            self._cache.put(resource, answer)
        else:
            self._cache.drop(resource, stub, for_good=True)

    async def annotate_pod(self, key: Key, pod: str, annotation: str, value: str) -> None:
        """Set one annotation of a pod; a pod that is gone is fine, and so is another one in its place."""
        known = self._cache.find(PODS.kind, key.namespace, pod)
        same = {"uid": known["metadata"]["uid"]} if known is not None else {}
        body = {"metadata": {"annotations": {annotation: value}, **same}}
        try:
            self._cache.put(PODS, await self._client.merge_patch(PODS, key.namespace, pod, body))
        except Refused as error:
            if not isinstance(error, NotFound) and "metadata.uid" not in str(error):
                raise
            await self._refresh(PODS, key.namespace, pod)

    async def write_status(self, key: Key, seen: JSON, status: Mapping[str, Any]) -> None:
        """Make `status` exactly this. Conflict unless the object is still at the resourceVersion that was `seen`."""
        changes = merge_diff(seen.get("status") or {}, status)
        if not changes:
            return
        body = {"metadata": {"resourceVersion": seen["metadata"]["resourceVersion"]}, "status": changes}
        try:
            answer = await self._client.merge_patch(ROLLOUTS, key.namespace, key.name, body, "status")
        except (Conflict, NotFound) as error:
            STATUS_WRITES.labels("conflict").inc()
            await self._refresh(ROLLOUTS, key.namespace, key.name)
            raise Conflict(str(error)) from error
        except OperatorError:
            STATUS_WRITES.labels("error").inc()
            raise
        STATUS_WRITES.labels("ok").inc()
        self._cache.put(ROLLOUTS, answer)

    async def _create(self, resource: Resource, manifest: JSON) -> JSON:
        """Without force: what somebody else made since we looked is not ours to write over."""
        metadata = manifest["metadata"]
        try:
            return await self._client.apply(resource, manifest, force=False)
        except Conflict:
            await self._refresh(resource, metadata["namespace"], metadata["name"])
            raise

    async def _refresh(self, resource: Resource, namespace: str, name: str) -> None:
        """Read what the view had wrong, so that the next pass is right even if the watch is late."""
        found = await self._client.find(resource, namespace, name)
        if found is not None:
            self._cache.put(resource, found)
        else:
            self._forget(resource, namespace, name)

    def _forget(self, resource: Resource, namespace: str, name: str) -> None:
        """Not for good: an API server that starts may answer 404 to everything. A later listing is right."""
        known = self._cache.find(resource.kind, namespace, name)
        if known is not None:
            self._cache.drop(resource, known)

    async def _apply(self, resource: Resource, manifest: JSON, known: JSON | None) -> JSON:
        """With the uid of the known object, so that one that was made anew meanwhile is not written unseen.

        A manifest with a resourceVersion is written only to the object as it was then.
        """
        if known is None:
            return await self._client.apply(resource, manifest)
        metadata, uid = manifest["metadata"], known["metadata"]["uid"]
        try:
            return await self._client.apply(resource, {**manifest, "metadata": {**metadata, "uid": uid}})
        except (Conflict, Refused) as error:
            if uid not in str(error) and "resourceVersion" not in metadata:
                raise
            await self._refresh(resource, metadata["namespace"], metadata["name"])
            raise Conflict(f"{resource.kind} {metadata['name']} is another object now, or has changed") from error


def merge_diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch from one object to the other: null removes a key, lists are replaced whole."""
    changes: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := merge_diff(old, value):
                changes[key] = inner
        elif key not in before or old != value:
            changes[key] = value
    return changes
