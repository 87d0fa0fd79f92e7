"""What the metrics say of the comparison under way: verdicts, what a rollout waits for, how long a step stays."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from modelrollout.core.analysis import ALERTS, SILENT, SPLIT, Analysed, MetricState, Verdict
from modelrollout.core.readings import comparison
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Metric, MetricTest, Policy, Step
from modelrollout.core.status import Judged, Rollout

LATE = timedelta(seconds=1)
"""A measurement may be this much late; an older one is no evidence: the process may have stood still since."""


def current(s: Snapshot, rollout: Rollout) -> Analysed | None:
    """What has been measured for the comparison that is under way, None before its first round."""
    return s.analysed if s.analysed and s.analysed.key == comparison(rollout) else None


def metric_states(s: Snapshot, rollout: Rollout) -> Iterator[tuple[Metric, MetricState]]:
    """The metrics of the comparison under way that have been measured, the traffic split left out."""
    analysed = current(s, rollout)
    if analysed is None or s.spec.analysis is None:
        return
    for metric in s.spec.analysis.metrics:
        if metric.name in analysed.metrics:
            yield metric, analysed.metrics[metric.name]


def judged(s: Snapshot) -> tuple[Judged, ...]:
    """Each metric's verdict with the evidence of the moment it changed; kept while the verdict stays the same.

    So nothing that people read moves with every measurement.
    """
    rollout = s.status.rollout
    analysed = current(s, rollout) if rollout else None
    if analysed is None or s.spec.analysis is None:
        return s.status.analysis
    kinds = {metric.name: (str(metric.kind), str(metric.test)) for metric in s.spec.analysis.metrics}
    kinds[SPLIT] = ("Split", str(MetricTest.SEQUENTIAL))
    if s.spec.analysis.alerts:
        kinds[ALERTS] = ("Alert", "Firing")
    # What is not measured for the moment, as the split while a weight is being set, keeps its last verdict.
    said = {item.name: item for item in s.status.analysis if item.name in kinds}
    said |= {name: _judged(s, name, *kinds[name], state) for name, state in analysed.metrics.items() if name in kinds}
    return tuple(said[name] for name in sorted(said))


def _judged(s: Snapshot, name: str, kind: str, test: str, state: MetricState) -> Judged:
    before = next((item for item in s.status.analysis if item.name == name), None)
    if before is not None and before.verdict == state.verdict:
        return before
    since = (before.silent_since if before else None) or s.now
    return Judged(
        name, kind, test, str(state.verdict), state.last.detail[:1024], since if state.verdict in SILENT else None
    )


def silent_policy(metric: Metric, verdict: Verdict) -> Policy:
    """What to do about a metric that says nothing."""
    return metric.on_no_data if verdict is Verdict.NO_DATA else metric.on_error


def talking_policy(metric: Metric, verdict: Verdict) -> Policy | None:
    """What to do about a metric that has an open verdict, None for a clear one.

    A suspicion is settled by itself (`suspicion`); the step's end does not wait for one that is to be ignored.
    """
    return {
        Verdict.LOW_TRAFFIC: metric.on_low_traffic,
        Verdict.INCONCLUSIVE: metric.on_inconclusive,
        Verdict.SUSPECT: Policy.ADVANCE,
    }.get(verdict)


def holding(s: Snapshot, rollout: Rollout) -> str:
    """Why the rollout waits for evidence, empty when it does not: a silent metric, a false split, no round lately.

    The fast path never waits: it leads away from what hurts.
    """
    if s.spec.analysis is None or not rollout.steps:
        return ""
    analysed = current(s, rollout)
    if analysed is None:
        return "waiting for the first measurement" if rollout.step_started else ""
    if s.now - analysed.at > s.spec.analysis.interval + s.spec.analysis.timeout + LATE:
        return "the last measurement is too old"
    said = {item.name: item for item in judged(s)}
    split = analysed.metrics.get(SPLIT)
    if split is not None and split.verdict in SILENT | {Verdict.INCONCLUSIVE}:
        return said[SPLIT].detail
    alerts = analysed.metrics.get(ALERTS)
    if alerts is not None and alerts.verdict in SILENT:
        return f"{alerts.verdict}: {head(alerts.last.detail)}"
    for metric, state in metric_states(s, rollout):
        if state.verdict in SILENT and silent_policy(metric, state.verdict) is not Policy.ADVANCE:
            return f"{state.verdict}: {head(said[metric.name].detail)}"
    return ""


LEAST_BASELINE = timedelta(minutes=1)
"""So long stable has to be seen before the canary gets traffic: with less, one good version in fifty is aborted."""


def waits_for_baseline(s: Snapshot, rollout: Rollout) -> str:
    """Why the canary gets no traffic yet for want of something to compare with, empty when there is enough."""
    metrics = s.spec.analysis.sequential if s.spec.analysis else ()
    memory = s.analysed.memory if s.analysed else None
    if not metrics or (memory and memory.attempt == rollout.attempt and memory.baseline >= LEAST_BASELINE.seconds):
        return ""
    silent = [(metric, state) for metric, state in metric_states(s, rollout) if state.verdict in SILENT]
    if silent and all(silent_policy(metric, state.verdict) is Policy.ADVANCE for metric, state in silent):
        return ""
    why = next((f": {state.verdict}: {head(state.last.detail)}" for _, state in silent), "")
    return f"watching stable for {LEAST_BASELINE.seconds} s to compare with{why}"


def waits_for_alerts(s: Snapshot, rollout: Rollout) -> str:
    """Why the canary gets no traffic yet because of alerts: one fires already, or nothing is known of them."""
    if s.spec.analysis is None or not s.spec.analysis.alerts:
        return ""
    analysed = current(s, rollout)
    state = analysed.metrics.get(ALERTS) if analysed else None
    if state is None:
        return "waiting for the first look at alerts"
    if state.verdict is Verdict.FAIL:
        return f"{head(state.last.detail)} already, so the canary gets no traffic before that is over"
    return f"{state.verdict}: {head(state.last.detail)}" if state.verdict in SILENT else ""


def alert_fires(s: Snapshot, rollout: Rollout) -> MetricState | None:
    """What Prometheus says of an alert that fires now, None when it says of none."""
    analysed = current(s, rollout)
    state = analysed.metrics.get(ALERTS) if analysed else None
    return state if state is not None and state.verdict is Verdict.FAIL else None


def head(detail: str) -> str:
    """An evidence line without its query."""
    return detail.split("; query ", maxsplit=1)[0]


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
    if metric.require_pass:
        return None
    # The next rounds tell whether a breach becomes a failure: no step ends on one that is open.
    if state.breaches or talking_policy(metric, state.verdict) is not Policy.ADVANCE:
        return None
    return step.max_duration if state.verdict is Verdict.LOW_TRAFFIC else step.duration


def next_deadline(s: Snapshot, rollout: Rollout) -> datetime | None:
    """When a metric without a verdict runs out of patience, None when none will."""
    since = {item.name: item.silent_since for item in judged(s)}
    moments = [
        begun + metric.deadline
        for metric, state in metric_states(s, rollout)
        if state.verdict in SILENT and metric.deadline and (begun := since.get(metric.name))
    ]
    return min(moments, default=None)
