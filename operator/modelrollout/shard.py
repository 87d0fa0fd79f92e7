"""Which namespaces are an operator's where several share a cluster: those that its label selector picks.

Without I/O: the supervisor tells it what the API server says of namespaces, and `process` asks it before each pass. A
namespace is left at once and entered after a while, so that two operators do not act in it (docs/design.md, "Shards").
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from modelrollout.core.values import JSON
from modelrollout.ports import Key
from modelrollout.resources import NAMESPACES, Listing, Resource, resource_version

ENTER_AFTER = 20.0
"""Seconds between a namespace's label and the first pass in it: by then whoever had it has seen the label go."""

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}"
_VALUES = rf"\( *(?:{_NAME})?(?: *, *(?:{_NAME})?)* *\)"
_REQUIREMENT = re.compile(rf"{_KEY}(?: *(?:==?|!=) *(?:{_NAME})?| +(?:in|notin) *{_VALUES})?|! *{_KEY}")
_COMMA = re.compile(r",(?![^(]*\))")


def parse_selector(text: str) -> str:
    """A label selector in one way of writing it, whatever the order of its requirements. Raises ValueError."""
    wanted = [" ".join(part.split()) for part in _COMMA.split(text)]
    for part in wanted:
        if not _REQUIREMENT.fullmatch(part):
            raise ValueError(f"{part!r} is no requirement of a label selector such as team=a, team in (a, b) or !team")
    return ",".join(sorted(wanted))


def lease_name(name: str, shard: str, selector: str) -> str:
    """The Lease of a shard: after its name, else after what it selects; just `name` where there are no shards."""
    part = shard or (hashlib.sha256(selector.encode()).hexdigest()[:10] if selector else "")
    return f"{name}-{part}" if part else name


@dataclass(slots=True)
class Shard:
    """The namespaces of one operator. `clock` gives seconds that only go forward."""

    selector: str
    clock: Callable[[], float]
    _ours: dict[str, tuple[float, int]] = field(default_factory=dict)
    """From when on they are ours, and the resourceVersion that says so."""
    _gone: dict[str, int] = field(default_factory=dict)
    _began: bool = False

    @property
    def resource(self) -> Resource:
        """Namespaces with the label, to be listed and watched: the API server selects."""
        return replace(NAMESPACES, selector=self.selector)

    def hear(self, event: str | None, namespace: JSON) -> bool:
        """Take in what a watch says; whether that changed anything."""
        name, version = namespace["metadata"]["name"], resource_version(namespace)
        if event == "DELETED":
            return self._leave(name, version)
        return self._enter(name, version, version)

    def learn(self, listing: Listing) -> set[str]:
        """Take in a listing; the namespaces for which that changed something. Those of the first are ours at once."""
        there = {item["metadata"]["name"]: resource_version(item) for item in listing.items}
        entered = {name for name, version in there.items() if self._enter(name, version, listing.version)}
        left = {name for name in self._ours.keys() - there.keys() if self._leave(name, listing.version)}
        self._began = True
        return entered | left

    def wait(self, key: Key) -> float | None:
        """Seconds until passes of a ModelRollout are ours, 0 when they are; None when they are not to be."""
        if key.namespace not in self._ours:
            return None
        return max(0.0, self._ours[key.namespace][0] - self.clock())

    def owns(self, key: Key) -> bool:
        """Whether its passes are ours now."""
        return self.wait(key) == 0

    def _enter(self, name: str, version: int, seen: int) -> bool:
        if seen <= self._gone.get(name, -1):
            return False
        known = self._ours.get(name)
        since = known[0] if known else self.clock() + (ENTER_AFTER if self._began else 0.0)
        self._ours[name] = since, max(version, known[1] if known else 0)
        return known is None

    def _leave(self, name: str, version: int) -> bool:
        if name not in self._ours or version < self._ours[name][1]:
            return False
        del self._ours[name]
        self._gone[name] = max(version, self._gone.get(name, -1))
        return True
