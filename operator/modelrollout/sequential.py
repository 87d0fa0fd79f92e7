"""One round of the sequential judge: look at every pod's counters once, and let the core say what that adds.

Part of `measuring`. What was remembered before a restart goes on from there: that moment's counters are read again.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from modelrollout.core.alerts import firing_query, unheard
from modelrollout.core.alerts import measured as fired
from modelrollout.core.analysis import Analysed, Measurement, Verdict
from modelrollout.core.counters import Counters, cells_of, gauges_of
from modelrollout.core.judge.memory import ALPHA, Memory, remember, start
from modelrollout.core.judge.rounds import Marks, marks_of, next_round
from modelrollout.core.judge.verdict import split_verdict, verdict_of
from modelrollout.core.readings import MetricsPlan, filled
from modelrollout.core.spec import Metric, MetricKind
from modelrollout.core.values import moment_of
from modelrollout.errors import MetricsUnavailable, QueryRefused
from modelrollout.ports import Look, Metrics, MetricSource, Question

ByPod = Mapping[str, Any]
"""A distribution's cells, or a gauge's value, by pod."""
HISTORY_STEP = timedelta(minutes=1)
"""Distance of the looks at what stable did before the rollout: a block of the judge each."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What the judge remembers after a round, the counters that it has taken in, and what that says of each metric.

    `age` is that of `Analysed`.
    """

    memory: Memory | None
    marks: Marks | None
    measured: tuple[Measurement, ...]
    split: Measurement | None = None
    alerts: Measurement | None = None
    age: timedelta | None = None


def question_of(plan: MetricsPlan, before: frozenset[datetime] = frozenset()) -> Question:
    """What one look asks for: every pod of the plan now and at moments before, and its alerts."""
    names = tuple(sorted({*plan.others, *(window.pod for window in (*plan.canary, *plan.stable))}))
    alerts = firing_query(plan.namespace, plan.analysis.alerts)
    return Question(plan.namespace, plan.model, names, before, alerts)


async def listen(
    plan: MetricsPlan,
    before: Analysed | None,
    metrics: Metrics,
    source: MetricSource,
    at: datetime,
    answer: asyncio.Future[Look],
) -> Heard:
    """The next round. A Prometheus that fails changes nothing that is remembered. `answer` is that to `question_of`."""
    memory = before.memory if before and before.memory and before.memory.attempt == plan.attempt else None
    marks = before.marks if memory and before else None
    look_at = _Looking(plan, metrics, source)
    question = firing_query(plan.namespace, plan.analysis.alerts)
    try:
        if memory is None or marks is None:
            memory, marks = await _begin(plan, look_at, at)
        look, problems = await look_at(at, marks, answer)
        firing = (await answer).firing
    except (MetricsUnavailable, QueryRefused) as error:
        unknown = unheard(question, str(error)) if question else None
        return Heard(memory, marks, _silent(plan, Verdict.ERROR, str(error)), alerts=unknown)
    alerts, age = fired(question, firing) if question else None, _age(plan, look, at)
    missing = _missing(plan, look)
    if missing:
        return Heard(memory, marks, _silent(plan, Verdict.NO_DATA, missing), alerts=alerts, age=age)
    heard, marks = next_round(marks, at.timestamp(), look, plan.canary, plan.stable)
    if heard is not None and (heard.stable is not None or plan.may_miss_stable):
        memory = remember(memory, plan.analysis.sequential, heard, plan.weight)
    split = None if plan.weight is None else split_verdict(memory.split)
    return Heard(memory, marks, tuple(_told(_verdicts(plan, memory, at), problems)), split, alerts, age)


async def _begin(plan: MetricsPlan, look_at: "_Looking", at: datetime) -> tuple[Memory, Marks]:
    """Where the judge goes on after a restart; without that, what stable did before."""
    if plan.stored is not None:
        look, _ = await look_at(moment_of(plan.stored.at))
        return plan.stored, marks_of(plan.stored.at, look)
    minutes = plan.analysis.baseline // HISTORY_STEP if plan.analysis.sequential else 0
    moments = [at - HISTORY_STEP * back for back in range(minutes, -1, -1)]
    looks = await asyncio.gather(*(look_at(moment) for moment in moments))
    memory = start(plan.attempt, moments[0].timestamp())
    marks = marks_of(memory.at, looks[0][0])
    for (_, moment), (look, _) in zip(pairwise(moments), looks[1:], strict=True):
        heard, marks = next_round(marks, moment.timestamp(), look, (), plan.stable)
        if heard is not None and heard.stable:
            memory = remember(memory, plan.analysis.sequential, heard, None)
    return memory, marks


@dataclass(frozen=True, slots=True)
class _Looking:
    """Looks at all counters of a plan's pods at a moment."""

    plan: MetricsPlan
    metrics: Metrics
    source: MetricSource

    async def __call__(
        self, at: datetime, marks: Marks | None = None, answer: Awaitable[Look] | None = None
    ) -> tuple[Mapping[str, Counters], Mapping[str, Measurement]]:
        """Counters by pod, and what could not be read by metric. `answer` is what was asked already.

        Raises MetricsUnavailable and QueryRefused.
        """
        wanted = [m for m in self.plan.analysis.sequential if m.query is not None]
        question = replace(question_of(self.plan), alerts="")
        look, found = await asyncio.gather(
            answer or self.metrics.look(self.source, question, at),
            asyncio.gather(*(self._by_pod(metric, question.pods, at) for metric in wanted)),
        )
        by_metric = {metric.name: read for metric, read in zip(wanted, found, strict=True)}
        problems = {name: read for name, read in by_metric.items() if isinstance(read, Measurement)}
        gauges, cells = _read(found, wanted, MetricKind.GAUGE), _read(found, wanted, MetricKind.DISTRIBUTION)
        whole = {
            pod: replace(c, cells=_cells_of(pod, cells, problems, marks), gauges=_of_pod(pod, gauges))
            for pod, c in look.now.items()
        }
        return whole, problems

    async def _by_pod(self, metric: Metric, pods: tuple[str, ...], at: datetime) -> ByPod | Measurement:
        """What a metric's own query says of each pod: a distribution's cells, or a gauge's value."""
        text, read = filled(self.plan, metric, pods), gauges_of if metric.kind is MetricKind.GAUGE else cells_of
        try:
            found: ByPod = read(await self.metrics.series(self.source, text, at))
        except (MetricsUnavailable, QueryRefused) as error:
            return Measurement(metric.name, Verdict.ERROR, f"{metric.name}: {error}; query {text}")
        except ValueError as error:
            return Measurement(metric.name, Verdict.AMBIGUOUS, f"{metric.name}: {error}; query {text}")
        if not found:
            return Measurement(metric.name, Verdict.NO_DATA, f"{metric.name}: the query returned nothing; query {text}")
        return found


