"""Verdicts: what the numbers of both sides say under a metric's limits (docs/design.md, "Analysis").

No answer is not a bad answer: only `Fail` aborts by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from math import inf, isfinite

from modelrollout.core.counters import Counters, quantile
from modelrollout.core.judge.memory import Memory
from modelrollout.core.judge.rounds import Marks
from modelrollout.core.spec import Metric, MetricKind
from modelrollout.core.status import Baseline

SPLIT = "traffic-split"
"""Name of the check that the share of requests which arrives is the weight that was set."""
ALERTS = "alerts"
"""Name under which it is shown what alerts say (`core.alerts`)."""


class Verdict(StrEnum):
    """What one metric says of the canary."""

    PASS = "Pass"
    FAIL = "Fail"
    SUSPECT = "Suspect"
    INCONCLUSIVE = "Inconclusive"
    NO_DATA = "NoData"
    LOW_TRAFFIC = "LowTraffic"
    ERROR = "Error"
    AMBIGUOUS = "Ambiguous"


SILENT = frozenset({Verdict.NO_DATA, Verdict.ERROR, Verdict.AMBIGUOUS})
"""Verdicts that say nothing about the canary: they hold the weight."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One metric of one side. `problem` is set when there is no usable value; then `detail` says why."""

    value: float | None = None
    requests: float = inf
    problem: Verdict | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One metric at one moment. `breached` says that a limit is broken, before `failures` in a row are asked for.

    `baseline` is the stable side's value when enough requests were behind it, to be kept at the end of the step.
    A sequential test also says when it last `suspected` the canary, and which of its pods were `odd`: bad alone.
    `odd_stable` is a stable pod that is, empty without one.
    """

    metric: str
    verdict: Verdict
    detail: str
    breached: bool = False
    baseline: Baseline | None = None
    suspected: datetime | None = None
    odd: tuple[str, ...] = ()
    odd_stable: str = ""


@dataclass(frozen=True, slots=True)
class MetricState:
    """A metric's last measurement, how many in a row broke a limit, and how many in a row said nothing."""

    last: Measurement
    breaches: int
    verdict: Verdict
    silent: int = 0


@dataclass(frozen=True, slots=True)
class Analysed:
    """What this process has measured for one comparison; `key` names it: runs of breaches do not reach across it.

    `memory` is what the sequential judge remembers of the attempt, `marks` the counters that it has taken in. `age` is
    how long before `at` Prometheus had read a canary pod last, None where that is not known.
    """

    key: str
    at: datetime
    metrics: Mapping[str, MetricState]
    memory: Memory | None = None
    marks: Marks | None = None
    age: timedelta | None = None

    def proofs(self) -> frozenset[str]:
        """The metrics, alerts among them, that prove the canary bad."""
        return frozenset(name for name, state in self.metrics.items() if state.verdict is Verdict.FAIL)

    def failing(self) -> MetricState | None:
        """The first metric that proves the canary bad; what alerts say is looked at by itself."""
        failed = (state for name, state in self.metrics.items() if name != ALERTS and state.verdict is Verdict.FAIL)
        return next(failed, None)


def extend(
    before: Analysed | None, key: str, measured: tuple[tuple[Metric | None, Measurement], ...]
) -> Mapping[str, MetricState]:
    """The next states after one round of measurements. A silent round neither adds to a run of breaches nor ends it."""
    old = before.metrics if before and before.key == key else {}
    return {m.metric: _next_state(old.get(m.metric), m, metric.failures if metric else 1) for metric, m in measured}


def _next_state(before: MetricState | None, measurement: Measurement, failures: int) -> MetricState:
    breaches = before.breaches if before else 0
    if measurement.breached:
        breaches += 1
    elif measurement.verdict not in SILENT:
        breaches = 0
    if not measurement.breached:
        silent = (before.silent if before else 0) + 1 if measurement.verdict in SILENT else 0
        return MetricState(measurement, breaches, measurement.verdict, silent)
    return MetricState(measurement, breaches, Verdict.FAIL if breaches >= failures else Verdict.INCONCLUSIVE)


