"""Whether what somebody asks for makes sense now, and the answer that `status.lastRequest` gives.

docs/design.md, "Requests". A request that does not fit does nothing; its answer says why, and what would work.
"""

from modelrollout.core.requests import LONGEST, Request, Verb, pending, stale
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import Approval, LastRequest, Rollout, Stage, Status
from modelrollout.core.suspicion import suspected_until
from modelrollout.core.undo import undo_target
from modelrollout.core.values import format_time
from modelrollout.core.verdicts import holding

_LONGEST_ANSWER = 1024
_AT_REST = frozenset({Verb.RETRY, Verb.UNDO})
"""Verbs that start something."""
_ONWARD = frozenset({Verb.PROMOTE, Verb.PROMOTE_FULL, Verb.SKIP})
"""Verbs that bring a version closer to more traffic."""
_STEPS = frozenset({Stage.PROGRESSING})
_BEFORE_PROMOTION = frozenset({Stage.PREPARING, Stage.PROGRESSING})


def granted(s: Snapshot) -> Request | None:
    """What somebody asks for now, if it fits what is going on. A start that is not possible yet stays pending."""
    request = pending(s)
    if not isinstance(request, Request) or _waits(s, request) or _misfit(s, request):
        return None
    return request


def asks(s: Snapshot, verb: Verb) -> bool:
    """Whether somebody asks for this now, and it fits."""
    request = granted(s)
    return request is not None and request.verb is verb


def handled(s: Snapshot, after: Status) -> LastRequest | None:
    """What `status.lastRequest` says when the pass over `s` has come to `after`."""
    request = pending(s)
    if request is None or (isinstance(request, Request) and _waits(s, request)):
        return s.status.last_request
    answer = request if isinstance(request, str) else _misfit(s, request) or _done(s, request, after)
    return LastRequest(s.request[:LONGEST], answer[:_LONGEST_ANSWER], s.asker)


def was_done(answer: str) -> bool:
    """Whether an answer means yes. All others say why not: stale, not understood, not possible now."""
    return answer.partition(": ")[2].startswith("done")


def wishes_start(s: Snapshot) -> bool:
    """Whether somebody asks for a rollout to begin, be it possible yet or not."""
    request = pending(s)
    return isinstance(request, Request) and _starts(s, request)


def _starts(s: Snapshot, request: Request) -> bool:
    return request.verb in _AT_REST and s.status.rollout is None and not _misfit(s, request)


def _waits(s: Snapshot, request: Request) -> bool:
    """Whether it would start something that cannot start yet."""
    return not s.may_start and _starts(s, request)


def _misfit(s: Snapshot, request: Request) -> str:
    """Why a request does nothing, empty when it fits."""
    late = stale(s, request)
    if late:
        return late
    rollout = s.status.rollout
    why = _at_rest(s, request) if rollout is None else _under_way(s, rollout, request)
    return f"{request.verb}: {why}" if why else ""


def _at_rest(s: Snapshot, request: Request) -> str:
    if request.verb is Verb.UNDO:
        found = undo_target(s, request.target)
        return found if isinstance(found, str) else ""
    return "spec.paused is true, so nothing is started; set it to false first" if s.spec.paused else ""


def _under_way(s: Snapshot, rollout: Rollout, request: Request) -> str:
    if rollout.stage is Stage.INITIALIZING:
        return "nothing to go back to or to compare with, this is the first version; change spec.model.version instead"
    if rollout.stage is Stage.ROLLING_BACK:
        return "it is being taken back already"
    match request.verb:
        case Verb.UNDO:
            return _undo_under_way(s, rollout, request)
        case Verb.PAUSE:
            return _pause(rollout)
        case Verb.RESUME:
            return _resume(s, rollout)
        case Verb.PROMOTE | Verb.SKIP | Verb.PROMOTE_FULL:
            return _onward(s, rollout, request.verb)
    return ""


def _undo_under_way(s: Snapshot, rollout: Rollout, request: Request) -> str:
    stable = s.status.stable
    if not request.target or (stable is not None and stable.revision == request.target):
        return ""
    serving = f", back to version {stable.version}" if stable else ""
    return f"version {rollout.target.version} is under way; undo without a target takes it back{serving}"


def _pause(rollout: Rollout) -> str:
    if not rollout.steps:
        return "going back by the fast path is not held up; abort stays with the version that serves"
    return f"paused already, by {rollout.paused_by}" if rollout.paused else ""


def _resume(s: Snapshot, rollout: Rollout) -> str:
    if rollout.paused is not None:
        return ""
    if s.spec.paused:
        return "nobody asked for a pause; spec.paused is true, set it to false to go on"
    return "it waits for approval; promote goes on" if rollout.waiting else "it is not paused"


def _onward(s: Snapshot, rollout: Rollout, verb: Verb) -> str:
    stages = _BEFORE_PROMOTION if verb is Verb.PROMOTE_FULL else _STEPS
    if rollout.stage not in stages or not rollout.steps:
        return _no_step(rollout)
    if s.spec.paused:
        return "spec.paused is true; set it to false first"
    until = suspected_until(s, rollout)
    if until is not None:
        return f"{rollout.suspect} suspects the version; that is settled at {format_time(until)}, abort does not wait"
    if verb is not Verb.PROMOTE and rollout.lost_since is not None:
        return "canary pods are missing; ask again when the weight is live"
    if rollout.approved is Approval.FULL or (verb is Verb.PROMOTE and rollout.approved):
        return f"asked for already{_still(s, rollout)}"
    return ""


def _no_step(rollout: Rollout) -> str:
    if rollout.stage is Stage.PREPARING:
        return "no step has begun, the canary is being prepared; promote-full leaves the steps out"
    return f"the steps are over, the rollout is {rollout.stage}; it goes on by itself"


def _done(s: Snapshot, request: Request, after: Status) -> str:
    """Yes, and what is still to be known."""
    now, verb = after.rollout, request.verb
    if verb in _ONWARD and now is not None and now.stage is Stage.ROLLING_BACK and now.end is not None:
        return f"{verb}: too late, it is being taken back: {now.end.message}"
    if verb is Verb.RESUME and s.spec.paused:
        return "resume: done, but spec.paused is true and still holds it; set it to false"
    if verb is Verb.RESUME and now is not None and now.waiting:
        return "resume: done; it waits for approval, promote goes on"
    if verb in _ONWARD and now is not None and now.approved and now.stage is not Stage.PROMOTING:
        return f"{verb}: done{_still(s, now)}"
    return f"{verb}: done"


def _still(s: Snapshot, rollout: Rollout) -> str:
    """What stands against going on even though somebody asked for it."""
    if rollout.stage is Stage.PREPARING:
        return "; the canary is being prepared"
    if rollout.step_started is None:
        return "; the weight is not live yet"
    why = "" if rollout.approved is Approval.FULL else holding(s, rollout)
    return f"; it still waits: {why}" if why else ""
