"""The next state of a rollout from what is observed: one ladder of guards per stage, each named by its situation.

Pure. The world follows the state (`world`), so that a step can be entered, left and entered again.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from modelrollout.core.analysis import SILENT
from modelrollout.core.evidence import (
    current,
    holding,
    last_line,
    metric_states,
    proof_of_failure,
    server_words,
    step_length,
)
from modelrollout.core.names import Track, child
from modelrollout.core.pods import (
    answering,
    canary_replicas,
    load_failure,
    not_returned,
    promoted,
    ready,
    template,
)
from modelrollout.core.requests import Verb, asks, handled
from modelrollout.core.snapshot import Pod, ServerReport, Snapshot
from modelrollout.core.spec import Method
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
from modelrollout.core.targets import proving_pod
from modelrollout.core.undo import UNDONE, goes_back, method
from modelrollout.core.values import parse_time
from modelrollout.core.world import drained

PROPAGATION = timedelta(seconds=1)
"""From a gateway's word that it accepted a weight to the clock of the step: its proxies may still take it in."""
LOST_AFTER = timedelta(seconds=5)
"""So long fewer canary pods than carried the weight may be ready; a probe that fails once is not worth a setback."""


def next_status(s: Snapshot) -> Status:
    """The status after this pass, its story aside."""
    return replace(_next(s), last_request=handled(s))


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
            return _progressing(s, rollout)
        case Stage.PROMOTING:
            return _promoting(s, rollout)
        case Stage.BAKING:
            return _baking(s, rollout)
        case Stage.ROLLING_BACK:
            return _rolling_back(s, rollout)


def _settled(s: Snapshot) -> Status:
    """No rollout under way: start one when `spec` asks for something else than what serves, or was rejected."""
    status, target = s.status, s.target.name
    if status.stable is None:
        return _start(s, Stage.INITIALIZING)
    if status.stable.revision == target:
        return replace(status, rejected=None)
    if status.rejected is not None and status.rejected.target.revision == target and not asks(s, Verb.RETRY):
        return status
    return _start(s, Stage.PROMOTING if goes_back(s) else Stage.PREPARING)


def _start(s: Snapshot, stage: Stage) -> Status:
    """A new attempt. Straight to Promoting means the fast path back: without steps, and so without a canary."""
    target = Version(s.target.name, s.target.version)
    steps = () if stage is Stage.PROMOTING else s.spec.strategy.steps
    rollout = Rollout(s.status.next_attempt, stage, target, s.now, s.now, steps=steps, method=_method(s))
    return replace(s.status, rollout=rollout, rejected=None, analysis=())


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
    if rollout.method is not _method(s):
        return s.status.with_rollout(method=_method(s))
    enough = len(answering(s, Track.CANARY, rollout.target.version)) >= canary_replicas(s, rollout)
    if not enough and _too_late(s):
        wanted = f"{s.target.base_path}/{rollout.target.version}"
        words = server_words(s.track(Track.CANARY), s.status, wanted)
        return _take_back(s, End(Outcome.ROLLED_BACK, "CanaryNotReady", f"canary not ready in time: {words}", words))
    if not enough:
        return s.status
    if not rollout.fits and rollout.method is Method.RELOAD:
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
        return _entering(s, rollout)
    left = _left(s, rollout)
    if left is not None:
        return left
    length = step_length(s, rollout, step)
    if length is None or s.now - rollout.step_started < length:
        return _held(s, rollout)
    if rollout.step < len(rollout.steps):
        return s.status.with_rollout(step=rollout.step + 1, step_started=None, hold_since=None)
    return s.status.with_rollout(
        stage=Stage.PROMOTING,
        since=s.now,
        hold_since=None,
        baseline=_frozen_baseline(s, rollout),
    )


def _entering(s: Snapshot, rollout: Rollout) -> Status:
    """The step's weight is being set; after a setback only once the pods are back."""
    step, carriers = rollout.current_step, len(ready(s, Track.CANARY))
    assert step is not None
    if rollout.lost_since is not None:
        enough = len(answering(s, Track.CANARY, rollout.target.version)) >= canary_replicas(s, rollout)
        return s.status.with_rollout(lost_since=None) if enough else s.status
    if not weight_is_live(s, step.weight):
        return s.status
    return s.status.with_rollout(step_started=s.now, carriers=carriers)


