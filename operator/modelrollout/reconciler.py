"""The shell around the rule book: observe, decide, act, report. Every trigger leads to `reconcile()` of one key.

It is right after a kill between any two writes, because whatever it did not get to do is still to be done by the
next pass: the decision derives from the cluster alone (docs/design.md, "Restart safety").
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

import structlog

from modelrollout.core.actions import Action, Annotate, Apply, Decision, Delete, Emit, Reload
from modelrollout.core.decide import decide
from modelrollout.core.observe import Memory, observe
from modelrollout.core.readings import readings_wanted
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import InvalidSpec
from modelrollout.core.status_json import status_from_json, status_to_json
from modelrollout.core.story import stalled_alone
from modelrollout.core.values import JSON
from modelrollout.errors import Refused
from modelrollout.ports import Cluster, Events, Key, View
from modelrollout.probes import Probe, Sources

log = structlog.get_logger(__name__)

SETTLE = timedelta(milliseconds=200)
"""After a write the next pass looks whether the world is right now; an unchanged world ends that."""


REFUSED_RETRY = timedelta(seconds=10)
"""How soon a write that was refused is tried again: quotas, rights and missing kinds are mended by people."""


@dataclass(slots=True)
class _Remembered:
    """What this process holds for one object beside its probe."""

    probe: Probe
    route_generation: tuple[str, int] = ("", 0)
    route_seen: datetime | None = None
    applied: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    attempted: set[tuple[str, str]] = field(default_factory=set)
    refused: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(slots=True)
class Reconciler:
    """Runs passes; one at a time per key, which the work queue sees to."""

    view: View
    cluster: Cluster
    sources: Sources
    events: Events
    wake: Callable[[Key], None]
    _known: dict[Key, _Remembered] = field(default_factory=dict)

    async def reconcile(self, key: Key) -> timedelta | None:
        """One pass. Returns when the next is due by time alone. Raises ClusterUnavailable and Conflict: try again."""
        rollout = self.view.rollout(key)
        if rollout is None or "deletionTimestamp" in rollout["metadata"]:
            # Children go by their owner references; there is nothing else to undo.
            self.forget(key)
            return None
        known = self._known.get(key) or _Remembered(Probe(key, self.sources, self.wake))
        self._known[key] = known
        children = list(self.view.children(key))
        self._look_at_route(key, known, children)
        try:
            snapshot = observe(rollout, children, self._memory(known), self.sources.clock.now())
        except InvalidSpec as error:
            await self._report_invalid(key, rollout, str(error))
            return None
        decision = decide(snapshot)
        known.attempted.clear()
        wrote = await self._act(key, known, rollout, snapshot, decision)
        if wanted_no_more := known.refused.keys() - known.attempted:
            known.refused = {which: why for which, why in known.refused.items() if which not in wanted_no_more}
            self.wake(key)
        if known.refused:
            return REFUSED_RETRY
        return SETTLE if wrote else decision.requeue

    def forget(self, key: Key) -> None:
        """Stop reading for an object that is gone."""
        known = self._known.pop(key, None)
        if known is not None:
            known.probe.stop()

    def _memory(self, known: _Remembered) -> Memory:
        probe = known.probe
        refused = next(iter(known.refused.values()), "")
        return Memory(probe.servers, probe.analysed, probe.capacity, known.route_seen, refused)

    def _look_at_route(self, key: Key, known: _Remembered, children: Iterable[JSON]) -> None:
        """Note when the route's generation was first seen: the propagation floor counts from there."""
        for item in children:
            if item["kind"] == "HTTPRoute" and item["metadata"]["name"] == key.name:
                now = (item["metadata"]["uid"], item["metadata"].get("generation", 0))
                if now != known.route_generation:
                    known.route_generation, known.route_seen = now, self.sources.clock.now()

    async def _act(self, key: Key, known: _Remembered, rollout: JSON, snapshot: Snapshot, decision: Decision) -> bool:
        """Traffic safety, then the status, then the rest. True when anything was written to the cluster."""
        wrote = await self._perform(key, known, rollout, snapshot, decision.first)
        status = status_to_json(decision.status)
        if status != rollout.get("status", {}):
            _log_decision(key, snapshot, decision)
            await self.cluster.write_status(key, rollout, status)
            wrote = True
        # What to read is planned on the status as it now stands, so that a new step is measured at once.
        known.probe.want(readings_wanted(replace(snapshot, status=decision.status)))
        return await self._perform(key, known, rollout, snapshot, decision.then) or wrote

    async def _perform(
        self, key: Key, known: _Remembered, rollout: JSON, snapshot: Snapshot, actions: tuple[Action, ...]
    ) -> bool:
        """Carry actions out in order; True when one of them wrote to the cluster."""
        wrote = False
        for action in actions:
            match action:
                case Apply():
                    wrote |= await self._apply(key, known, snapshot, action)
                case Delete():
                    log.info("delete", rollout=key, kind=action.kind, name=action.name, why=action.why)
                    await self.cluster.delete(key, action.kind, action.name, action.uid)
                    wrote = True
                case Annotate():
                    await self.cluster.annotate_pod(key, action.pod, action.key, action.value)
                    wrote = True
                case Reload():
                    log.info("reload", rollout=key, pod=action.pod, versions=action.target.versions, why=action.why)
                    known.probe.reload(_uid(snapshot, action.pod), action)
                case Emit():
                    self.events.emit(rollout, action.reason, action.message, action.warning)
                case _:
                    assert_never(action)
        return wrote

    async def _apply(self, key: Key, known: _Remembered, snapshot: Snapshot, action: Apply) -> bool:
        """Apply unless exactly this was applied to exactly that object before and the API server wrote it its own way.

        (It normalises quantities such as 1000m; without this memory each pass would write them again.)
        """
        manifest = action.manifest
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        text = json.dumps(manifest, sort_keys=True)
        if known.applied.get((kind, name)) == (text, _state_of(self._found(key, kind, name))):
            return False
        log.info("apply", rollout=key, kind=kind, name=name, why=action.why)
        known.attempted.add((kind, name))
        try:
            await self.cluster.apply(key, manifest, action.create)
        except Refused as error:
            self._note_refusal(known, snapshot, (kind, name), str(error))
            return False
        known.refused.pop((kind, name), None)
        known.applied[(kind, name)] = (text, _state_of(self._found(key, kind, name)))
        return True

    def _note_refusal(self, known: _Remembered, snapshot: Snapshot, which: tuple[str, str], words: str) -> None:
        """Say it once; the next pass shows it as Stalled. The other writes of this pass go on: they may free a GPU."""
        problem = f"the API server refused {which[0]} {which[1]}: {words}"
        if known.refused.get(which) != problem:
            known.refused[which] = problem
            self.events.emit(snapshot_owner(snapshot), "WriteRefused", problem, warning=True)
            self.wake(snapshot_key(snapshot))

    def _found(self, key: Key, kind: str, name: str) -> JSON | None:
        found = (i for i in self.view.children(key) if i["kind"] == kind and i["metadata"]["name"] == name)
        return next(found, None)

    async def _report_invalid(self, key: Key, rollout: JSON, problem: str) -> None:
        """A spec that cannot be read stops only its own object, and says so where people look."""
        before = status_from_json(rollout.get("status", {}))
        generation = rollout["metadata"].get("generation", 0)
        status = status_to_json(stalled_alone(before, generation, self.sources.clock.now(), "InvalidSpec", problem))
        if status != rollout.get("status", {}):
            log.warning("invalid spec", rollout=key, problem=problem)
            await self.cluster.write_status(key, rollout, status)
            self.events.emit(rollout, "InvalidSpec", problem, warning=True)


