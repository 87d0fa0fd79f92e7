"""All that the judge remembers of an attempt, and the next state of it. It is kept in the cluster (`memory_json`).

Nothing here has a clock: rounds carry their times. So a replay of recorded counters judges as the operator did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from modelrollout.core.counters import Counters
from modelrollout.core.judge.metrics import MetricMemory, hear_round, rule_of
from modelrollout.core.judge.rounds import Round
from modelrollout.core.judge.split import Split, split_round
from modelrollout.core.spec import Metric

ALPHA = 0.01
"""The chance that a version like the stable one is aborted in an hour, over all metrics together."""


@dataclass(frozen=True, slots=True)
class Memory:
    """`at` is when the last round ended (POSIX seconds), `begun` when the first began.

    `baseline` is how many seconds stable was seen alone before the canary had traffic; `first` is when each pod first
    answered anything.
    """

    attempt: int
    begun: float
    at: float
    baseline: float = 0.0
    first: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, MetricMemory] = field(default_factory=dict)
    split: Split = field(default_factory=Split)


def start(attempt: int, at: float) -> Memory:
    """A judge who has seen nothing."""
    return Memory(attempt, at, at)


def remember(memory: Memory, metrics: tuple[Metric, ...], heard: Round, weight: int | None) -> Memory:
    """What is remembered after a round. `metrics` are those with a sequential test.

    `weight` is the share that the canary's answers should have, None while it is not what the route says.
    """
    first = dict(memory.first)
    for pod, counts in (*heard.canary.items(), *(heard.stable or {}).items()):
        if counts.answers and pod not in first:
            first[pod] = heard.at - heard.seconds
    alone = not memory_has_canary(memory) and not any(counts.answers for counts in heard.canary.values())
    after = {
        metric.name: hear_round(
            metric,
            memory.metrics.get(metric.name, MetricMemory()),
            _warm(heard, first, metric),
            rule_of(metric, ALPHA / len(metrics)),
        )
        for metric in metrics
    }
    return replace(
        memory,
        at=heard.at,
        baseline=memory.baseline + heard.seconds * (alone and bool(heard.stable)),
        first=first,
        metrics=after,
        split=split_round(memory.split, heard, weight),
    )


def landmarks(memory: Memory) -> tuple[object, ...]:
    """What verdicts hang on; when it changes the memory is written down at once."""
    found = sorted(memory.metrics.items())
    return tuple(
        (
            name,
            item.broken,
            item.odd,
            item.stable_pods.odd,
            item.gauges.proven,
            *((item.case.proven, item.case.suspected) if item.case else ()),
        )
        for name, item in found
    )


def memory_has_canary(memory: Memory) -> bool:
    """Whether the canary has answered anything yet."""
    return any(state.since is not None for state in memory.metrics.values())


def _warm(heard: Round, first: Mapping[str, float], metric: Metric) -> Round:
    """The round without pods that have only just begun to answer: the first requests of a server say nothing."""
    seconds = metric.warmup.total_seconds()
    if not seconds:
        return heard

    def warm(counts: Mapping[str, Counters]) -> dict[str, Counters]:
        begins = heard.at - heard.seconds
        return {pod: count for pod, count in counts.items() if begins - first.get(pod, begins) >= seconds}

    return replace(heard, canary=warm(heard.canary), stable=None if heard.stable is None else warm(heard.stable))
