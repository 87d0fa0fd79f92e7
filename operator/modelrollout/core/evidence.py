"""What the cluster and the metrics prove about a canary, and how long a step stays for lack of proof."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta

from modelrollout.core.analysis import SILENT, SPLIT, Analysed, MetricState, Verdict
from modelrollout.core.names import Track
from modelrollout.core.readings import comparison
from modelrollout.core.requests import Verb, asks
from modelrollout.core.snapshot import Pod, Snapshot
from modelrollout.core.spec import Metric, Policy, Step
from modelrollout.core.status import End, Outcome, Rollout, Stage, Status

MAX_SETBACKS = 3
"""So often the canary's weight may go to 0 for lack of pods in one attempt."""
_EXIT_PRECISION = timedelta(seconds=1)
"""The API server keeps container times in whole seconds."""


def current(s: Snapshot, rollout: Rollout) -> Analysed | None:
    """What has been measured for the comparison that is under way, None before its first round."""
    return s.analysed if s.analysed and s.analysed.key == comparison(rollout) else None


def proof_of_failure(s: Snapshot, rollout: Rollout) -> End | None:
    """Why the canary must go now, None when nothing proves that."""
    proofs = (_marked, _asked_for, _unavailable, _lost_for_good, _failed_metric, _out_of_patience)
    return next((end for proof in proofs if (end := proof(s, rollout)) is not None), None)


def marker(rollout: Rollout, end: End) -> str:
    """Written in the same API call as weight 0: a kill before the status write cannot forget why, or raise it again."""
    return json.dumps(
        {
            "attempt": rollout.attempt,
            "outcome": end.outcome,
            "reason": end.reason,
            "message": end.message,
            "evidence": end.evidence,
        },
        separators=(",", ":"),
    )


def _marked(s: Snapshot, rollout: Rollout) -> End | None:
    if s.route is None or not s.route.abort:
        return None
    try:
        mark = json.loads(s.route.abort)
        if mark["attempt"] != rollout.attempt:
            return None
        return End(Outcome(mark["outcome"]), mark["reason"], mark["message"], mark["evidence"])
    except (ValueError, KeyError, TypeError):
        return End(Outcome.ROLLED_BACK, "Aborted", "the route carries an abort marker that cannot be read")


def _asked_for(s: Snapshot, _: Rollout) -> End | None:
    if not asks(s, Verb.ABORT):
        return None
    return End(Outcome.ROLLED_BACK, "AbortRequested", "somebody asked for it", f"request {s.request}")


def _unavailable(s: Snapshot, rollout: Rollout) -> End | None:
    """A canary container that exits by itself while it has traffic: its users see 503s that no model server counts."""
    if rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING}:
        return None
    for pod in s.track(Track.CANARY):
        if pod.exit is not None and pod.exit.finished + _EXIT_PRECISION > rollout.since:
            said = f"container exited with code {pod.exit.exit_code}: {last_line(pod.exit.message)}"
            return End(Outcome.ROLLED_BACK, "CanaryUnavailable", f"canary pod {pod.name}: {said}", said)
    return None


def _lost_for_good(s: Snapshot, rollout: Rollout) -> End | None:
    """Canary pods that went away once are waited for; when it happens again and again, that is the version's doing."""
    if rollout.stage is not Stage.PROGRESSING or rollout.lost_since is None:
        return None
    if rollout.setbacks >= MAX_SETBACKS:
        said = f"canary pods were lost {rollout.setbacks} times while they had traffic"
        return End(Outcome.ROLLED_BACK, "CanaryUnavailable", said, said)
    pods = s.track(Track.CANARY)
    placed = [pod.scheduled for pod in pods if pod.scheduled is not None]
    if not pods or len(placed) < len(pods):
        return None
    if s.now - max(rollout.lost_since, *placed) < s.spec.strategy.canary_ready_deadline:
        return None
    words = server_words(pods, s.status, f"{s.target.base_path}/{rollout.target.version}")
    return End(Outcome.ROLLED_BACK, "CanaryUnavailable", f"canary pods did not come back in time: {words}", words)


def _failed_metric(s: Snapshot, rollout: Rollout) -> End | None:
    analysed = current(s, rollout)
    state = analysed.failing() if analysed else None
    if state is None:
        return None
    rounds = f"{state.breaches} measurements in a row" if state.breaches > 1 else "1 measurement"
    message = f"{state.last.metric} failed in {rounds}: {_head(state.last.detail)}"
    return End(Outcome.ROLLED_BACK, "AnalysisFailed", message, state.last.detail)


