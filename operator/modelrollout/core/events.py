"""What happened in a pass, for people: Kubernetes events, in the past tense, one per change of the status."""

from modelrollout.core.actions import Emit
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import Outcome, Rollout, Stage, Status
from modelrollout.core.verdicts import head


def events(s: Snapshot, status: Status) -> tuple[Emit, ...]:
    """What happened between the status before this pass and after it: one event per change, past tense."""
    before, after = s.status.rollout, status.rollout
    if before is None and after is not None:
        return (Emit("RolloutStarted", f"attempt {after.attempt}: version {after.target.version}"),)
    if before is not None and after is None:
        return (_ending(status),)
    if before is None or after is None:
        return ()
    if before.stage is not after.stage:
        return (_stage_event(after),)
    if after.suspicions > before.suspicions:
        return (Emit("Suspected", _said(status, after.suspect), warning=True),)
    if before.suspected is not None and after.suspected is None:
        return (Emit("SuspicionDropped", f"{before.suspect} did not confirm its suspicion"),)
    if len(after.odd) > len(before.odd):
        return (Emit("CanaryPodReplaced", f"pod {after.odd[-1]} was worse than all others", warning=True),)
    if before.step_started is None and after.step_started is not None and after.current_step is not None:
        return (Emit("WeightLive", f"step {after.step}/{len(after.steps)}: {after.current_step.weight} % is live"),)
    if before.step != after.step and after.current_step is not None:
        return (Emit("StepEntered", f"step {after.step}/{len(after.steps)}: {after.current_step.weight} %"),)
    silent = {item.name for item in s.status.analysis if item.silent_since}
    newly = (item for item in status.analysis if item.silent_since and item.name not in silent)
    said = (f"{item.verdict}: {head(item.detail)}" for item in newly)
    return tuple(Emit("AnalysisHolds", text, warning=True) for text in said)


def _said(status: Status, metric: str) -> str:
    return next((head(item.detail) for item in status.analysis if item.name == metric), metric)


def _stage_event(rollout: Rollout) -> Emit:
    if rollout.stage is Stage.ROLLING_BACK and rollout.end is not None:
        return Emit(rollout.end.reason, rollout.end.message, warning=rollout.end.outcome is Outcome.ROLLED_BACK)
    reasons = {Stage.PROGRESSING: "CanaryReady", Stage.PROMOTING: "StepsPassed", Stage.BAKING: "BakeStarted"}
    return Emit(reasons.get(rollout.stage, str(rollout.stage)), f"version {rollout.target.version}")


def _ending(status: Status) -> Emit:
    entry = status.history[0]
    text = f"version {entry.target.version}: {entry.end.message}"
    return Emit(str(entry.end.outcome), text, warning=entry.end.outcome is Outcome.ROLLED_BACK)