def snapshot_owner(snapshot: Snapshot) -> JSON:
    """The least that an event needs to know of its object."""
    metadata = {"name": snapshot.name, "namespace": snapshot.namespace, "uid": snapshot.uid}
    return {"metadata": metadata}


def snapshot_key(snapshot: Snapshot) -> Key:
    """Whose snapshot it is."""
    return Key(snapshot.namespace, snapshot.name)


def _uid(snapshot: Snapshot, pod: str) -> str:
    return next(item.uid for item in snapshot.pods if item.name == pod)


def _state_of(raw: JSON | None) -> str:
    """Identifies what people wrote into an object: its generation, or its resourceVersion where it has none."""
    if raw is None:
        return ""
    metadata: Any = raw["metadata"]
    return f"{metadata.get('uid')}/{metadata.get('generation') or metadata.get('resourceVersion')}"


def _log_decision(key: Key, snapshot: Snapshot, decision: Decision) -> None:
    """One line per decision, with its evidence."""
    rollout, story = decision.status.rollout, decision.status.story
    log.info(
        "decision",
        rollout=key,
        phase=story.phase,
        stage=rollout.stage if rollout else None,
        step=story.current_step,
        weight=story.weight_set,
        target=snapshot.target.version,
        message=story.message,
        verdicts={judged.name: f"{judged.verdict}: {judged.detail}" for judged in decision.status.analysis},
        end=rollout.end.reason if rollout and rollout.end else None,
    )
