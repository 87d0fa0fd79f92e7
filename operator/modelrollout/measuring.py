"""One round of measurements by a plan: fetch counters and queries, hand them to the core, get verdicts' input back.

Every failure of Prometheus becomes a reading with its own verdict; nothing here raises.
"""

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from modelrollout.core.analysis import (
    Analysed,
    Measurement,
    Reading,
    Verdict,
    extend,
    from_baseline,
    judge,
    read_counters,
    read_series,
)
from modelrollout.core.counters import Counters, PodWindow, bad_query, increase, latency_query, total
from modelrollout.core.readings import MetricsPlan, filled
from modelrollout.core.spec import Metric, MetricKind, MetricTest
from modelrollout.errors import MetricsUnavailable, QueryRefused
from modelrollout.ports import Look, Metrics, MetricSource
from modelrollout.sequential import listen, question_of

Snapshots = Mapping[datetime, Mapping[str, Counters]]


@dataclass(frozen=True, slots=True)
class Sides:
    """Counters of both sides over one window; `failure` is set when they could not be read."""

    canary: Counters | None
    stable: Counters | None
    failure: Reading | None = None


async def measure(plan: MetricsPlan, before: Analysed | None, metrics: Metrics, at: datetime) -> Analysed:
    """One round for every metric of the plan, all looking at the same instant `at`."""
    source = MetricSource(plan.analysis.address, plan.analysis.timeout)
    wanted = [m for m in plan.analysis.metrics if plan.judged and (not _sequential(m) or m.limits.absolute)]
    # One look for all: requests are most of what a round costs, here and there.
    look = asyncio.ensure_future(metrics.look(source, question_of(plan, _starts(plan, _windows(wanted), at)), at))
    heard, limited, _ = await asyncio.gather(
        listen(plan, before, metrics, source, at, look),
        _limited(plan, wanted, look, source, metrics, at),
        asyncio.gather(look, return_exceptions=True),  # whoever waits for it or not, it ends with the round
    )
    by_name = {metric.name: metric for metric in plan.analysis.metrics}
    rounds: list[tuple[Metric | None, Measurement]] = []
    for measurement in heard.measured:
        limit = limited.pop(measurement.metric, None)
        rounds.append((by_name[measurement.metric], _stricter(measurement, limit)))
    rounds += [(by_name[name], measurement) for name, measurement in limited.items() if not _sequential(by_name[name])]
    rounds += [(None, said) for said in (heard.split, heard.alerts) if said is not None]
    return Analysed(plan.key, at, extend(before, plan.key, tuple(rounds)), heard.memory, heard.marks, heard.age)


def _stricter(measurement: Measurement, limit: Measurement | None) -> Measurement:
    """A sequential verdict with the absolute limits beside it: a broken one counts as it does without a test."""
    if limit is None or not limit.breached or measurement.verdict is Verdict.FAIL:
        return measurement
    return replace(measurement, verdict=limit.verdict, detail=limit.detail, breached=True)


def _sequential(metric: Metric) -> bool:
    return metric.test is MetricTest.SEQUENTIAL


async def _limited(
    plan: MetricsPlan,
    wanted: Collection[Metric],
    look: Awaitable[Look],
    source: MetricSource,
    metrics: Metrics,
    at: datetime,
) -> dict[str, Measurement]:
    """Measurements of the metrics that have limits, by name; none before the canary has traffic."""
    sides = await _sides(plan, look, _windows(wanted), at)
    found = await asyncio.gather(
        *(_judge_one(plan, metric, sides.get(metric.window), source, metrics, at) for metric in wanted)
    )
    return {measurement.metric: measurement for measurement in found}


def _windows(wanted: Iterable[Metric]) -> set[timedelta]:
    return {metric.window for metric in wanted if metric.kind is not MetricKind.QUERY}


def _starts(plan: MetricsPlan, windows: Iterable[timedelta], at: datetime) -> frozenset[datetime]:
    return frozenset(_start(pod, at, window) for window in windows for pod in (*plan.canary, *plan.stable))


