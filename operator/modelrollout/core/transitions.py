"""The next state of a rollout from what is observed: one ladder of guards per stage, each named by its situation.

Pure. The world follows the state (`world`), so that a step can be entered, left and entered again.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from modelrollout.core.analysis import SILENT
from modelrollout.core.evidence import (
    current,
    holding,
    metric_states,
    proof_of_failure,
    server_words,
    step_length,
)
from modelrollout.core.names import Track, child
from modelrollout.core.snapshot import ServerReport, Snapshot
from modelrollout.core.status import (
    Baseline,
    End,
    HistoryEntry,
    Outcome,
    Rejected,
    Rollout,
    Stage,
    Status,
    Version,
)
from modelrollout.core.values import parse_time
from modelrollout.core.world import (
    answering,
    canary_replicas,
    drained,
    not_returned,
    promoted,
    proving_pod,
)

PROPAGATION = timedelta(seconds=1)
"""From a gateway's word that it accepted a weight to the clock of the step: its proxies may still take it in."""


def next_status(s: Snapshot) -> Status:
    """The status after this pass, its story aside."""
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
            return _progressing(s, rollout)
        case Stage.PROMOTING:
            return _promoting(s, rollout)
        case Stage.BAKING:
            return _baking(s, rollout)
        case Stage.ROLLING_BACK:
            return _rolling_back(s, rollout)


def _settled(s: Snapshot) -> Status:
    """No rollout under way: start one when `spec` asks for something else than what serves, or was rejected."""
    status, target = s.status, Version(s.target.name, s.target.version)
    if status.stable is None:
        return _start(s, Stage.INITIALIZING, target)
    if status.stable.revision == target.revision:
        return replace(status, rejected=None)
    if status.rejected is not None and status.rejected.target.revision == target.revision:
        return status
    if target.version < status.stable.version:
        return status
    return _start(s, Stage.PREPARING, target)


def _start(s: Snapshot, stage: Stage, target: Version) -> Status:
    rollout = Rollout(s.status.next_attempt, stage, target, s.now, s.now, steps=s.spec.strategy.steps)
    return replace(s.status, rollout=rollout, rejected=None, analysis=())


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
        return End(Outcome.CANCELLED, "SpecReturned", message)
    message = f"spec asks for version {s.target.version} (revision {s.target.name}) instead"
    return End(Outcome.SUPERSEDED, "NewRevision", message)


def _take_back(s: Snapshot, end: End) -> Status:
    return s.status.with_rollout(stage=Stage.ROLLING_BACK, since=s.now, end=end, hold_since=None)


def _initializing(s: Snapshot, rollout: Rollout) -> Status:
    """The first version ever: nothing to compare with. Another revision is initialised directly instead."""
    if s.target.name != rollout.target.revision:
        target = Version(s.target.name, s.target.version)
        return s.status.with_rollout(target=target, started=s.now, since=s.now)
    if len(answering(s, Track.STABLE, rollout.target.version)) < s.spec.serving.replicas:
        return s.status
    return _ended(s, rollout, End(Outcome.PROMOTED, "Initialized", "first version serves"), stable=rollout.target)


def _preparing(s: Snapshot, rollout: Rollout) -> Status:
    ready = len(answering(s, Track.CANARY, rollout.target.version)) >= canary_replicas(s, rollout)
    if not ready and _too_late(s):
        wanted = f"{s.target.base_path}/{rollout.target.version}"
        words = server_words(s.track(Track.CANARY), s.status, wanted)
        return _take_back(s, End(Outcome.ROLLED_BACK, "CanaryNotReady", f"canary not ready in time: {words}", words))
    if not ready:
        return s.status
    if not rollout.fits:
        return s.status.with_rollout(fits=True) if _proved(s, rollout) else s.status
    if all(pod.report and pod.report.active == {rollout.target.version} for pod in s.track(Track.CANARY)):
        return s.status.with_rollout(stage=Stage.PROGRESSING, since=s.now, step=1, steps=s.spec.strategy.steps)
    return s.status


def _too_late(s: Snapshot) -> bool:
    """The deadline runs from when the canary got its place: waiting for a GPU is nobody's fault."""
    start = canary_deadline_start(s)
    return start is not None and s.now - start >= s.spec.strategy.canary_ready_deadline


def canary_deadline_start(s: Snapshot) -> datetime | None:
    """When every canary pod had its node, None while one has none; without any pod when their Deployment was made."""
    pods = s.track(Track.CANARY)
    deployment = s.child("Deployment", child(s.name, Track.CANARY))
    if not pods and deployment is not None and "creationTimestamp" in deployment.raw["metadata"]:
        return parse_time(deployment.raw["metadata"]["creationTimestamp"])
    placed = [pod.scheduled for pod in pods if pod.scheduled is not None]
    return min(placed) if placed and len(placed) == len(pods) else None


