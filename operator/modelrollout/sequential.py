"""One round of the sequential judge: look at every pod's counters once, and let the core say what that adds.

Part of `measuring`. What was remembered before a restart goes on from there: that moment's counters are read again.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from modelrollout.core.analysis import Analysed, Measurement, Verdict
from modelrollout.core.counters import Counters
from modelrollout.core.judge.memory import ALPHA, Memory, remember, start
from modelrollout.core.judge.rounds import Marks, marks_of, next_round
from modelrollout.core.judge.verdict import split_verdict, verdict_of
from modelrollout.core.readings import MetricsPlan
from modelrollout.core.values import moment_of
from modelrollout.errors import MetricsUnavailable, QueryRefused
from modelrollout.ports import Metrics, MetricSource

HISTORY_STEP = timedelta(minutes=1)
"""Distance of the looks at what stable did before the rollout: a block of the judge each."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the judge remembers after a round, the counters that it has taken in, and what that says of each metric."""

    memory: Memory | None
    marks: Marks | None
    measured: tuple[Measurement, ...]
    split: Measurement | None = None


async def listen(
    plan: MetricsPlan, before: Analysed | None, metrics: Metrics, source: MetricSource, at: datetime
) -> Heard:
    """The next round. A Prometheus that fails changes nothing that is remembered."""
    memory = before.memory if before and before.memory and before.memory.attempt == plan.attempt else None
    marks = before.marks if memory and before else None
    try:
        if memory is None or marks is None:
            memory, marks = await _begin(plan, metrics, source, at)
        look = await metrics.counters(source, plan.namespace, plan.model, _names(plan), at)
    except (MetricsUnavailable, QueryRefused) as error:
        return Heard(memory, marks, _silent(plan, Verdict.ERROR, str(error)))
    missing = _missing(plan, look)
    if missing:
        return Heard(memory, marks, _silent(plan, Verdict.NO_DATA, missing))
    heard, marks = next_round(marks, at.timestamp(), look, plan.canary, plan.stable)
    if heard is not None and (heard.stable is not None or plan.may_miss_stable):
        memory = remember(memory, plan.analysis.sequential, heard, plan.weight)
    return Heard(
        memory, marks, _verdicts(plan, memory, at), None if plan.weight is None else split_verdict(memory.split)
    )


async def _begin(plan: MetricsPlan, metrics: Metrics, source: MetricSource, at: datetime) -> tuple[Memory, Marks]:
    """Where the judge goes on after a restart; without that, what stable did before."""
    if plan.stored is not None:
        look = await metrics.counters(source, plan.namespace, plan.model, _names(plan), moment_of(plan.stored.at))
        return plan.stored, marks_of(plan.stored.at, look)
    minutes = plan.analysis.baseline // HISTORY_STEP if plan.analysis.sequential else 0
    moments = [at - HISTORY_STEP * back for back in range(minutes, -1, -1)]
    looks = await asyncio.gather(
        *(metrics.counters(source, plan.namespace, plan.model, _names(plan), moment) for moment in moments)
    )
    memory = start(plan.attempt, moments[0].timestamp())
    marks = marks_of(memory.at, looks[0])
    for (_, moment), look in zip(pairwise(moments), looks[1:], strict=True):
        heard, marks = next_round(marks, moment.timestamp(), look, (), plan.stable)
        if heard is not None and heard.stable:
            memory = remember(memory, plan.analysis.sequential, heard, None)
    return memory, marks


def _names(plan: MetricsPlan) -> tuple[str, ...]:
    return tuple(sorted({*plan.others, *(window.pod for window in (*plan.canary, *plan.stable))}))


def _missing(plan: MetricsPlan, look: Mapping[str, Counters]) -> str:
    """Which side Prometheus reads nothing of, empty when it reads both."""
    for side, windows in (("canary", plan.canary), ("stable", plan.stable)):
        if windows and not any(window.pod in look for window in windows):
            return f"Prometheus reads none of the {side} pods"
    return ""


def _silent(plan: MetricsPlan, verdict: Verdict, why: str) -> tuple[Measurement, ...]:
    return tuple(Measurement(metric.name, verdict, f"{metric.name}: {why}") for metric in plan.analysis.sequential)


def _verdicts(plan: MetricsPlan, memory: Memory, at: datetime) -> tuple[Measurement, ...]:
    metrics = plan.analysis.sequential
    wait = plan.analysis.suspicion.total_seconds()
    return tuple(
        verdict_of(metric, memory.metrics[metric.name], at.timestamp(), ALPHA / len(metrics), wait)
        for metric in metrics
        if metric.name in memory.metrics
    )
