"""What holds a rollout where it is by somebody's will: `spec.paused`, a request to pause, a step's approval.

docs/design.md, "Held by people". Held means that no step or stage is left and no further stable pod gets the version.
Judging goes on and what is proven bad is taken back; a way back by the fast path is never held.
"""

from modelrollout.core.reasons import Reason
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import Rollout, Stage, Status

_NOT_HELD = frozenset({Stage.INITIALIZING, Stage.ROLLING_BACK})


def paused(s: Snapshot, rollout: Rollout) -> bool:
    """Whether `spec` or a request stops the rollout where it is."""
    return held_by_all(rollout) and (s.spec.paused or rollout.paused is not None)


def held_by_all(rollout: Rollout) -> bool:
    """Whether people may hold this rollout at all: not on the way back, and not the first version ever."""
    return rollout.stage not in _NOT_HELD and bool(rollout.steps)


def waits_for_people(s: Snapshot, rollout: Rollout) -> bool:
    """Whether nothing but somebody's word is missing, or somebody stopped it: no clock runs against the version."""
    return paused(s, rollout) or rollout.waiting is not None


def hold(s: Snapshot, status: Status) -> tuple[Reason, str] | None:
    """Who holds what, as (reason, message) with what goes on; None when nobody does."""
    rollout = status.rollout
    if rollout is None:
        return _at_rest(s, status)
    if not held_by_all(rollout):
        return None
    if s.spec.paused:
        return Reason.SPEC_PAUSED, "spec.paused is true; set it to false to go on"
    if rollout.paused is not None:
        return Reason.PAUSE_REQUESTED, f"paused by {rollout.paused_by}; {command(s, 'resume')} goes on"
    if rollout.waiting is not None:
        step = f"step {rollout.step}/{len(rollout.steps)}"
        return Reason.WAITING_FOR_APPROVAL, f"{step} waits for approval; {command(s, 'promote')} goes on"
    return None


def _at_rest(s: Snapshot, status: Status) -> tuple[Reason, str] | None:
    if not s.spec.paused or status.stable is None:
        return None
    if not held_back(s, status):
        return Reason.SPEC_PAUSED, "spec.paused is true; nothing is started"
    return Reason.SPEC_PAUSED, f"spec.paused is true; set it to false to start version {s.target.version}"


def held_back(s: Snapshot, status: Status) -> bool:
    """Whether `spec.paused` is all that keeps a rollout from starting."""
    known = {version.revision for version in (status.stable, status.rejected and status.rejected.target) if version}
    return s.spec.paused and status.rollout is None and status.stable is not None and s.target.name not in known


def command(s: Snapshot, verb: str) -> str:
    """What to type."""
    return f"kubectl modelrollout {verb} {s.name} -n {s.namespace}"
