"""Listings that put the cache right: before anything is reconciled, after each start of the watches, and now and then.

Watches alone are not enough: an object that goes while they are interrupted is never reported. Called by `supervisor`.
"""

from dataclasses import dataclass, field
from typing import Protocol

from modelrollout.cache import ObjectCache, claims, identify, owners
from modelrollout.core.names import ANNOTATION_REQUEST
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

    The watches should report the latter, too, within seconds; if not, they have gone blind. Of the rollouts `asked` has
    those of which somebody asks something by annotation: it may be for an abort.
    """

    kinds: tuple[Resource, ...] = ()
    touched: set[Key] = field(default_factory=set)
    asked: set[Key] = field(default_factory=set)
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
        changed = cache.drop(resource, obj) if found is None else cache.put(resource, found)
        if changed:
            touched |= {key for key in cache.rollouts() if key.namespace == metadata["namespace"]}
    return touched


async def _sweep_one(lists: Lists, cache: ObjectCache, resource: Resource, namespace: str | None, swept: Swept) -> bool:
    """Whether there is such a kind. That there is none says nothing of its objects: it may be back in a moment."""
    listing = await lists.list_watched(resource, namespace)
    if listing is None:
        return False
    for obj in listing.items:
        identity = identify(resource, obj)
        known = cache.find(*identity)
        if cache.put(resource, obj, listed=listing.version):
            # As the cache has it: what a listing gives may lack its kind.
            concerned, asked = concerns(cache, resource, known, cache.find(*identity))
            swept.touched |= concerned
            swept.asked |= asked
            swept.newer[obj["metadata"]["uid"]] = resource_version(obj)
    there = {obj["metadata"]["uid"] for obj in listing.items}
    strangers = {obj["metadata"]["uid"] for _, obj in cache.strangers()}
    for obj in cache.objects(resource):
        metadata = obj["metadata"]
        elsewhere = namespace is not None and metadata["namespace"] != namespace
        if metadata["uid"] in there or metadata["uid"] in strangers or elsewhere:
            continue
        # One that is newer than the listing was made after it.
        if resource_version(obj) <= listing.version:
            cache.drop(resource, obj, listed=listing.version)
            swept.touched |= concerns(cache, resource, obj, None)[0]
    return True


def concerns(cache: ObjectCache, resource: Resource, known: JSON | None, now: JSON | None) -> tuple[set[Key], set[Key]]:
    """Whom it concerns that an object is `now` like this, and of those whom somebody asks something by annotation."""
    asked = owners(now) if now is not None and _request(now) != _request(known) else set()
    concerned = {key for item in (known, now) if item is not None for key in owners(item)}
    # Who claims other matches than before gives way to others, or takes something from them.
    before, after = (claims(resource, item) if item is not None else frozenset() for item in (known, now))
    return concerned | cache.claiming(before ^ after), asked


def _request(obj: JSON | None) -> str:
    return str(obj["metadata"].get("annotations", {}).get(ANNOTATION_REQUEST, "")) if obj is not None else ""
