"""What proves that a canary must go: a marker, a request, pods, metrics. Each proof gives an `End`, or None."""

import json
from datetime import timedelta

from modelrollout.core.alerts import told_since
from modelrollout.core.analysis import SILENT, Verdict
from modelrollout.core.diagnosis import last_words, server_words
from modelrollout.core.fitting import asks
from modelrollout.core.names import Track
from modelrollout.core.pausing import waits_for_people
from modelrollout.core.pods import ready_by
from modelrollout.core.reasons import Reason
from modelrollout.core.requests import Verb
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Metric, Policy
from modelrollout.core.status import End, Outcome, Rollout, Stage
from modelrollout.core.verdicts import alert_fires, current, head, metric_states, silent_policy, talking_policy

MAX_SETBACKS = 3
"""So often the canary's weight may go to 0 for lack of pods in one attempt."""
PROVEN_SILENT = 2
"""Measurements in a row without a verdict before a deadline counts."""
_EXIT_PRECISION = timedelta(seconds=1)
"""The API server keeps container times in whole seconds."""


def proof_of_failure(s: Snapshot, rollout: Rollout) -> End | None:
    """Why the canary must go now, None when nothing proves that."""
    proofs = (_marked, _asked_for, _alerted, _unavailable, _lost_for_good, _failed_metric, _out_of_patience)
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
        return End(Outcome.ROLLED_BACK, Reason.ABORTED, "the route carries an abort marker that cannot be read")


def _asked_for(s: Snapshot, _: Rollout) -> End | None:
    for verb, reason in ((Verb.ABORT, Reason.ABORT_REQUESTED), (Verb.UNDO, Reason.UNDONE)):
        if asks(s, verb):
            message = f"{s.asker or 'somebody'} asked for it"
            return End(Outcome.ROLLED_BACK, reason, message, f"request {s.request}")
    return None


def _alerted(s: Snapshot, rollout: Rollout) -> End | None:
    """An alert that fires while the new version has traffic. The fast path leads away from what alerts are about."""
    if not rollout.steps or rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING, Stage.BAKING}:
        return None
    told = next(told_since(s.alerts, rollout.since), None)
    if told is not None:
        said = f"Alertmanager called: {dict(told.labels)}"
        return End(Outcome.ROLLED_BACK, Reason.ALERT_FIRING, f"{told} fires", said)
    state = alert_fires(s, rollout)
    if state is None:
        return None
    return End(Outcome.ROLLED_BACK, Reason.ALERT_FIRING, head(state.last.detail), state.last.detail)


def _unavailable(s: Snapshot, rollout: Rollout) -> End | None:
    """A canary container that exits by itself while it has traffic: its users see 503s that no model server counts."""
    if rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING}:
        return None
    for pod in s.track(Track.CANARY):
        if pod.exit is not None and pod.exit.finished + _EXIT_PRECISION > rollout.since:
            said = f"container exited with code {pod.exit.exit_code}: {last_words(pod.exit.message)}"
            return End(Outcome.ROLLED_BACK, Reason.CANARY_UNAVAILABLE, f"canary pod {pod.name}: {said}", said)
    return None


def _lost_for_good(s: Snapshot, rollout: Rollout) -> End | None:
    """Canary pods that went away once are waited for; when it happens again and again, that is the version's doing."""
    if rollout.stage is not Stage.PROGRESSING or rollout.lost_since is None:
        return None
    if rollout.setbacks >= MAX_SETBACKS:
        said = f"canary pods were lost {rollout.setbacks} times while they had traffic"
        return End(Outcome.ROLLED_BACK, Reason.CANARY_UNAVAILABLE, said, said)
    pods = s.track(Track.CANARY)
    placed = [pod.scheduled for pod in pods if pod.scheduled is not None]
    if not pods or len(placed) < len(pods):
        return None
    if s.now < ready_by(s, max(rollout.lost_since, *placed)):
        return None
    words = server_words(pods, rollout.target.version, f"{s.target.base_path}/{rollout.target.version}")
    return End(Outcome.ROLLED_BACK, Reason.CANARY_UNAVAILABLE, f"canary pods did not come back in time: {words}", words)


def _failed_metric(s: Snapshot, rollout: Rollout) -> End | None:
    analysed = current(s, rollout)
    state = analysed.failing() if analysed else None
    if state is None:
        return None
    message = head(state.last.detail)
    if state.breaches:
        rounds = f"{state.breaches} measurements in a row" if state.breaches > 1 else "1 measurement"
        message = f"{state.last.metric} failed in {rounds}: {message}"
    return End(Outcome.ROLLED_BACK, Reason.ANALYSIS_FAILED, message, state.last.detail)


def _out_of_patience(s: Snapshot, rollout: Rollout) -> End | None:
    """A metric without a verdict aborts only when its policy or its deadline says so."""
    silent_since = {item.name: item.silent_since for item in s.status.analysis}
    for metric, state in metric_states(s, rollout):
        since = silent_since.get(metric.name)
        if state.verdict in SILENT:
            # One silent round may be this process's first: the silence before it may have ended long ago.
            limit = _silent_limit(metric, state.verdict, rollout) if state.silent >= PROVEN_SILENT else None
        else:
            limit, since = _open_limit(s, metric, state.verdict, rollout), rollout.step_started
        if limit is not None and since is not None and s.now - since >= limit:
            message = f"{metric.name} gave no verdict ({state.verdict}) in time: {head(state.last.detail)}"
            return End(Outcome.ROLLED_BACK, Reason(f"Analysis{state.verdict}"), message, state.last.detail)
    return None


def _silent_limit(metric: Metric, verdict: Verdict, rollout: Rollout) -> timedelta | None:
    if metric.deadline is not None or silent_policy(metric, verdict) is not Policy.ABORT:
        return metric.deadline
    return rollout.current_step.max_duration if rollout.current_step else None


def _open_limit(s: Snapshot, metric: Metric, verdict: Verdict, rollout: Rollout) -> timedelta | None:
    """When an open verdict ends the rollout. Time that people take to decide does not run against the version."""
    asked = talking_policy(metric, verdict) is Policy.ABORT and rollout.stage is Stage.PROGRESSING
    counts = asked and not waits_for_people(s, rollout)
    return rollout.current_step.max_duration if counts and rollout.current_step else None
