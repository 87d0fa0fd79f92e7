"""What the judge remembers of one metric, and what a round of answers adds to it (docs/judge-statistics.md).

An error rate and a latency are judged alike: as counts of answers that are bad, or slower than a bound. Bounds are
taken from what stable answered, before the canary has anything to say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from modelrollout.core.counters import Counters, total
from modelrollout.core.judge.arms import Arms, Bound, arms_of, bounds_of, seen_of
from modelrollout.core.judge.case import Case, hear, total_evidence
from modelrollout.core.judge.gauges import Gauges, hear_gauge
from modelrollout.core.judge.odd import StablePods, against, odd_one, watch
from modelrollout.core.judge.process import BLOCK, LEAST_ANSWERS, NOTHING, SUSPICIOUS, TAIL_CAPS, Arm, Rule, begin
from modelrollout.core.judge.rounds import Round
from modelrollout.core.spec import Metric, MetricKind

BREAKER_ANSWERS = 20
"""So many of the canary's last answers are looked at for a failure that needs no statistics."""
BREAKER_CANARY, BREAKER_STABLE = 0.5, 0.25
MANY_ANSWERS = 1000
"""Stable's answers from which bounds are taken; once the canary has traffic fewer have to do."""


@dataclass(frozen=True, slots=True)
class Recent:
    """Both sides in one of the last rounds."""

    at: float
    canary: Arm
    stable: Arm


@dataclass(frozen=True, slots=True)
class MetricMemory:
    """All that is remembered of a metric. `bounds` are where its comparisons cut (`arms`).

    `seen` is what stable answered until bounds could be taken. `canary` are totals by pod, `stable` those of all of
    them, an arm for each comparison, since the evidence began to rise: pods are compared over the same time. `level`
    is the evidence when the last block ended. `broken` says that half of the canary's answers were bad at once; `odd`
    are canary pods that were bad alone; what was gathered with them was thrown away. `since` is since when the canary
    is judged (POSIX seconds). `shapes` are the totals of a distribution's cells, canary's and stable's; `gauges` is all
    there is of a gauge. `stable_pods` tell one that is bad alone, by a metric's first comparison.
    """

    case: Case | None = None
    bounds: tuple[Bound, ...] = ()
    seen: Counters = field(default_factory=Counters)
    canary: Mapping[str, Arms] = field(default_factory=dict)
    stable: Arms = ()
    recent: tuple[Recent, ...] = ()
    broken: bool = False
    odd: tuple[str, ...] = ()
    since: float | None = None
    level: float = 1.0
    shapes: tuple[Mapping[str, float], Mapping[str, float]] = ({}, {})
    gauges: Gauges = field(default_factory=Gauges)
    stable_pods: StablePods = field(default_factory=StablePods)


def rule_of(metric: Metric, alpha: float) -> Rule:
    """How sure proof has to be; `alpha` is this metric's part of what all may cost."""
    return Rule(alpha) if metric.kind is MetricKind.ERROR_RATE else Rule(alpha, TAIL_CAPS)


def hear_round(metric: Metric, memory: MetricMemory, heard: Round, rule: Rule) -> MetricMemory:
    """What is remembered after a round."""
    if metric.kind is MetricKind.GAUGE:
        return _with_values(metric, memory, heard, rule)
    memory = _with_bounds(metric, memory, heard)
    if memory.case is None:
        return memory
    # A pod that was set down as odd goes on answering until it is replaced.
    canary = _by_pod(metric, memory, {pod: c for pod, c in heard.canary.items() if pod not in memory.odd})
    stable = _by_pod(metric, memory, heard.stable or {})
    size = len(memory.case.comparisons)
    ours, theirs = _sum(canary.values(), size), _sum(stable.values(), size)
    answered = any(arm.answers for arm in ours)
    sides = [(ours[i], theirs[i] if heard.stable is not None else None) for i in range(size)]
    memory = replace(
        memory,
        case=hear(memory.case, heard.at, heard.seconds, sides, rule),
        canary=_added(memory.canary, canary),
        stable=_sum((memory.stable, theirs) if memory.stable else (theirs,), size) if answered else memory.stable,
        since=memory.since or (heard.at - heard.seconds if answered else None),
    )
    if metric.kind is MetricKind.DISTRIBUTION and answered:
        memory = _with_shapes(metric, memory, heard)
    if metric.kind is MetricKind.ERROR_RATE:
        memory = _watched(memory, Recent(heard.at, ours[0], theirs[0]))
    if metric.kind is not MetricKind.DISTRIBUTION:
        first = {pod: arms[0] for pod, arms in stable.items()}
        memory = replace(memory, stable_pods=watch(memory.stable_pods, first, over=_over(memory)))
    return _while_rising(_without_odd_one(memory), rule)


def _over(memory: MetricMemory) -> bool:
    """Whether this round ended a block."""
    return memory.case is not None and not memory.case.comparisons[0].block.seconds


