"""The next state of a rollout from what is observed: one ladder of guards per stage, each named by its situation.

Pure. The world follows the state (`world`), so that a step can be entered, left and entered again.
"""

from dataclasses import replace

from modelrollout.core.diagnosis import last_words, server_words
from modelrollout.core.evidence import proof_of_failure
from modelrollout.core.fitting import asks, granted, handled
from modelrollout.core.names import Track
from modelrollout.core.pausing import paused
from modelrollout.core.pods import (
    answering,
    canary_replicas,
    load_failure,
    not_returned,
    promoted,
    ready_by,
    template,
    verified,
)
from modelrollout.core.preparing import both_answer, not_ready, too_late
from modelrollout.core.progressing import progressing, weight_gone, weight_is_live
from modelrollout.core.reasons import Reason
from modelrollout.core.requests import Verb
from modelrollout.core.retention import to_be_kept
from modelrollout.core.snapshot import Pod, Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import (
    Approval,
    End,
    HistoryEntry,
    Outcome,
    Rejected,
    Rollout,
    Stage,
    Status,
    Version,
)
from modelrollout.core.suspicion import cleared, newly_suspected
from modelrollout.core.undo import goes_back, in_place_of_spec, method, undo_target
from modelrollout.core.verbs import carried_out, noted_request
from modelrollout.core.verdicts import holding, judged, metric_states, waits_for_alerts, waits_for_baseline
from modelrollout.core.world import drained

_MOST_TOLD = 64
"""Stable pods that status names at most."""
_LONGEST_WISH = 1024


def next_status(s: Snapshot) -> Status:
    """The status after this pass, its story aside."""
    measured = replace(s, status=replace(_with_odd_pods(s), analysis=judged(s)))
    after = _next(replace(measured, status=carried_out(measured)))
    return replace(after, last_request=handled(measured, after), reconcile_handled=s.reconcile_wish[:_LONGEST_WISH])


def _next(s: Snapshot) -> Status:
    rollout = s.status.rollout
    if rollout is None:
        return _settled(s)
    status = _interrupted(s, rollout)
    if status is not None:
        return status
    match rollout.stage:
        case Stage.INITIALIZING:
            return _initializing(s, rollout)
        case Stage.PREPARING:
            return _preparing(s, rollout)
        case Stage.PROGRESSING:
            return progressing(s, rollout)
        case Stage.PROMOTING:
            return _promoting(s, rollout)
        case Stage.BAKING:
            return _baking(s, rollout)
        case Stage.ROLLING_BACK:
            return _rolling_back(s, rollout)


def _with_odd_pods(s: Snapshot) -> Status:
    """The status with the pods that turned out to be bad alone; the canary's are replaced once that is on record."""
    rollout = s.status.rollout
    if rollout is None:
        return s.status
    last = [state.last for _, state in metric_states(s, rollout)]
    odd = {pod for item in last for pod in item.odd} - set(rollout.odd)
    stable = {item.odd_stable for item in last} - {"", *rollout.odd_stable}
    if not odd and not stable:
        return s.status
    told = (*rollout.odd_stable, *sorted(stable))[-_MOST_TOLD:]
    return s.status.with_rollout(odd=(*rollout.odd, *sorted(odd)), odd_stable=told)


def _settled(s: Snapshot) -> Status:
    """No rollout under way: start one when `spec` asks for something else than what serves, or was rejected."""
    status, target = s.status, s.target.name
    if status.stable is None:
        return _start(s, Stage.INITIALIZING)
    if asks(s, Verb.UNDO):
        return _undo(s)
    if status.stable.revision == target:
        return replace(status, rejected=None)
    if status.rejected is not None and status.rejected.target.revision == target and not asks(s, Verb.RETRY):
        return status
    if not s.may_start or s.spec.paused:
        return status
    return _start(s, Stage.PROMOTING if goes_back(s) else Stage.PREPARING)


