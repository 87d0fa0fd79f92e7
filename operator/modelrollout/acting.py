"""Carries out what a pass decided, and remembers of each object's children what was written, refused and repaired."""

import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, assert_never

import structlog

from modelrollout.core.actions import Action, Annotate, Apply, Delete, Emit, Reload
from modelrollout.core.names import MANAGER
from modelrollout.core.reasons import Reason
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.values import JSON
from modelrollout.errors import ClusterUnavailable, Conflict, Refused
from modelrollout.metrics import REPAIRS
from modelrollout.ports import Clock, Cluster, Events, Key, View, Wake
from modelrollout.probes import Probe
from modelrollout.repairs import TRUCE, ObjectName, Repairs

log = structlog.get_logger(__name__)

REFUSED_RETRY = timedelta(seconds=10)
"""How soon a write that was refused is tried again: quotas, rights and missing kinds are mended by people."""


@dataclass(slots=True)
class Written:
    """What this process wrote for one ModelRollout; losing it costs a few writes that change nothing."""

    applied: dict[ObjectName, tuple[str, str]] = field(default_factory=dict)
    attempted: set[ObjectName] = field(default_factory=set)
    refused: dict[ObjectName, str] = field(default_factory=dict)
    repairs: Repairs = field(default_factory=Repairs)

    def no_more_refused(self) -> bool:
        """Forget refusals of writes that the pass did not want any more; whether there were any."""
        kept = {which: why for which, why in self.refused.items() if which in self.attempted}
        fewer, self.refused = len(kept) < len(self.refused), kept
        return fewer

    def retry(self, contested: bool) -> list[timedelta]:
        """When another pass may do what could not be done in this one."""
        return [*([REFUSED_RETRY] if self.refused else ()), *([TRUCE] if contested else ())]


@dataclass(frozen=True, slots=True)
class Actor:
    """Carries actions out, in order, for any ModelRollout."""

    view: View
    cluster: Cluster
    events: Events
    clock: Clock
    wake: Wake

    async def perform(
        self, rollout: JSON, snapshot: Snapshot, probe: Probe, written: Written, actions: tuple[Action, ...]
    ) -> bool:
        """True when one of them wrote to the cluster. Raises ClusterUnavailable and Conflict.

        An action that fails does not stop those after it, they may matter more; the first error is raised at the end.
        """
        wrote, failed = False, None
        for action in actions:
            try:
                wrote |= await self._perform(rollout, snapshot, probe, written, action)
            except (ClusterUnavailable, Conflict) as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return wrote

    async def _perform(self, rollout: JSON, snapshot: Snapshot, probe: Probe, written: Written, action: Action) -> bool:
        key = probe.key
        match action:
            case Apply():
                return await self._apply(key, snapshot, written, action)
            case Delete():
                log.info("delete", rollout=key, kind=action.kind, name=action.name, why=action.why)
                await self.cluster.delete(key, action.kind, action.name, action.uid)
                # Made again with the same text it is no repair of what somebody else did.
                written.applied.pop((action.kind, action.name), None)
                return True
            case Annotate():
                await self.cluster.annotate_pod(key, action.pod, action.key, action.value)
                return True
            case Reload():
                log.info("reload", rollout=key, pod=action.pod, versions=action.target.versions, why=action.why)
                probe.reload(_uid(snapshot, action.pod), action)
                return False
            case Emit():
                self.events.emit(rollout, action.reason, action.message, action.warning)
                return False
            case _:
                assert_never(action)

    async def _apply(self, key: Key, snapshot: Snapshot, written: Written, action: Apply) -> bool:
        """Apply unless exactly this was applied to exactly that object before and the API server wrote it its own way.

        (It normalises quantities such as 1000m; without this memory each pass would write them again.)
        """
        which = (action.manifest["kind"], action.manifest["metadata"]["name"])
        text, before = _digest(action.manifest), written.applied.get(which)
        written.attempted.add(which)
        if before == (text, _state_of(self._found(key, which))):
            return False
        if before is not None and before[0] == text and not self._repair(snapshot, written, which, action):
            return False
        log.info("apply", rollout=key, kind=which[0], name=which[1], why=action.why)
        try:
            await self.cluster.apply(key, _guarded(action), action.create)
        except Refused as error:
            self._note_refusal(key, written, which, str(error))
            return False
        written.refused.pop(which, None)
        written.applied[which] = (text, _state_of(self._found(key, which)))
        return True

    def _repair(self, snapshot: Snapshot, written: Written, which: ObjectName, action: Apply) -> bool:
        """Whether to write once more what somebody else changed. Said once; a fight without end is not entered."""
        now = self.clock.now()
        REPAIRS.labels(which[0]).inc()
        if written.repairs.first(which, now):
            found = self._found(Key(snapshot.namespace, snapshot.name), which)
            reason = Reason.ROUTE_OVERWRITTEN if which[0] == "HTTPRoute" else Reason.CHILD_OVERWRITTEN
            text = f"{_who_changed(found)} changed {which[0]} {which[1]}; it was written back"
            self.events.emit(_owner(snapshot), reason, text, warning=True)
        return written.repairs.allow(which, now) or action.urgent

    def _note_refusal(self, key: Key, written: Written, which: ObjectName, words: str) -> None:
        """The next pass shows it as Stalled and says it. The other writes of this pass go on: they may free a GPU."""
        problem = f"the API server refused {which[0]} {which[1]}: {words}"
        if written.refused.get(which) != problem:
            written.refused[which] = problem
            self.wake(key)

    def _found(self, key: Key, which: ObjectName) -> JSON | None:
        found = (i for i in self.view.children(key) if (i["kind"], i["metadata"]["name"]) == which)
        return next(found, None)


def _digest(manifest: JSON) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _guarded(action: Apply) -> JSON:
    if not action.seen:
        return action.manifest
    return {**action.manifest, "metadata": {**action.manifest["metadata"], "resourceVersion": action.seen}}


def _who_changed(raw: JSON | None) -> str:
    """The field manager that wrote last beside us, as far as the API server tells."""
    entries = raw["metadata"].get("managedFields", ()) if raw is not None else ()
    others = [item for item in entries if item.get("manager") != MANAGER and not item.get("subresource")]
    last = max(others, key=lambda item: str(item.get("time", "")), default=None)
    return str(last["manager"]) if last is not None else "somebody"


def _owner(snapshot: Snapshot) -> JSON:
    """The least that an event needs to know of its object."""
    return {"metadata": {"name": snapshot.name, "namespace": snapshot.namespace, "uid": snapshot.uid}}


def _uid(snapshot: Snapshot, pod: str) -> str:
    return next(item.uid for item in snapshot.pods if item.name == pod)


def _state_of(raw: JSON | None) -> str:
    """Identifies what people wrote into an object: its generation, or its resourceVersion where it has none."""
    if raw is None:
        return ""
    metadata: Any = raw["metadata"]
    return f"{metadata.get('uid')}/{metadata.get('generation') or metadata.get('resourceVersion')}"