def _proved(s: Snapshot, rollout: Rollout) -> bool:
    """Both versions answer in one canary server: promotion by reload will fit."""
    report, stable = proving_report(s, rollout), s.status.stable
    return report is not None and stable is not None and stable.version in report.answering


def proving_report(s: Snapshot, rollout: Rollout) -> ServerReport | None:
    """What the server says that is to prove that both versions fit, None before it may."""
    pod = proving_pod(s, rollout)
    return pod.report if pod else None


def _progressing(s: Snapshot, rollout: Rollout) -> Status:
    step = rollout.current_step
    assert step is not None
    if rollout.step_started is None:
        return s.status.with_rollout(step_started=s.now) if weight_is_live(s, step.weight) else s.status
    length = step_length(s, rollout, step)
    if length is None or s.now - rollout.step_started < length:
        return _held(s, rollout)
    if rollout.step < len(rollout.steps):
        return s.status.with_rollout(step=rollout.step + 1, step_started=None, hold_since=None)
    return s.status.with_rollout(
        stage=Stage.PROMOTING, since=s.now, hold_since=None, baseline=_frozen_baseline(s, rollout)
    )


def weight_is_live(s: Snapshot, weight: int) -> bool:
    """The route says it, every parent accepted exactly this generation, and the proxies have had a moment."""
    route = s.route
    return route is not None and route.weight == weight and not route.problem and s.now - route.seen >= PROPAGATION


def _frozen_baseline(s: Snapshot, rollout: Rollout) -> tuple[Baseline, ...]:
    return tuple(state.last.baseline for _, state in metric_states(s, rollout) if state.last.baseline is not None)


def _held(s: Snapshot, rollout: Rollout) -> Status:
    """Keep note of since when the metrics have been silent: deadlines count from there, across restarts."""
    if current(s, rollout) is None:
        return s.status
    silent = any(state.verdict in SILENT for _, state in metric_states(s, rollout))
    if silent == (rollout.hold_since is not None):
        return s.status
    return s.status.with_rollout(hold_since=s.now if silent else None)


def _promoting(s: Snapshot, rollout: Rollout) -> Status:
    failed = [(pod, pod.report.failure(rollout.target.version)) for pod in s.track(Track.STABLE) if pod.report]
    for pod, error in failed:
        if error:
            message = f"stable pod {pod.name} could not load version {rollout.target.version}: {error}"
            return _take_back(s, End(Outcome.ROLLED_BACK, "PromotionLoadFailed", message, error))
    if promoted(s, rollout):
        return s.status.with_rollout(stage=Stage.BAKING, since=s.now, hold_since=None)
    return _held(s, rollout)


def _baking(s: Snapshot, rollout: Rollout) -> Status:
    over = s.now - rollout.since >= max(s.spec.strategy.bake, s.spec.strategy.drain)
    canary_gone = not [pod for pod in s.pods if pod.track is Track.CANARY]
    if not over or not canary_gone or holding(s, rollout):
        return _held(s, rollout)
    end = End(
        Outcome.PROMOTED, "Promoted", f"version {rollout.target.version} passed its steps and its bake", verdicts(s)
    )
    return _ended(s, rollout, end, stable=rollout.target)


def verdicts(s: Snapshot) -> str:
    """The last verdict of every metric with its evidence, for the history."""
    return "; ".join(f"{judged.verdict}: {judged.detail}" for judged in s.status.analysis)


def _rolling_back(s: Snapshot, rollout: Rollout) -> Status:
    """Over when weight 0 is live and drained, the canary's GPUs are free, and stable pods have {stable} alone."""
    canary_gone = not [pod for pod in s.pods if pod.track is Track.CANARY]
    assert rollout.end is not None
    assert s.status.stable is not None
    if not drained(s, rollout) or not canary_gone or not_returned(s, s.status.stable.version):
        return s.status
    status = _ended(s, rollout, rollout.end, stable=s.status.stable)
    if rollout.end.outcome is Outcome.ROLLED_BACK:
        return replace(status, rejected=Rejected(rollout.target, rollout.end.reason, rollout.end.message))
    return status


def _ended(s: Snapshot, rollout: Rollout, end: End, stable: Version) -> Status:
    entry = HistoryEntry(rollout.attempt, rollout.target, end, rollout.started, s.now)
    history = (entry, *s.status.history)[: s.spec.history_limit]
    return replace(s.status, stable=stable, rollout=None, history=history)