def read_counters(metric: Metric, counts: Counters | None) -> Reading:
    """A built-in metric of one side from its counters; None when Prometheus has none of the side's pods."""
    if counts is None:
        return Reading(problem=Verdict.NO_DATA, detail="Prometheus reads none of its pods")
    if metric.kind is MetricKind.ERROR_RATE:
        rate = counts.bad / counts.answers if counts.answers else 0.0
        return Reading(
            rate, counts.answers, detail=f"{rate:.2%} ({counts.bad:.0f} of {counts.answers:.0f} answers bad)"
        )
    seconds = quantile(counts.buckets, metric.quantile)
    if seconds is None:
        return Reading(0.0, 0.0, detail="no answers")
    return Reading(
        seconds,
        counts.good,
        detail=f"p{metric.quantile * 100:g} {seconds * 1000:.1f} ms over {counts.good:.0f} answers",
    )


def read_series(values: tuple[float, ...]) -> Reading:
    """A metric of kind Query from the series that came back: exactly one finite number is a value."""
    if len(values) > 1:
        return Reading(
            problem=Verdict.AMBIGUOUS,
            detail=f"{len(values)} series where one was expected: aggregate with sum() or max()",
        )
    if not values:
        return Reading(problem=Verdict.NO_DATA, detail="the query returned nothing")
    if not isfinite(values[0]):
        return Reading(problem=Verdict.NO_DATA, detail=f"the query returned {values[0]}")
    return Reading(values[0], detail=f"{values[0]:.6g}")


def from_baseline(frozen: Baseline | None) -> Reading:
    """The stable side when it cannot be measured any more: its last good value, as kept at the end of a step."""
    if frozen is None:
        return Reading(problem=Verdict.LOW_TRAFFIC, detail="too few requests now, and no earlier value")
    return Reading(frozen.value, frozen.requests, detail=f"{frozen.value:.6g} (in an earlier step)")


def judge(metric: Metric, canary: Reading, stable: Reading, query: str) -> Measurement:
    """One measurement. Absolute limits need no stable side; a broken one counts whatever the stable side says."""
    evidence = f"{metric.name}: canary {canary.detail}; stable {stable.detail}"
    if canary.problem is not None:
        return Measurement(metric.name, canary.problem, f"{evidence}; query {query}")
    enough = stable.value is not None and stable.requests >= metric.min_requests
    frozen = Baseline(metric.name, stable.value or 0.0, stable.requests) if enough else None
    if canary.requests < metric.min_requests:
        few = f"{evidence}; minRequests {metric.min_requests}"
        return Measurement(metric.name, Verdict.LOW_TRAFFIC, few, baseline=frozen)
    breach = _absolute_breach(metric, canary) or _relative_breach(metric, canary, stable)
    if breach:
        return Measurement(metric.name, Verdict.INCONCLUSIVE, f"{evidence}; {breach}; query {query}", True, frozen)
    if metric.limits.compares and (stable.problem is not None or stable.requests < metric.min_requests):
        verdict = stable.problem or Verdict.LOW_TRAFFIC
        return Measurement(metric.name, verdict, f"{evidence}; cannot compare", baseline=frozen)
    return Measurement(metric.name, Verdict.PASS, evidence, baseline=frozen)


def _absolute_breach(metric: Metric, canary: Reading) -> str:
    value, limits = canary.value or 0.0, metric.limits
    if limits.max is not None and value > limits.max:
        return f"over max {limits.max:g}"
    if limits.min is not None and value < limits.min:
        return f"under min {limits.min:g}"
    return ""


def _relative_breach(metric: Metric, canary: Reading, stable: Reading) -> str:
    limits, value, base = metric.limits, canary.value or 0.0, stable.value
    zero = limits.max_if_stable_zero
    if zero is not None and not base and stable.problem in {None, Verdict.LOW_TRAFFIC}:
        # However few requests stable has, this limit does not depend on its value.
        return f"over maxIfStableZero {zero:g}" if value > zero else ""
    if base is None or stable.requests < metric.min_requests:
        return ""
    if limits.max_drop_from_stable is not None and base - value > limits.max_drop_from_stable:
        return f"{base - value:g} under stable, maxDropFromStable {limits.max_drop_from_stable:g}"
    if limits.max_ratio_to_stable is None:
        return ""
    if base and value > limits.max_ratio_to_stable * base:
        return f"{value / base:.2f} times stable, maxRatioToStable {limits.max_ratio_to_stable:g}"
    return ""
