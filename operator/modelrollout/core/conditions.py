"""Conditions as kstatus and kubectl wait read them (docs/design.md, "Status"). Part of `story`.

Nothing branches on them. Ready, Available, Progressing, Paused and AnalysisSucceeded are always there; Reconciling and
Stalled only while True.
"""

from collections.abc import Mapping
from datetime import datetime

from modelrollout.core.analysis import Verdict
from modelrollout.core.names import Track
from modelrollout.core.pausing import held_back, hold
from modelrollout.core.pods import canary_replicas
from modelrollout.core.reasons import Phase, Reason
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import Condition, Rollout, Stage, Status
from modelrollout.core.verdicts import alert_fires, head
from modelrollout.core.world import has_room

Said = tuple[str, str, str]
"""Status, reason and message of a condition."""

_WORST_FIRST = (
    Verdict.FAIL,
    Verdict.SUSPECT,
    Verdict.AMBIGUOUS,
    Verdict.ERROR,
    Verdict.NO_DATA,
    Verdict.INCONCLUSIVE,
    Verdict.LOW_TRAFFIC,
    Verdict.PASS,
)
_NOT_SO_FOR_LACK_OF_SPEC = ("AnalysisSucceeded", "Available", "Paused", "Progressing")


def conditions(
    s: Snapshot, status: Status, phase: Phase, message: str, stalled: tuple[Reason, str] | None
) -> tuple[Condition, ...]:
    """All that hold now, by type. `message` is what is going on; `stalled` what only somebody else can mend."""
    rollout = status.rollout
    settled = rollout is None and status.stable is not None
    ready = settled and not stalled and all_answer(s, status) and not status.rejected
    held = hold(s, status)
    wanted: dict[str, Said] = {
        "AnalysisSucceeded": _analysis(status),
        "Available": _available(s, status),
        "Paused": ("True", *held) if held else ("False", Reason.NOT_PAUSED, "nobody has paused it"),
        "Progressing": (_flag(rollout is not None), _why_progressing(s, rollout, phase), message),
        "Ready": (_flag(ready and not held_back(s, status)), phase, message),
    }
    if rollout is not None and not stalled:
        wanted["Reconciling"] = ("True", phase, message)
    if stalled:
        wanted["Stalled"] = ("True", *stalled)
    elif settled and status.rejected is not None:
        wanted["Stalled"] = ("True", Reason.ROLLED_BACK, message)
    return _dated(wanted, s.status.story.conditions, s.generation, s.now)


def conditions_unread(
    before: tuple[Condition, ...], generation: int, now: datetime, reason: Reason, message: str
) -> tuple[Condition, ...]:
    """Those of an object whose spec cannot be read: what was so stays so, but it is not ready and somebody must act."""
    known = {condition.type: condition for condition in before}
    wanted: dict[str, Said] = {"Ready": ("False", reason, message), "Stalled": ("True", reason, message)}
    for kind in _NOT_SO_FOR_LACK_OF_SPEC:
        old = known.get(kind)
        wanted[kind] = (old.status, old.reason, old.message) if old else ("Unknown", reason, message)
    return _dated(wanted, before, generation, now)


def _dated(
    wanted: Mapping[str, Said], before: tuple[Condition, ...], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """With the time when each flipped last, in whole seconds as metav1.Time has them."""
    known = {condition.type: condition for condition in before}
    made = []
    for kind, (value, reason, message) in sorted(wanted.items()):
        old = known.get(kind)
        since = old.since if old and old.status == value else now.replace(microsecond=0)
        made.append(Condition(kind, value, reason, message, since, generation))
    return tuple(made)


def all_answer(s: Snapshot, status: Status) -> bool:
    """As many stable pods are ready as spec asks for."""
    if status.stable is None:
        return False
    return sum(pod.ready for pod in s.track(Track.STABLE)) >= s.spec.serving.replicas


def worst_verdict(status: Status) -> str:
    """The verdict that matters most among all metrics, empty before there is one."""
    seen = {judged.verdict for judged in status.analysis}
    return next((str(verdict) for verdict in _WORST_FIRST if verdict in seen), "")


def _flag(value: bool) -> str:
    return "True" if value else "False"


def _available(s: Snapshot, status: Status) -> Said:
    if not any(pod.ready for pod in s.track(Track.STABLE)):
        return "False", Reason.NO_READY_PODS, "no stable pod is ready"
    if status.stable is None:
        return "False", Phase.INITIALIZING, "the first version has not been seen answering yet"
    return "True", Reason.SERVING, f"version {status.stable.version} answers"


def _why_progressing(s: Snapshot, rollout: Rollout | None, phase: Phase) -> str:
    if rollout is None or rollout.stage is not Stage.PREPARING:
        return phase
    canary = s.track(Track.CANARY)
    if any(pod.unschedulable for pod in canary) or (not canary and not has_room(s, canary_replicas(s, rollout))):
        return Reason.INSUFFICIENT_GPU
    if alert_fires(s, rollout):
        return Reason.ALERT_FIRING
    failed = any(pod.report and pod.report.failure(rollout.target.version) for pod in canary)
    return Reason.MODEL_LOAD_FAILED if failed else phase


def _analysis(status: Status) -> Said:
    worst, rejected = worst_verdict(status), status.rejected
    if rejected is not None and rejected.reason in {Reason.ANALYSIS_FAILED, Reason.ALERT_FIRING}:
        return "False", rejected.reason, rejected.message
    if not worst:
        return "Unknown", Reason.NOT_RUNNING, "nothing has been judged yet"
    detail = next(head(judged.detail) for judged in status.analysis if judged.verdict == worst)
    if worst == Verdict.PASS:
        return "True", Reason.ANALYSIS_PASSED, detail
    if worst == Verdict.FAIL:
        return "False", Reason.ANALYSIS_FAILED, detail
    return "Unknown", Reason(f"Analysis{worst}"), detail