def _left(s: Snapshot, rollout: Rollout) -> Status | None:
    """A step is left, to be entered again, when its canary pods go or its weight is not what the route says."""
    step, carriers = rollout.current_step, len(ready(s, Track.CANARY))
    assert step is not None
    if carriers >= min(rollout.carriers, canary_replicas(s, rollout)):
        if s.route is not None and s.route.weight == step.weight:
            return s.status.with_rollout(lost_since=None) if rollout.lost_since else None
        return s.status.with_rollout(step_started=None, lost_since=None, hold_since=None)
    since = rollout.lost_since or s.now
    if carriers and s.now - since < LOST_AFTER:
        return s.status.with_rollout(lost_since=since) if rollout.lost_since is None else None
    setbacks = rollout.setbacks + 1
    return s.status.with_rollout(step_started=None, lost_since=since, hold_since=None, setbacks=setbacks)


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
    for pod in s.track(Track.STABLE):
        error = _roll_failure(s, rollout, pod) if rollout.method is Method.ROLL else load_failure(s, rollout, pod)
        if error:
            message = f"stable pod {pod.name} could not load version {rollout.target.version}: {error}"
            return _take_back(s, End(Outcome.ROLLED_BACK, "PromotionLoadFailed", message, error))
    if promoted(s, rollout):
        return s.status.with_rollout(stage=Stage.BAKING, since=s.now, hold_since=None)
    return _held(s, rollout)


def _roll_failure(s: Snapshot, rollout: Rollout, pod: Pod) -> str:
    """A pod of the new template that ends by itself, or does not answer in time after it got its place."""
    if pod.template != template(s, rollout):
        return ""
    if pod.exit is not None:
        return f"it exited with code {pod.exit.exit_code}: {last_line(pod.exit.message)}"
    late = pod.scheduled is not None and s.now - pod.scheduled >= s.spec.strategy.canary_ready_deadline
    return (
        server_words((pod,), s.status, f"{s.target.base_path}/{rollout.target.version}")
        if late and not pod.ready
        else ""
    )


def _baking(s: Snapshot, rollout: Rollout) -> Status:
    over = s.now - rollout.since >= max(s.spec.strategy.bake, s.spec.strategy.drain)
    canary_gone = not [pod for pod in s.pods if pod.track is Track.CANARY]
    if not over or not canary_gone or holding(s, rollout):
        return _held(s, rollout)
    version = rollout.target.version
    end = End(Outcome.PROMOTED, "Promoted", f"version {version} passed its steps and its bake", verdicts(s))
    if not rollout.steps:
        end = End(Outcome.PROMOTED, UNDONE, f"went back to version {version}, which had been promoted before")
    return _ended(s, rollout, end, stable=replace(rollout.target, template=template(s, rollout)))


def verdicts(s: Snapshot) -> str:
    """The last verdict of every metric with its evidence, for the history."""
    return "; ".join(f"{judged.verdict}: {judged.detail}" for judged in s.status.analysis)


def _rolling_back(s: Snapshot, rollout: Rollout) -> Status:
    """Over when weight 0 is live and drained, the canary's GPUs are free, and stable pods have {stable} alone."""
    canary_gone = not [pod for pod in s.pods if pod.track is Track.CANARY]
    assert rollout.end is not None
    assert s.status.stable is not None
    if not drained(s, rollout) or not canary_gone or not_returned(s):
        return s.status
    status = _ended(s, rollout, rollout.end, stable=s.status.stable)
    if rollout.end.outcome is Outcome.ROLLED_BACK:
        return replace(status, rejected=Rejected(rollout.target, rollout.end.reason, rollout.end.message))
    return status


def _ended(s: Snapshot, rollout: Rollout, end: End, stable: Version) -> Status:
    entry = HistoryEntry(rollout.attempt, rollout.target, end, rollout.started, s.now)
    history = (entry, *s.status.history)[: s.spec.history_limit]
    return replace(s.status, stable=stable, rollout=None, history=history)
