"""What happened in a pass, for people: Kubernetes events, in the past tense, one per change of the status."""

from collections.abc import Iterator

from modelrollout.core.actions import Emit
from modelrollout.core.fitting import asks, was_done
from modelrollout.core.pausing import command
from modelrollout.core.reasons import STALLS, Reason
from modelrollout.core.requests import Verb
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import Condition, Outcome, Rollout, Stage, Status
from modelrollout.core.verdicts import head

_HINDRANCES = {
    Reason.INSUFFICIENT_GPU: Reason.GPU_CAPACITY_INSUFFICIENT,
    Reason.MODEL_LOAD_FAILED: Reason.MODEL_LOAD_FAILED,
}
"""Reasons of condition Progressing that are worth an event, and the event's."""


def events(s: Snapshot, status: Status) -> tuple[Emit, ...]:
    """What was asked for and what happened in this pass: one event per change, past tense."""
    before = s.status
    return (
        *_of_request(before, status),
        *_of_rollout(s, status),
        *_of_conditions(before, status),
        *_of_silence(before, status),
    )


def _of_request(before: Status, after: Status) -> Iterator[Emit]:
    """What came of a request, and whose it was."""
    request = after.last_request
    if request is not None and request != before.last_request:
        reason = Reason.REQUEST_DONE if was_done(request.answer) else Reason.REQUEST_DECLINED
        yield Emit(reason, f"{request.answer} (asked by {request.by or 'somebody'})")


def _of_rollout(s: Snapshot, status: Status) -> Iterator[Emit]:
    before, after = s.status.rollout, status.rollout
    if before is None and after is not None:
        yield Emit(Reason.ROLLOUT_STARTED, f"attempt {after.attempt}: version {after.target.version}")
    elif before is not None and after is None:
        yield _ending(status)
    elif before is not None and after is not None:
        if before.stage is not after.stage:
            yield _stage_event(s, after)
        else:
            yield from _of_suspicion(status, before, after)
        yield from _of_pods(before, after)
        yield from _of_weight(before, after)
        if before.waiting is None and after.waiting is not None:
            where = f"step {after.step}/{len(after.steps)}"
            yield Emit(Reason.WAITING_FOR_APPROVAL, f"{where}: {command(s, 'promote')} goes on")


def _of_weight(before: Rollout, after: Rollout) -> Iterator[Emit]:
    step = after.current_step
    if after.stage is not Stage.PROGRESSING or step is None:
        return
    where = f"step {after.step}/{len(after.steps)}: {step.weight} %"
    if before.step_started is None and after.step_started is not None:
        yield Emit(Reason.WEIGHT_LIVE, f"{where} is live")
    if before.step != after.step:
        yield Emit(Reason.WEIGHT_SET, where)


def _of_suspicion(status: Status, before: Rollout, after: Rollout) -> Iterator[Emit]:
    if after.suspicions > before.suspicions:
        yield Emit(Reason.SUSPECTED, _said(status, after.suspect), warning=True)
    elif before.suspected is not None and after.suspected is None:
        yield Emit(Reason.SUSPICION_DROPPED, f"{before.suspect} did not confirm its suspicion")


def _of_pods(before: Rollout, after: Rollout) -> Iterator[Emit]:
    if len(after.odd) > len(before.odd):
        yield Emit(Reason.CANARY_POD_REPLACED, f"pod {after.odd[-1]} was worse than all others", warning=True)
    if after.odd_stable != before.odd_stable:
        said = f"stable pod {after.odd_stable[-1]} answers worse than all others: its GPU or node may be broken"
        yield Emit(Reason.STABLE_POD_ODD, f"{said}; it is left alone", warning=True)


def _of_conditions(before: Status, after: Status) -> Iterator[Emit]:
    """What keeps it from going on, once when that begins."""
    stalled, progressing = _condition(after, "Stalled"), _condition(after, "Progressing")
    if stalled is not None and stalled.reason in STALLS and stalled.reason != _reason(before, "Stalled"):
        yield Emit(Reason(stalled.reason), stalled.message, warning=True)
    if progressing is not None and progressing.reason in _HINDRANCES:
        hindrance = Reason(progressing.reason)
        if hindrance != _reason(before, "Progressing"):
            yield Emit(_HINDRANCES[hindrance], progressing.message, warning=True)


def _of_silence(before: Status, after: Status) -> Iterator[Emit]:
    """A metric that fell silent while it matters: a way back by the fast path waits for none."""
    silent = {item.name for item in before.analysis if item.silent_since}
    for item in after.analysis if after.rollout is not None and after.rollout.steps else ():
        if item.silent_since and item.name not in silent:
            yield Emit(Reason(f"Analysis{item.verdict}"), head(item.detail), warning=True)


def _condition(status: Status, kind: str) -> Condition | None:
    return next((item for item in status.story.conditions if item.type == kind), None)


def _reason(status: Status, kind: str) -> str:
    found = _condition(status, kind)
    return found.reason if found else ""


def _said(status: Status, metric: str) -> str:
    return next((head(item.detail) for item in status.analysis if item.name == metric), metric)


def _stage_event(s: Snapshot, rollout: Rollout) -> Emit:
    version = f"version {rollout.target.version}"
    if rollout.stage is Stage.ROLLING_BACK and rollout.end is not None:
        end = rollout.end
        return Emit(end.reason, f"{version}: {end.message}", warning=end.outcome is Outcome.ROLLED_BACK)
    waived = rollout.approved is not None or asks(s, Verb.SKIP)
    analysed = s.spec.analysis and rollout.steps and not waived
    passed = Reason.ANALYSIS_PASSED if analysed else Reason.STEPS_PASSED
    reasons = {
        Stage.PROGRESSING: Reason.CANARY_READY,
        Stage.PROMOTING: passed,
        Stage.BAKING: Reason.BAKE_STARTED,
    }
    return Emit(reasons.get(rollout.stage, str(rollout.stage)), version)


def _ending(status: Status) -> Emit:
    entry = status.history[0]
    text = f"version {entry.target.version}: {entry.end.message}"
    return Emit(Reason(entry.end.outcome), text, warning=entry.end.outcome is Outcome.ROLLED_BACK)