def _start(s: Snapshot, stage: Stage) -> Status:
    """A new attempt. Straight to Promoting means the fast path back: without steps, and so without a canary."""
    target = Version(s.target.name, s.target.version)
    steps = () if stage is Stage.PROMOTING else s.spec.strategy.steps
    request = granted(s)
    rollout = Rollout(
        s.status.next_attempt,
        stage,
        target,
        s.now,
        s.now,
        steps=steps,
        method=_method(s),
        requested=noted_request(s, request) if request else "",
    )
    return replace(s.status, rollout=rollout, rejected=None, analysis=())


def _undo(s: Snapshot) -> Status:
    """A new attempt at what somebody wants back, in place of what `spec` asks for; what was rejected stays so."""
    request = granted(s)
    revision = undo_target(s, request.target) if request else ""
    if isinstance(revision, str):
        return s.status
    there = in_place_of_spec(s, revision)
    started = _start(there, Stage.PROMOTING if goes_back(there) else Stage.PREPARING)
    left = Version(s.target.name, s.target.version)
    return replace(started.with_rollout(undoes=left), rejected=s.status.rejected)


def _method(s: Snapshot) -> Method:
    stable = s.status.stable
    return method(s, s.revisions.get(stable.revision) if stable else s.target)


def _interrupted(s: Snapshot, rollout: Rollout) -> Status | None:
    """What ends any stage between Preparing and Baking: proof of failure first, then another wish of the user."""
    if rollout.stage in {Stage.INITIALIZING, Stage.ROLLING_BACK}:
        return None
    end = proof_of_failure(s, rollout) or _changed_mind(s, rollout)
    return _take_back(s, end) if end else None


def _changed_mind(s: Snapshot, rollout: Rollout) -> End | None:
    if s.target.name == rollout.target.revision:
        return None
    if s.status.stable is not None and s.target.name == s.status.stable.revision:
        message = f"spec went back to version {s.target.version}"
        return End(Outcome.CANCELLED, Reason.SPEC_RETURNED, message)
    message = f"spec asks for version {s.target.version} (revision {s.target.name}) instead"
    return End(Outcome.SUPERSEDED, Reason.NEW_REVISION, message)


def _take_back(s: Snapshot, end: End) -> Status:
    return s.status.with_rollout(stage=Stage.ROLLING_BACK, since=s.now, end=end)


def _initializing(s: Snapshot, rollout: Rollout) -> Status:
    """The first version ever: nothing to compare with. Another revision is initialised directly instead."""
    if s.target.name != rollout.target.revision:
        target = Version(s.target.name, s.target.version)
        return s.status.with_rollout(target=target, started=s.now, since=s.now)
    if len(answering(s, Track.STABLE, rollout.target.version)) < s.spec.serving.replicas:
        return s.status
    if not s.conflict and not weight_is_live(s, 0):
        return s.status
    return _ended(s, rollout, End(Outcome.PROMOTED, Reason.INITIALIZED, "first version serves"), stable=rollout.target)


def _preparing(s: Snapshot, rollout: Rollout) -> Status:
    if rollout.method is not _method(s):
        return s.status.with_rollout(method=_method(s))
    ready = len(answering(s, Track.CANARY, rollout.target.version)) >= canary_replicas(s, rollout)
    proved = rollout.fits or rollout.method is Method.ROLL
    if ready and not proved and both_answer(s, rollout):
        return s.status.with_rollout(fits=True)
    alone = all(pod.report and pod.report.active == {rollout.target.version} for pod in s.track(Track.CANARY))
    if ready and proved and alone:
        full = rollout.approved is Approval.FULL
        if paused(s, rollout) or waits_for_alerts(s, rollout) or (waits_for_baseline(s, rollout) and not full):
            return s.status
        steps = s.spec.strategy.steps[: 1 if full else None]
        return s.status.with_rollout(stage=Stage.PROGRESSING, since=s.now, step=1, steps=steps)
    if too_late(s):
        return _take_back(s, not_ready(s, rollout))
    return s.status


