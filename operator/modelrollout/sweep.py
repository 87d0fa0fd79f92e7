"""Listings that put the cache right: before anything is reconciled, after each start of the watches, and now and then.

Watches alone are not enough: an object that goes while they are interrupted is never reported. Called by `supervisor`.
"""

from dataclasses import dataclass, field
from typing import Protocol

from modelrollout.cache import ObjectCache, owners
from modelrollout.core.values import JSON
from modelrollout.ports import Key
from modelrollout.resources import WATCHED, Listing, Resource, resource_of, resource_version


class Lists(Protocol):
    """Reads of the API server. Both raise ClusterUnavailable and Refused."""

    async def list_watched(self, resource: Resource, namespace: str | None) -> Listing | None:
        """All objects of a kind that concern the operator; None when there is no such kind."""
        ...

    async def find(self, resource: Resource, namespace: str, name: str) -> JSON | None:
        """One object, None when there is none."""
        ...


@dataclass(slots=True)
class Swept:
    """What a sweep found: kinds that exist, rollouts with changes, objects (uid to resourceVersion) that were newer.

    The watches should report the latter, too, within seconds; if not, they have gone blind.
    """

    kinds: tuple[Resource, ...] = ()
    touched: set[Key] = field(default_factory=set)
    newer: dict[str, int] = field(default_factory=dict)


async def sweep(lists: Lists, cache: ObjectCache, namespaces: tuple[str, ...]) -> Swept:
    """List every kind once and bring the cache up to it. Raises ClusterUnavailable and Refused."""
    swept = Swept()
    for resource in WATCHED:
        found = [await _sweep_one(lists, cache, resource, namespace, swept) for namespace in namespaces or (None,)]
        if all(found):
            swept.kinds = (*swept.kinds, resource)
    return swept


async def recheck_strangers(lists: Lists, cache: ObjectCache) -> set[Key]:
    """Ask again for objects in our names that no watch follows; the rollouts for which something changed."""
    touched: set[Key] = set()
    for kind, obj in cache.strangers():
        resource, metadata = resource_of(kind), obj["metadata"]
        found = await lists.find(resource, metadata["namespace"], metadata["name"])
        changed = cache.drop(resource, obj, for_good=True) if found is None else cache.put(resource, found)
        if changed:
            touched |= {key for key in cache.rollouts() if key.namespace == metadata["namespace"]}
    return touched


async def _sweep_one(lists: Lists, cache: ObjectCache, resource: Resource, namespace: str | None, swept: Swept) -> bool:
    listing = await lists.list_watched(resource, namespace)
    items = listing.items if listing is not None else ()
    for obj in items:
        known = cache.find(resource.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        if cache.put(resource, obj):
            swept.touched |= owners(obj) | (owners(known) if known is not None else set())
            swept.newer[obj["metadata"]["uid"]] = resource_version(obj)
    there = {obj["metadata"]["uid"] for obj in items}
    strangers = {obj["metadata"]["uid"] for _, obj in cache.strangers()}
    for obj in cache.objects(resource):
        metadata = obj["metadata"]
        elsewhere = namespace is not None and metadata["namespace"] != namespace
        if metadata["uid"] in there or metadata["uid"] in strangers or elsewhere:
            continue
        # One that is newer than the listing was made after it.
        if listing is None or resource_version(obj) <= listing.version:
            cache.drop(resource, obj)
            swept.touched |= owners(obj)
    return listing is not None