async def _sides(
    plan: MetricsPlan, look: Awaitable[Look], windows: set[timedelta], at: datetime
) -> dict[timedelta, Sides]:
    """Both sides' increases per window."""
    if not windows:
        return {}
    try:
        seen = await look
    except (MetricsUnavailable, QueryRefused) as error:
        failed = Sides(None, None, Reading(problem=Verdict.ERROR, detail=str(error)))
        return dict.fromkeys(windows, failed)
    looks = {**seen.before, at: seen.now}
    return {
        window: Sides(_increase(plan.canary, looks, at, window), _increase(plan.stable, looks, at, window))
        for window in windows
    }


def _start(pod: PodWindow, at: datetime, window: timedelta) -> datetime:
    return min(at, max(pod.start, at - window))


def _increase(pods: Iterable[PodWindow], looks: Snapshots, at: datetime, window: timedelta) -> Counters | None:
    """What the pods answered in the window; None when that is not known of any of them."""
    parts = [part for pod in pods if (part := _pod_increase(pod, looks, at, window)) is not None]
    return total(parts) if parts else None


def _pod_increase(pod: PodWindow, looks: Snapshots, at: datetime, window: timedelta) -> Counters | None:
    """None when Prometheus does not read the pod now, or did not at the window's start: its whole life is no window."""
    start, end = _start(pod, at, window), looks[at].get(pod.pod)
    base = looks[start].get(pod.pod)
    if (pod.born is not None and start <= pod.born) or (base is None and pod.new and start == pod.start):
        base = Counters()
    return increase(base, end) if base is not None and end is not None else None


async def _judge_one(
    plan: MetricsPlan, metric: Metric, sides: Sides | None, source: MetricSource, metrics: Metrics, at: datetime
) -> Measurement:
    if metric.kind is MetricKind.QUERY or sides is None:
        return await _judge_query(plan, metric, source, metrics, at)
    text = _evidence_query(plan, metric)
    if sides.failure is not None:
        return judge(metric, sides.failure, sides.failure, text)
    stable = _or_baseline(plan, metric, read_counters(metric, sides.stable) if plan.stable else None)
    return judge(metric, read_counters(metric, sides.canary), stable, text)


def _or_baseline(plan: MetricsPlan, metric: Metric, stable: Reading | None) -> Reading:
    """The stable side; its last good value where no pod serves the old version alone, or too few requests reach it."""
    kept = next((item for item in plan.baseline if item.name == metric.name), None)
    if stable is None or (kept is not None and stable.problem is None and stable.requests < metric.min_requests):
        return from_baseline(kept)
    return stable


def _evidence_query(plan: MetricsPlan, metric: Metric) -> str:
    query = bad_query if metric.kind is MetricKind.ERROR_RATE else latency_query
    return query(plan.namespace, plan.model, [pod.pod for pod in plan.canary])


async def _judge_query(
    plan: MetricsPlan, metric: Metric, source: MetricSource, metrics: Metrics, at: datetime
) -> Measurement:
    canary_text = filled(plan, metric, (pod.pod for pod in plan.canary))
    canary = _series(metrics, source, canary_text, at)
    if not metric.limits.compares:
        return judge(metric, await canary, Reading(detail="not compared"), canary_text)
    if not plan.stable:
        return judge(metric, await canary, _or_baseline(plan, metric, None), canary_text)
    stable = _series(metrics, source, filled(plan, metric, (pod.pod for pod in plan.stable)), at)
    return judge(metric, *await asyncio.gather(canary, stable), canary_text)


def _series(metrics: Metrics, source: MetricSource, promql: str, at: datetime) -> Awaitable[Reading]:
    async def read() -> Reading:
        try:
            return read_series(await metrics.query(source, promql, at))
        except (MetricsUnavailable, QueryRefused) as error:
            return Reading(problem=Verdict.ERROR, detail=str(error))

    return read()
