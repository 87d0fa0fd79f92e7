"""Every object that concerns the operator, as watches and own writes last showed it. Implements `ports.View`.

Lives in the main event loop. Events come from `handlers`, own writes from `adapters.cluster`, listings from the sweep;
whichever is newer by resourceVersion stands.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from modelrollout.core.claims import Claim, Place, claims_of
from modelrollout.core.names import LABEL_MANAGED_BY, LABEL_ROLLOUT, MANAGER, Track, child
from modelrollout.core.values import JSON
from modelrollout.lean import lean
from modelrollout.ports import Key
from modelrollout.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    HTTP_ROUTES,
    ROLLOUTS,
    SERVICES,
    Resource,
    resource_version,
)

_REMEMBERED_GONE = 10_000
_FOR_GOOD = 2**63

ObjectId = tuple[str, str, str]
"""Kind, namespace, name."""


class ObjectCache:
    """Objects by kind, namespace and name, with an index from a rollout to everything of its own."""

    def __init__(self) -> None:
        """Empty; the first listing fills it before anything is reconciled."""
        self._objects: dict[ObjectId, JSON] = {}
        self._of_rollout: dict[Key, set[ObjectId]] = {}
        self._gone: OrderedDict[str, int] = OrderedDict()
        self._claiming: dict[Place, set[Key]] = {}

    def put(self, resource: Resource, obj: JSON, listed: int = 0) -> bool:
        """Store an object unless it is older than, or the same as, what is known. Whether it was stored.

        `listed` is the resourceVersion of a listing that has it: then it was there, however old it is itself.
        """
        identity, uid, version = identify(resource, obj), obj["metadata"]["uid"], resource_version(obj)
        known = self._objects.get(identity)
        gone = self._gone.get(uid, -1)
        if version <= gone and listed < gone:
            return False
        if known is not None and known["metadata"]["uid"] == uid and version <= resource_version(known):
            return False
        if known is not None and known["metadata"]["uid"] != uid and version < resource_version(known):
            return False
        self._remove(identity)
        self._objects[identity] = lean(resource, obj)
        for place in _filed(claims(resource, obj)):
            self._claiming.setdefault(place, set()).add(Key(identity[1], identity[2]))
        for key in owners(obj):
            self._of_rollout.setdefault(key, set()).add(identity)
        return True

    def drop(self, resource: Resource, obj: JSON, for_good: bool = False, listed: int = 0) -> bool:
        """Forget an object; whether it was known. A late event of it cannot bring it back.

        With `for_good` its uid never returns; else a newer resourceVersion may: a label was taken away, then put back.
        `listed` is the resourceVersion of a listing that does not have it any more.
        """
        identity, uid = identify(resource, obj), obj["metadata"]["uid"]
        self._remember_gone(uid, _FOR_GOOD if for_good else max(resource_version(obj), listed))
        known = self._objects.get(identity)
        if known is None or known["metadata"]["uid"] != uid:
            return False
        self._remove(identity)
        return True

    def find(self, kind: str, namespace: str, name: str) -> JSON | None:
        """One object, None when it is not known."""
        return self._objects.get((kind, namespace, name))

    def rollout(self, key: Key) -> JSON | None:
        """The ModelRollout, None when there is none."""
        return self.find(ROLLOUTS.kind, key.namespace, key.name)

    def children(self, key: Key) -> Iterator[JSON]:
        """Objects with the rollout's label, and any that have one of its names, whoever made them."""
        identities = {*self._of_rollout.get(key, ()), *_exact_names(key)}
        for identity in sorted(identities):
            obj = self._objects.get(identity)
            if obj is not None and identity[0] != ROLLOUTS.kind:
                yield obj

    def objects(self, resource: Resource) -> list[JSON]:
        """All of one kind."""
        return [obj for identity, obj in self._objects.items() if identity[0] == resource.kind]

    def rollouts(self) -> list[Key]:
        """Every ModelRollout that is known."""
        return [Key(namespace, name) for kind, namespace, name in self._objects if kind == ROLLOUTS.kind]

    def strangers(self) -> list[tuple[str, JSON]]:
        """Kind and object of those in our names that no watch of ours follows: only asking again shows a change."""
        return [(i[0], o) for i, o in self._objects.items() if i[0] != ROLLOUTS.kind and not _is_watched(o)]

    def rivals(self, key: Key) -> Iterator[JSON]:
        """Other ModelRollouts that may claim a match of this one."""
        rollout = self.rollout(key)
        for other in self.claiming(claims(ROLLOUTS, rollout) if rollout is not None else ()) - {key}:
            found = self.rollout(other)
            if found is not None:
                yield found

    def claiming(self, wanted: Iterable[Claim]) -> set[Key]:
        """ModelRollouts with claims that may overlap one of these."""
        return {key for claim in wanted for place in claim.sought for key in self._claiming.get(place, ())}

    def _remove(self, identity: ObjectId) -> None:
        known = self._objects.pop(identity, None)
        for place in _filed(claims(ROLLOUTS, known)) if known is not None and identity[0] == ROLLOUTS.kind else ():
            self._claiming[place].discard(Key(identity[1], identity[2]))
            if not self._claiming[place]:
                del self._claiming[place]
        for key in owners(known) if known is not None else ():
            identities = self._of_rollout.get(key, set())
            identities.discard(identity)
            if not identities:
                self._of_rollout.pop(key, None)

    def _remember_gone(self, uid: str, version: int) -> None:
        self._gone[uid] = max(version, self._gone.pop(uid, -1))
        if len(self._gone) > _REMEMBERED_GONE:
            self._gone.popitem(last=False)


def identify(resource: Resource, obj: JSON) -> ObjectId:
    """Where an object stands in the cache."""
    return resource.kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def claims(resource: Resource, obj: JSON) -> frozenset[Claim]:
    """What a ModelRollout claims on gateways; nothing for other kinds."""
    return claims_of(obj) if resource is ROLLOUTS else frozenset()


def _filed(made: Iterable[Claim]) -> set[Place]:
    return {place for claim in made for place in claim.filed}


def owners(obj: JSON) -> set[Key]:
    """The rollouts that an object concerns: itself, the one its label names, the one that controls it."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "")
    if obj.get("kind") == ROLLOUTS.kind:
        return {Key(namespace, metadata["name"])}
    names = {metadata.get("labels", {}).get(LABEL_ROLLOUT)}
    names |= {ref["name"] for ref in metadata.get("ownerReferences", ()) if _is_controlling_rollout(ref)}
    return {Key(namespace, name) for name in names if name}


def controller_uid(obj: JSON) -> str | None:
    """The uid of the object's controller, None when it has none."""
    refs: Iterable[JSON] = obj["metadata"].get("ownerReferences", ())
    return next((ref["uid"] for ref in refs if ref.get("controller")), None)


def _is_controlling_rollout(reference: JSON) -> bool:
    return bool(reference.get("controller")) and reference.get("kind") == ROLLOUTS.kind


def _is_watched(obj: JSON) -> bool:
    return bool(obj["metadata"].get("labels", {}).get(LABEL_MANAGED_BY) == MANAGER)


def _exact_names(key: Key) -> Iterator[ObjectId]:
    for track in Track:
        for resource in (DEPLOYMENTS, CONFIG_MAPS, SERVICES):
            yield resource.kind, key.namespace, child(key.name, track)
    yield HTTP_ROUTES.kind, key.namespace, key.name