def _out_of_patience(s: Snapshot, rollout: Rollout) -> End | None:
    """A metric without a verdict aborts only when its policy or its deadline says so."""
    step = rollout.current_step
    for metric, state in metric_states(s, rollout):
        if state.verdict in SILENT and rollout.hold_since is not None:
            limit = metric.deadline
            if limit is None and silent_policy(metric, state.verdict) is Policy.ABORT and step:
                limit = step.max_duration
            since = rollout.hold_since
        else:
            asked = _talking_policy(metric, state.verdict) is Policy.ABORT and rollout.stage is Stage.PROGRESSING
            limit = step.max_duration if asked and step else None
            since = rollout.step_started or s.now
        if limit is not None and s.now - since >= limit:
            message = f"{metric.name} gave no verdict ({state.verdict}) in time: {_head(state.last.detail)}"
            return End(Outcome.ROLLED_BACK, f"Analysis{state.verdict}", message, state.last.detail)
    return None


def metric_states(s: Snapshot, rollout: Rollout) -> Iterator[tuple[Metric, MetricState]]:
    """The metrics of the comparison under way that have been measured, the traffic split left out."""
    analysed = current(s, rollout)
    if analysed is None or s.spec.analysis is None:
        return
    for metric in s.spec.analysis.metrics:
        if metric.name in analysed.metrics:
            yield metric, analysed.metrics[metric.name]


def silent_policy(metric: Metric, verdict: Verdict) -> Policy:
    """What to do about a metric that says nothing."""
    return metric.on_no_data if verdict is Verdict.NO_DATA else metric.on_error


def _talking_policy(metric: Metric, verdict: Verdict) -> Policy | None:
    return {Verdict.LOW_TRAFFIC: metric.on_low_traffic, Verdict.INCONCLUSIVE: metric.on_inconclusive}.get(verdict)


def holding(s: Snapshot, rollout: Rollout) -> str:
    """Why the rollout waits for evidence, empty when it does not: a silent metric, a false split, no round yet.

    The fast path never waits: it leads away from what hurts.
    """
    if s.spec.analysis is None or not rollout.steps:
        return ""
    analysed = current(s, rollout)
    if analysed is None:
        return "" if rollout.step_started is None else "waiting for the first measurement"
    split = analysed.metrics.get(SPLIT)
    if split is not None and split.verdict in SILENT | {Verdict.INCONCLUSIVE}:
        return split.last.detail
    for metric, state in metric_states(s, rollout):
        if state.verdict in SILENT and silent_policy(metric, state.verdict) is not Policy.ADVANCE:
            return f"{metric.name}: {state.verdict}: {_head(state.last.detail)}"
    return ""


def step_length(s: Snapshot, rollout: Rollout, step: Step) -> timedelta | None:
    """How long the step stays on the evidence there is, counted from its weight being live; None is without end."""
    if s.spec.analysis is None:
        return step.duration
    if holding(s, rollout):
        return None
    lengths = [_metric_length(metric, state, step) for metric, state in metric_states(s, rollout)]
    finite = [length for length in lengths if length is not None]
    return max(finite, default=step.duration) if len(finite) == len(lengths) else None


def _metric_length(metric: Metric, state: MetricState, step: Step) -> timedelta | None:
    if state.verdict is Verdict.PASS:
        return step.duration
    if state.verdict in SILENT:
        return step.max_duration
    if _talking_policy(metric, state.verdict) is not Policy.ADVANCE:
        return None
    # A breach that may still become a failure is waited out; with enough requests an open verdict is not.
    settled = state.verdict is Verdict.INCONCLUSIVE and state.breaches == 0
    return step.duration if settled else step.max_duration


def next_deadline(s: Snapshot, rollout: Rollout) -> datetime | None:
    """When a metric without a verdict runs out of patience, None when none will."""
    if rollout.hold_since is None:
        return None
    limits = [m.deadline for m, state in metric_states(s, rollout) if state.verdict in SILENT and m.deadline]
    return min((rollout.hold_since + limit for limit in limits), default=None)


def server_words(pods: tuple[Pod, ...], status: Status, wanted: str) -> str:
    """Why a canary did not become ready, in the words of whoever knows best: server, container, kubelet, scheduler."""
    for pod in pods:
        if pod.report is not None and status.rollout is not None:
            error = pod.report.failure(status.rollout.target.version)
            if error:
                return f"{pod.name}: {error}"
    for pod in pods:
        if pod.exit is not None:
            return f"{pod.name} exited with code {pod.exit.exit_code}: {last_line(pod.exit.message)}"
        if pod.waiting:
            return f"{pod.name}: {pod.waiting}"
        if pod.unschedulable:
            return f"{pod.name} cannot be scheduled: {pod.unschedulable}"
    never = f"the model server never opened its ports: it waits for {wanted}"
    return never if pods else "no pod was made; kubectl describe its ReplicaSet says why (a quota?)"


def last_line(text: str) -> str:
    """The last line that says something; a server's log ends with its reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "no message")[:512]


def _head(detail: str) -> str:
    return detail.split("; query ", maxsplit=1)[0]