def _promoting(s: Snapshot, rollout: Rollout) -> Status:
    for pod in s.track(Track.STABLE):
        error = _roll_failure(s, rollout, pod) if rollout.method is Method.ROLL else load_failure(s, rollout, pod)
        if error:
            message = f"stable pod {pod.name} could not load version {rollout.target.version}: {error}"
            return _take_back(s, End(Outcome.ROLLED_BACK, Reason.PROMOTION_LOAD_FAILED, message, error))
    if promoted(s, rollout) and not paused(s, rollout):
        return s.status.with_rollout(stage=Stage.BAKING, since=s.now, suspected=None, suspect="")
    return newly_suspected(s, rollout) or cleared(s, rollout) or s.status


def _roll_failure(s: Snapshot, rollout: Rollout, pod: Pod) -> str:
    """A pod of the new template that ends by itself, or does not answer in time after it got its place."""
    if pod.template != template(s, rollout):
        return ""
    if pod.exit is not None:
        return f"it exited with code {pod.exit.exit_code}: {last_words(pod.exit.message)}"
    late = pod.scheduled is not None and s.now >= ready_by(s, pod.scheduled)
    if pod.ready or not late:
        return ""
    return server_words((pod,), rollout.target.version, f"{s.target.base_path}/{rollout.target.version}")


def _baking(s: Snapshot, rollout: Rollout) -> Status:
    over = s.now - rollout.since >= max(s.spec.strategy.bake, s.spec.strategy.drain)
    canary_gone = not [pod for pod in s.pods if pod.track is Track.CANARY]
    # A pod that came up on an old ConfigMap meanwhile would keep the old version for good.
    behind = any(pod.ready and not verified(s, rollout, pod) for pod in s.track(Track.STABLE))
    if not over or not canary_gone or behind or holding(s, rollout) or paused(s, rollout):
        return weight_gone(s)
    stable = replace(rollout.target, template=template(s, rollout))
    status = _ended(s, rollout, _promotion(s, rollout), stable)
    if rollout.undoes is None:
        return status
    why = f"somebody went back from it to version {stable.version}"
    return replace(status, rejected=Rejected(rollout.undoes, Reason.UNDONE, why))


def _promotion(s: Snapshot, rollout: Rollout) -> End:
    """How it is told that a version stays: by its steps, at once because somebody wanted it, or as a way back."""
    version = rollout.target.version
    if not rollout.steps or rollout.undoes:
        return End(Outcome.PROMOTED, Reason.UNDONE, f"went back to version {version}, which had been promoted before")
    passed = "passed its steps and its bake"
    if rollout.approved is Approval.FULL:
        passed = "was promoted at once on request, and passed its bake"
    return End(Outcome.PROMOTED, Reason.PROMOTED, f"version {version} {passed}", _evidence(s))


def _evidence(s: Snapshot) -> str:
    """The last verdict of every metric with its evidence, for the history."""
    return "; ".join(f"{judged.verdict}: {judged.detail}" for judged in s.status.analysis)


def _rolling_back(s: Snapshot, rollout: Rollout) -> Status:
    """Over when weight 0 is live and drained, the canary is gone or kept, and stable pods have {stable} alone."""
    canary_over = to_be_kept(s, rollout) or not [pod for pod in s.pods if pod.track is Track.CANARY]
    assert rollout.end is not None
    assert s.status.stable is not None
    if not drained(s, rollout) or not canary_over or not_returned(s):
        return weight_gone(s)
    status = _ended(s, rollout, rollout.end, stable=s.status.stable)
    # What did not come back is not what spec asks for: that stays as it was, rejected or serving.
    if rollout.end.outcome is Outcome.ROLLED_BACK and rollout.undoes is None:
        return replace(status, rejected=Rejected(rollout.target, rollout.end.reason, rollout.end.message))
    return status


def _ended(s: Snapshot, rollout: Rollout, end: End, stable: Version) -> Status:
    entry = HistoryEntry(rollout.attempt, rollout.target, end, rollout.started, s.now, rollout.requested)
    history = (entry, *s.status.history)[: s.spec.history_limit]
    return replace(s.status, stable=stable, rollout=None, history=history)
