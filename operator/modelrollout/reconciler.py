"""The shell around the rule book: observe, decide, act, report. Every trigger leads to `reconcile()` of one key.

It is right after a kill between any two writes, because whatever it did not get to do is still to be done by the
next pass: the decision derives from the cluster alone (docs/design.md, "Restart safety").
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import structlog

from modelrollout.acting import Actor, Written
from modelrollout.contact import Contact
from modelrollout.core.actions import Decision
from modelrollout.core.alerts import Alert
from modelrollout.core.claims import conflict
from modelrollout.core.decide import decide
from modelrollout.core.observe import Memory, observe
from modelrollout.core.readings import readings_wanted
from modelrollout.core.reasons import Reason
from modelrollout.core.route import acceptance
from modelrollout.core.safety import lower_only
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import InvalidSpec
from modelrollout.core.status import SCHEMA_VERSION
from modelrollout.core.status_json import status_from_json, status_to_json
from modelrollout.core.story import stalled_alone
from modelrollout.core.values import JSON
from modelrollout.metrics import ENDED
from modelrollout.ports import Cluster, Events, Key, View, Wake
from modelrollout.probes import Probe, Sources
from modelrollout.tracing import annotate

log = structlog.get_logger(__name__)

SETTLE = timedelta(milliseconds=200)
"""After a write the next pass looks whether the world is right now; an unchanged world ends that."""


@dataclass(slots=True)
class _Remembered:
    """What this process holds for one object. `stored` is the last status written, and as the API server kept it."""

    probe: Probe
    written: Written = field(default_factory=Written)
    route: tuple[object, ...] = ()
    route_seen: datetime | None = None
    readable: JSON | None = None
    stored: tuple[JSON, JSON] | None = None


@dataclass(slots=True)
class Reconciler:
    """Runs passes; one at a time per key, which the work queue sees to. `told` is what Alertmanager called about."""

    view: View
    cluster: Cluster
    sources: Sources
    events: Events
    wake: Wake
    contact: Contact = field(default_factory=Contact)
    told: Callable[[Key], tuple[Alert, ...]] = lambda _key: ()
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
        snapshot = await self._readable(key, known, rollout, children)
        return None if snapshot is None else await self._pass(key, known, rollout, snapshot)

    async def _pass(self, key: Key, known: _Remembered, rollout: JSON, snapshot: Snapshot) -> timedelta | None:
        annotate(revision=snapshot.target.name, version=snapshot.target.version)
        decision, written = decide(snapshot), known.written
        if decision.status.rollout is not None:
            annotate(attempt=decision.status.rollout.attempt, step=decision.status.rollout.step)
        written.attempted.clear()
        if await self._act(key, known, rollout, snapshot, decision):
            return SETTLE
        if written.no_more_refused():
            return timedelta()
        delays = [*written.retry(bool(snapshot.contested)), *([decision.requeue] if decision.requeue else ())]
        return min(delays, default=None)

    def forget(self, key: Key) -> None:
        """Stop reading for an object that is gone."""
        known = self._known.pop(key, None)
        if known is not None:
            known.probe.stop()

    def stop(self) -> None:
        """Stop reading altogether: another process acts from now on."""
        for key in list(self._known):
            self.forget(key)

    async def _readable(self, key: Key, known: _Remembered, rollout: JSON, children: Iterable[JSON]) -> Snapshot | None:
        """The snapshot. None for an object that this operator cannot read: then an abort on record is all it does."""
        try:
            if rollout.get("status", {}).get("schemaVersion", SCHEMA_VERSION) <= SCHEMA_VERSION:
                return self._observe(rollout, children, known)
            invalid = ""
        except InvalidSpec as error:
            invalid = str(error)
        action = lower_only(rollout, children)
        if action is not None:
            log.warning("abort of an object that cannot be read", rollout=key)
            await self.cluster.apply(key, action.manifest, create=False)
        if invalid:
            await self._report_invalid(key, rollout, invalid)
        return None

    def _observe(self, rollout: JSON, children: Iterable[JSON], known: _Remembered) -> Snapshot:
        """Raises InvalidSpec, unless there was a spec before that could be read: the rollout goes on with that."""
        now = self.sources.clock.now()
        memory = replace(self._memory(known, now), conflict=conflict(rollout, self.view.rivals(known.probe.key)))
        try:
            snapshot = observe(rollout, children, memory, now)
        except InvalidSpec as error:
            if known.readable is None:
                raise
            return observe({**rollout, "spec": known.readable}, children, replace(memory, invalid=str(error)), now)
        known.readable = rollout["spec"]
        return snapshot

    def _memory(self, known: _Remembered, now: datetime) -> Memory:
        probe, written = known.probe, known.written
        refused = next(iter(written.refused.values()), "")
        contested = written.repairs.contested(now)
        memory = Memory(probe.servers, probe.analysed, probe.capacity, known.route_seen, refused, contested)
        return replace(memory, unheard=self.contact.unheard(now), alerts=self.told(known.probe.key))

    def _look_at_route(self, key: Key, known: _Remembered, children: Iterable[JSON]) -> None:
        """Note when the route was first seen as gateways have it now: propagation and drains count from there."""
        for item in children:
            if item["kind"] == "HTTPRoute" and item["metadata"]["name"] == key.name:
                now = acceptance(item)
                if now != known.route:
                    known.route, known.route_seen = now, self.sources.clock.now()

    async def _act(self, key: Key, known: _Remembered, rollout: JSON, snapshot: Snapshot, decision: Decision) -> bool:
        """Traffic safety, then the status, then the rest; an abort is a pass by itself. True when anything was written.

        What an abort leaves to do is in the marker that the route then has, so that others are not kept waiting for it;
        nor by further readings, which would change nothing any more.
        """
        probe, written = known.probe, known.written
        if decision.aborts:
            probe.pause()
        actor = Actor(self.view, self.cluster, self.events, self.sources.clock, self.wake)
        wrote = await actor.perform(rollout, snapshot, probe, written, decision.first)
        if wrote and decision.aborts:
            self.wake(key)
            return True
        status = status_to_json(decision.status)
        # An older definition drops fields that it does not know: what it made of this very status is no difference.
        if status != rollout.get("status", {}) and known.stored != (status, rollout.get("status")):
            _log_decision(key, snapshot, decision, probe.measured)
            await self.cluster.write_status(key, rollout, status)
            if decision.status.history[:1] != snapshot.status.history[:1]:
                ENDED.labels(decision.status.history[0].end.outcome).inc()
            after = self.view.rollout(key)
            known.stored = (status, after["status"]) if after is not None and "status" in after else None
            wrote = True
        # What to read is planned on the status as it now stands, so that a new step is measured at once.
        probe.want(readings_wanted(replace(snapshot, status=decision.status)))
        return await actor.perform(rollout, snapshot, probe, written, decision.then) or wrote

    async def _report_invalid(self, key: Key, rollout: JSON, problem: str) -> None:
        """A spec that cannot be read stops only its own object, and says so where people look."""
        before = status_from_json(rollout.get("status", {}))
        generation = rollout["metadata"].get("generation", 0)
        status = status_to_json(
            stalled_alone(before, generation, self.sources.clock.now(), Reason.INVALID_SPEC, problem)
        )
        if status != rollout.get("status", {}):
            log.warning("invalid spec", rollout=key, problem=problem)
            await self.cluster.write_status(key, rollout, status)
            self.events.emit(rollout, Reason.INVALID_SPEC, problem, warning=True)


def _log_decision(key: Key, snapshot: Snapshot, decision: Decision, measured: datetime | None) -> None:
    """One line per decision, with its evidence. `measured` is when the last answer of the metrics came in."""
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
        measured=measured.isoformat() if measured else None,
    )
