"""The simulated API server: objects with versions, conflicts, refusals, outages, and events for whoever watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from modelrollout.errors import ClusterUnavailable, Conflict, Refused
from modelrollout.resources import ROLLOUTS, resource_of
from tests.simulation.clock import stamp

if TYPE_CHECKING:
    from modelrollout.core.values import JSON
    from modelrollout.resources import Resource

NAME = "recsys"
Object = Mapping[str, Any]
"""Never modified: every write makes a new one, so that a view may keep the one that it saw."""


class Event(NamedTuple):
    """Something that a watch shows: when it happened, and whether the object is gone."""

    at: float
    resource: Resource
    obj: JSON
    gone: bool = False


@dataclass
class Api:
    """Objects by kind and name. `down` refuses every call for now, `refuses` kinds for good, as rights would."""

    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    version: int = 0
    down: bool = False
    refuses: set[str] = field(default_factory=set)

    def find(self, kind: str, name: str = NAME) -> Object | None:
        """An object, None when there is none."""
        return self.objects.get((kind, name))

    @property
    def rollout(self) -> Object:
        """The ModelRollout."""
        return self.objects["ModelRollout", NAME]

    def store(self, kind: str, obj: JSON, now: float) -> Object:
        """Keep an object as its next version; a change of anything but metadata and status is a new generation."""
        self.version += 1
        key = (kind, obj["metadata"]["name"])
        old = self.objects.get(key)
        before = (
            old["metadata"] if old else {"uid": obj["metadata"].get("uid", f"{kind}-{self.version}"), "generation": 0}
        )
        resource = resource_of(kind)
        metadata = {
            **obj["metadata"],
            "creationTimestamp": before.get("creationTimestamp", stamp(now)),
            "namespace": "default",
            "uid": before["uid"],
            "generation": before["generation"] + (old is None or _content(obj) != _content(old)),
            "resourceVersion": str(self.version),
        }
        new = {**obj, "apiVersion": resource.api_version, "kind": kind, "metadata": metadata}
        self.objects[key] = new
        self.events.append(Event(now, resource, new))
        return new

    def remove(self, kind: str, name: str, now: float) -> None:
        """Delete an object, whoever wants it."""
        old = self.objects.pop((kind, name), None)
        if old is not None:
            self.version += 1
            gone = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self.version)}}
            self.events.append(Event(now, resource_of(kind), gone, gone=True))

    # What the operator calls

    def apply(self, manifest: JSON, uid: str | None, now: float) -> Object:
        """Server-side apply; with a uid only to that very object, with a resourceVersion only as it was then.

        Raises as ports.Cluster does.
        """
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self.check_apply(manifest, uid)
        old = self.find(kind, name)
        status = {"status": old["status"]} if old and "status" in old else {}
        if old is not None and _said(old) == _said(manifest):
            return old
        return self.store(kind, {**manifest, **status}, now)

    def check_apply(self, manifest: JSON, uid: str | None) -> None:
        """Raise what keeps an apply from being taken."""
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        self.admit(kind)
        old = self.find(kind, name)
        if uid is not None and (old is None or old["metadata"]["uid"] != uid):
            raise Conflict(f"{kind} {name} is another object now")
        seen = manifest["metadata"].get("resourceVersion")
        if seen is not None and (old is None or old["metadata"]["resourceVersion"] != seen):
            raise Conflict(f"{kind} {name} has changed")

    def delete(self, kind: str, name: str, uid: str, now: float) -> None:
        """Delete that very object; one that is gone already is fine."""
        self.admit(kind)
        old = self.find(kind, name)
        if old is not None and old["metadata"]["uid"] == uid:
            self.remove(kind, name, now)

    def write_status(self, seen: JSON, status: JSON, now: float) -> Object:
        """Replace `status`. Raises Conflict when the object is not as it was seen."""
        self.check_status(seen)
        return self.store(ROLLOUTS.kind, {**self.rollout, "status": status}, now)

    def check_status(self, seen: JSON) -> None:
        """Raise what keeps a status from being taken."""
        self.admit(ROLLOUTS.kind)
        if self.rollout["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            raise Conflict("the object has been modified")

    def admit(self, kind: str) -> None:
        """Raise what keeps a write of this kind from being taken now."""
        if self.down:
            raise ClusterUnavailable("no answer")
        if kind in self.refuses:
            raise Refused(f"{kind} is forbidden")


def _content(obj: JSON) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in {"apiVersion", "kind", "metadata", "status"}}


def _said(obj: JSON) -> tuple[Any, ...]:
    metadata = obj["metadata"]
    return _content(obj), metadata.get("labels"), metadata.get("annotations")
