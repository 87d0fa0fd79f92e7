"""The rule book's front door: one snapshot in, one decision out (docs/design.md, "One pass").

The order of a pass is the product's promise: what makes traffic safe, then the status, then everything else.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from modelrollout.core import names
from modelrollout.core.actions import Action, Apply, Decision
from modelrollout.core.events import events
from modelrollout.core.evidence import marker
from modelrollout.core.names import Track
from modelrollout.core.pods import GATEWAY_SIGHT, LOST_AFTER, SHOWS, ready_by, stable_version
from modelrollout.core.preparing import canary_deadline_start, proving_report
from modelrollout.core.reasons import Reason
from modelrollout.core.retention import kept_until
from modelrollout.core.revisions import Revision
from modelrollout.core.route import http_route, reweighted
from modelrollout.core.snapshot import PROPAGATION, Snapshot
from modelrollout.core.status import Stage, Status
from modelrollout.core.story import SLOW_GATEWAY, tell
from modelrollout.core.suspicion import out_until, suspected_until
from modelrollout.core.transitions import next_status
from modelrollout.core.undo import agreed, pursued
from modelrollout.core.verdicts import next_deadline, step_length
from modelrollout.core.world import World, drain_end, wanted_weight, wanted_world
from modelrollout.core.writes import RESEND, owner, reloads, to_be_called, writes


def decide(s: Snapshot) -> Decision:
    """What to write now, and when to look again. Pure; the second pass over an unchanged world wants nothing.

    The weight needs nothing but the status and the route, so whatever else is amiss, it is lowered.
    """
    asked_for = s
    s = replace(pursued(s, s.status.rollout), status=agreed(s))
    status = next_status(s)
    if status.rollout is not None and s.status.rollout is None:
        # A pass that starts an undo goes on as those after it will.
        s = pursued(s, status.rollout)
    weight = wanted_weight(s, status.rollout) if status.rollout else 0
    lowered = tuple(_lower_weight(s, status, weight))
    known = replace(s, revisions={**s.revisions, s.target.name: s.target})
    stable = _stable_revision(s, status)
    world = wanted_world(known, status, stable) if stable else None
    status = tell(s, status, weight, _stalled(s, status, stable))
    status = replace(status, selector=",".join(f"{k}={v}" for k, v in names.selector(s.name, Track.STABLE).items()))
    if world is None:
        return Decision(status, lowered, events(asked_for, status))
    back = status.rollout is not None and status.rollout.stage is Stage.ROLLING_BACK
    # A reload call only starts here: it and the write of weight 0 run side by side.
    first = (*(reloads(known, status, world) if back else ()), *lowered)
    then = (*writes(known, status, world, bool(lowered)), *events(asked_for, status))
    return Decision(status, first, then, _requeue(s, status, world))


def _stable_revision(s: Snapshot, status: Status) -> Revision | None:
    """What stable pods are made from: the promoted revision, or the first one while there is none."""
    if status.stable is None or status.stable.revision == s.target.name:
        return s.target
    return s.revisions.get(status.stable.revision)


def _stalled(s: Snapshot, status: Status, stable: Revision | None) -> tuple[Reason, str] | None:
    """What only somebody else can mend, as (reason, message)."""
    if s.invalid:
        return Reason.INVALID_SPEC, s.invalid
    if stable is None and status.stable is not None:
        lost = "the ControllerRevision of the stable version is gone"
        return Reason.REVISION_LOST, f"{lost}; set spec back to version {status.stable.version}"
    for kind, name in s.taken:
        fix = "delete or rename it, or give this ModelRollout another name"
        return Reason.NAME_TAKEN, f"{kind} {name} exists and is not ours; {fix}"
    if s.conflict:
        fix = "give one of them hostnames of its own (or grpcHeaders), another listener, or delete one"
        return Reason.ROUTE_CONFLICT, f"{s.conflict}; {fix}"
    if s.refused:
        return Reason.WRITE_REFUSED, s.refused
    if s.contested:
        reason = Reason.ROUTE_CONTESTED if s.contested.startswith("HTTPRoute") else Reason.CHILD_CONTESTED
        return reason, f"{s.contested} is changed by somebody else again and again; find out who, and stop it"
    return _two_do_not_fit(s, status)


def _two_do_not_fit(s: Snapshot, status: Status) -> tuple[Reason, str] | None:
    rollout = status.rollout
    if rollout is None or rollout.stage is not Stage.PREPARING or rollout.fits or status.stable is None:
        return None
    report = proving_report(s, rollout)
    error = report.failure(stable_version(s)) if report else ""
    if not error:
        return None
    fix = "promotion by reload needs both; promotion.method: Roll does not"
    return Reason.NO_MEMORY_FOR_TWO_VERSIONS, f"both versions do not fit in one server ({error}); {fix}"


def _lower_weight(s: Snapshot, status: Status, weight: int) -> Iterator[Action]:
    """Lower the weight before anything else; for an abort with the reason in the same write: a kill cannot undo it.

    After a promotion the stable pods have what the canary has, so there is no hurry, and the status comes first.
    """
    rollout = status.rollout
    if s.route is None or (rollout is not None and rollout.stage is Stage.BAKING):
        return
    if s.route.weight is not None and s.route.weight <= weight:
        return
    end = rollout.end if rollout else None
    mark = marker(rollout, end) if rollout and end else s.route.abort
    why = f"abort: {end.reason}" if end else "less weight"
    found = s.child("HTTPRoute", s.name)
    if s.conflict and found is not None:
        # What spec asks for is somebody else's: nothing but the weight may change.
        yield Apply(reweighted(owner(s), found.raw, weight, mark), why, urgent=end is not None)
    else:
        manifest = http_route(owner(s), s.spec.traffic, s.spec.model_name, weight, mark)
        yield Apply(manifest, why, urgent=end is not None)


def _requeue(s: Snapshot, status: Status, world: World) -> timedelta | None:
    """When time alone makes the next pass due."""
    moments = [moment for moment in _due(s, status, world) if moment is not None and moment > s.now]
    return min(moments) - s.now if moments else None


def _due(s: Snapshot, status: Status, world: World) -> Iterator[datetime | None]:
    rollout, strategy = status.rollout, s.spec.strategy
    yield from _server_moments(s, status, world)
    if rollout is None:
        yield kept_until(s, status)
        return
    yield s.unheard + GATEWAY_SIGHT if s.unheard else None
    if s.route is not None:
        yield s.route.seen + PROPAGATION
        yield s.route.seen + SLOW_GATEWAY if s.route.problem else None
    step = rollout.current_step
    if rollout.stage is Stage.PREPARING and (start := canary_deadline_start(s)):
        yield ready_by(s, start)
    if rollout.stage is Stage.PROGRESSING and step is not None and rollout.step_started is not None:
        length = step_length(s, rollout, step)
        yield rollout.step_started + (length if length is not None else step.max_duration)
    yield suspected_until(s, rollout)
    yield out_until(s, rollout)
    if rollout.lost_since is not None:
        yield rollout.lost_since + LOST_AFTER
        yield ready_by(s, rollout.lost_since)
    if rollout.stage in {Stage.BAKING, Stage.ROLLING_BACK} and s.route is not None:
        yield drain_end(s.route, rollout.since, strategy)
    if rollout.stage is Stage.BAKING:
        yield rollout.since + max(strategy.bake, strategy.drain)
    yield next_deadline(s, rollout)


def _server_moments(s: Snapshot, status: Status, world: World) -> Iterator[datetime | None]:
    """When a server may be called again, and when what it says after a call counts."""
    for pod in s.pods:
        target, call = world.targets.get(pod.name), pod.server.reload
        # One that has neither been heard nor called comes back as an event: thousands may be, after a start.
        known = pod.report is not None or call is not None
        if target is not None and known and to_be_called(s, status, pod, target):
            yield s.now + RESEND
        if call is not None and call.ended is not None:
            yield call.ended + SHOWS
        if pod.server.silent_since is not None:
            yield pod.server.silent_since + LOST_AFTER