def _with_values(metric: Metric, memory: MetricMemory, heard: Round, rule: Rule) -> MetricMemory:
    answered = any(counts.answers for counts in heard.canary.values())
    since = memory.since or (heard.at - heard.seconds if answered else None)
    return replace(memory, gauges=hear_gauge(metric, memory.gauges, heard, rule.alpha), since=since)


def _while_rising(memory: MetricMemory, rule: Rule) -> MetricMemory:
    """Totals by pod begin anew with each block that brought no evidence: good hours of a pod do not hide bad ones."""
    assert memory.case is not None
    if not _over(memory):
        return memory
    level = total_evidence(memory.case.comparisons, rule)
    return replace(memory, level=level) if level > memory.level else replace(memory, level=level, canary={}, stable=())


def _with_bounds(metric: Metric, memory: MetricMemory, heard: Round) -> MetricMemory:
    """The memory with a case once there can be one."""
    if memory.case is not None:
        return memory
    begun = heard.at - heard.seconds
    if metric.kind is MetricKind.ERROR_RATE:
        return replace(memory, case=Case((begin(begun),)))
    seen = total((memory.seen, *(heard.stable or {}).values()))
    needed = LEAST_ANSWERS if heard.canary else MANY_ANSWERS
    bounds = bounds_of(metric, seen) if seen_of(metric, seen) >= needed else ()
    if not bounds:
        return replace(memory, seen=seen)
    # What was seen before the bounds were known still says how many answers are slower than each.
    before = total((memory.seen,))
    known = [replace(begin(begun), stable_rate=arm) for arm in arms_of(metric, bounds, before) or ()]
    size = len(arms_of(metric, bounds, seen) or ())
    known += [begin(begun)] * (size - len(known))
    return replace(memory, case=Case(tuple(known)), bounds=bounds, seen=Counters())


def _by_pod(metric: Metric, memory: MetricMemory, counts: Mapping[str, Counters]) -> dict[str, Arms]:
    found = {pod: arms_of(metric, memory.bounds, count) for pod, count in counts.items()}
    return {pod: arms for pod, arms in found.items() if arms is not None}


def _with_shapes(metric: Metric, memory: MetricMemory, heard: Round) -> MetricMemory:
    """The totals of all cells, for the distances that people look at."""

    def added(before: Mapping[str, float], counts: Iterable[Counters]) -> Mapping[str, float]:
        return total((Counters(cells={metric.name: before}), *counts)).cells[metric.name]

    canary, stable = memory.shapes
    shapes = (added(canary, heard.canary.values()), added(stable, (heard.stable or {}).values()))
    return replace(memory, shapes=shapes)


def _sum(parts: Iterable[Arms], size: int) -> Arms:
    sums = [NOTHING] * size
    for part in parts:
        sums = [a + b for a, b in zip(sums, part, strict=True)]
    return tuple(sums)


def _added(before: Mapping[str, Arms], now: Mapping[str, Arms]) -> Mapping[str, Arms]:
    summed = {pod: _sum((arms, before[pod]), len(arms)) if pod in before else arms for pod, arms in now.items()}
    return {**before, **summed}


def _watched(memory: MetricMemory, now: Recent) -> MetricMemory:
    """The circuit breaker: half of the canary's last answers bad, while stable is well.

    Twenty answers are few where stable has many bad ones too, so it has to be suspicious beside that.
    """
    recent = [item for item in (*memory.recent, now) if item.at > now.at - BLOCK]
    while len(recent) > 1 and sum(item.canary.answers for item in recent[1:]) >= BREAKER_ANSWERS:
        recent.pop(0)
    canary = _sum(((item.canary,) for item in recent), 1)[0]
    stable = _sum(((item.stable,) for item in recent), 1)[0]
    assert memory.case is not None
    known = memory.case.comparisons[0]
    share = stable.bad / stable.answers if stable.answers else known.expected
    bad = canary.answers >= BREAKER_ANSWERS and canary.bad >= BREAKER_CANARY * canary.answers
    broken = bad and share < BREAKER_STABLE and against(canary, known.stable_rate) >= SUSPICIOUS
    return replace(memory, recent=tuple(recent), broken=memory.broken or broken)


def _without_odd_one(memory: MetricMemory) -> MetricMemory:
    """Where one pod explains the proof, it is set down as odd, and what was gathered with it is thrown away."""
    case = memory.case
    if case is None or not (memory.broken or case.proven is not None):
        return memory
    pod = odd_one(memory.canary, memory.stable)
    if pod is None:
        return memory
    afresh = tuple(
        replace(begin(c.block_begun), stable_rate=c.stable_rate, spread_sum=c.spread_sum, spread_count=c.spread_count)
        for c in case.comparisons
    )
    return replace(
        memory,
        case=Case(afresh, suspected=case.suspected),
        canary={},
        recent=(),
        broken=False,
        odd=(*memory.odd, pod),
        level=1.0,
    )
