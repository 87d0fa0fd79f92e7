"""What comes next: `status.nextDecision`, a time or an event in words. Part of `story`; nothing branches on it.

Times are absolute and move only when what they follow from moves, so that nobody is told the same again and again.
"""

from datetime import datetime

from modelrollout.core.names import Track
from modelrollout.core.pausing import held_back, hold
from modelrollout.core.pods import answering, canary_replicas, ready_by
from modelrollout.core.reasons import Phase, Reason
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import Rollout, Stage, Status
from modelrollout.core.suspicion import suspected_until
from modelrollout.core.verdicts import holding, step_length, waits_for_alerts, waits_for_baseline
from modelrollout.core.world import has_room, waits_for_room

_MENDED_BY = {
    Reason.INVALID_SPEC: "spec is corrected",
    Reason.REVISION_LOST: "spec asks for a revision that can be served",
    Reason.NAME_TAKEN: "the other object is gone",
    Reason.ROUTE_CONFLICT: "one of the two claims another match",
    Reason.WRITE_REFUSED: "the API server takes the write; it is tried again every 10 s",
    Reason.ROUTE_CONTESTED: "nobody else changes the route any more",
    Reason.CHILD_CONTESTED: "nobody else changes it any more",
    Reason.NO_MEMORY_FOR_TWO_VERSIONS: "both versions load in one server; rejected after canaryReadyDeadline",
}


_WHEN_HELD = {
    Reason.SPEC_PAUSED: "when spec.paused is false",
    Reason.PAUSE_REQUESTED: "when resume is asked for",
    Reason.WAITING_FOR_APPROVAL: "when promote is asked for",
}


def stalled_outlook(reason: Reason) -> str:
    """What an object waits for that cannot go on by itself."""
    return f"when {_MENDED_BY[reason]}"


def outlook(s: Snapshot, status: Status) -> str:
    """The next thing that is decided, and when or by what."""
    rollout, held = status.rollout, hold(s, status)
    if held is not None and (rollout is not None or held_back(s, status)):
        return _WHEN_HELD[held[0]]
    if rollout is None:
        return _settled(s, status)
    version = rollout.target.version
    match rollout.stage:
        case Stage.INITIALIZING:
            return f"{Phase.HEALTHY} when {s.spec.serving.replicas} pods answer with version {version}"
        case Stage.PREPARING:
            return _preparing(s, rollout)
        case Stage.PROGRESSING:
            return _progressing(s, rollout)
        case Stage.PROMOTING:
            return _promoting(s, rollout)
        case Stage.BAKING:
            return _baking(s, rollout)
        case Stage.ROLLING_BACK:
            pods = (
                f"every stable pod has version {status.stable.version} alone" if status.stable else "all is as before"
            )
            return f"over when weight 0 is live and drained, the canary is gone and {pods}"


def _settled(s: Snapshot, status: Status) -> str:
    if status.stable is not None and status.rejected is None and s.target.name != status.stable.revision:
        return f"version {s.target.version} starts when nothing stands against it"
    change = "when spec.model.version changes"
    return change if status.rejected is None else f"{change}, or when retry is asked for"


def _preparing(s: Snapshot, rollout: Rollout) -> str:
    pods, needed = s.track(Track.CANARY), canary_replicas(s, rollout)
    placed = [pod.scheduled for pod in pods if pod.scheduled is not None]
    if len(placed) < len(pods) or (not pods and not has_room(s, needed)):
        return "the canary starts when a node has room for it"
    if len(answering(s, Track.CANARY, rollout.target.version)) < needed:
        deadline = _at(ready_by(s, max(placed))) if placed else ""
        return f"rejected at {deadline} unless the canary answers before" if deadline else "when the canary has pods"
    if not rollout.fits and rollout.method is Method.RELOAD:
        return "step 1 when one canary pod has had both versions loaded"
    why = waits_for_baseline(s, rollout) or waits_for_alerts(s, rollout)
    return f"step 1 when that is over: {why}" if why else "step 1"


def _progressing(s: Snapshot, rollout: Rollout) -> str:
    step, number = rollout.current_step, rollout.step
    assert step is not None
    until = suspected_until(s, rollout)
    if until is not None:
        return f"step {number} goes on at {_at(until)} unless the suspicion is proven before"
    if rollout.lost_since is not None:
        return f"step {number} begins again when its canary pods are back"
    if rollout.step_started is None:
        return f"step {number} begins when {step.weight} % is live"
    length, after = step_length(s, rollout, step), _after(rollout)
    if length is None:
        why = holding(s, rollout)
        return f"{after} when a verdict allows it" + (f": {why}" if why else "")
    return f"{after} at {_at(rollout.step_started + length)} unless a verdict stands against it"


def _after(rollout: Rollout) -> str:
    return f"step {rollout.step + 1}" if rollout.step < len(rollout.steps) else "promotion"


def _promoting(s: Snapshot, rollout: Rollout) -> str:
    if waits_for_room(s, rollout):
        return "promotion goes on when a node has room for one more stable pod"
    until = suspected_until(s, rollout)
    if until is not None:
        return f"promotion goes on at {_at(until)} unless the suspicion is proven before"
    return f"the bake begins when all {s.spec.serving.replicas} stable pods have version {rollout.target.version}"


def _baking(s: Snapshot, rollout: Rollout) -> str:
    over = rollout.since + max(s.spec.strategy.bake, s.spec.strategy.drain)
    why = holding(s, rollout)
    if why:
        return f"promoted when a verdict allows it: {why}"
    return f"promoted at {_at(over)} unless it is proven bad before"


def _at(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