def _read(found: Iterable[ByPod | Measurement], wanted: Iterable[Metric], kind: MetricKind) -> dict[str, ByPod]:
    """What could be read of the metrics of a kind, by name."""
    pairs = zip(wanted, found, strict=True)
    return {m.name: read for m, read in pairs if m.kind is kind and not isinstance(read, Measurement)}


def _of_pod(pod: str, read: Mapping[str, ByPod]) -> dict[str, Any]:
    return {metric: by_pod[pod] for metric, by_pod in read.items() if pod in by_pod}


def _cells_of(
    pod: str, read: Mapping[str, ByPod], problems: Mapping[str, Measurement], marks: Marks | None
) -> dict[str, Mapping[str, float]]:
    """A pod's distributions. One that could not be read stays as it was taken in last, so that nothing is lost."""
    mark = marks.pods.get(pod) if marks else None
    known = mark.counters.cells if mark else {}
    return _of_pod(pod, read) | {metric: known[metric] for metric in problems if metric in known}


def _told(measured: Iterable[Measurement], problems: Mapping[str, Measurement]) -> Iterator[Measurement]:
    """Verdicts, with what could not be read in the place of those that rest on it, a failure aside."""
    for measurement in measured:
        proven = measurement.verdict is Verdict.FAIL
        yield measurement if proven else problems.get(measurement.metric, measurement)


def _age(plan: MetricsPlan, look: Mapping[str, Counters], at: datetime) -> timedelta | None:
    scraped = max((look[window.pod].scraped for window in plan.canary if window.pod in look), default=0.0)
    return timedelta(seconds=at.timestamp() - scraped) if scraped else None


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
