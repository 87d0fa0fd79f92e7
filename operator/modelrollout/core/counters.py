"""Counters of model servers, and what a side answered between two moments (docs/design.md, "Counting requests").

TensorFlow Serving counts status and metadata calls and probes as OK requests too. Answers are therefore the latency
histogram's counts with a non-empty API label (successes only) plus `request_count` with any status but OK.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import inf, isfinite

_REQUESTS = ":tensorflow:serving:request_count"
_LATENCY = ":tensorflow:serving:request_latency_bucket"
_MICROSECONDS = 1e6
ALL = "<=+Inf"
"""The cell of a histogram that holds all."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Cumulative counters of one pod at one moment. `buckets`: upper bound in microseconds to cumulative count.

    `bad` is every answer but OK, INVALID_ARGUMENT included: a broken signature shows there. `scraped` is when
    Prometheus read them, in POSIX seconds, 0 where that is not known. `cells` are of distributions, by metric: counts
    by class, or by `<=` and the bound of a histogram's bucket, which holds all below it too. `gauges` are values, by
    metric, at the end of what the rest counts.
    """

    bad: float = 0.0
    buckets: Mapping[float, float] = field(default_factory=dict)
    scraped: float = 0.0
    cells: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    gauges: Mapping[str, float] = field(default_factory=dict)

    @property
    def good(self) -> float:
        """Answers with status OK: the count of the histogram's last bucket."""
        return self.buckets.get(inf, 0.0)

    @property
    def answers(self) -> float:
        """All answers."""
        return self.good + self.bad


@dataclass(frozen=True, slots=True)
class PodWindow:
    """Count this pod's answers from `start` on: never from before its weight was live or its versions changed.

    `born` is when its container started. `new` says that it had answered nothing by `start` though it is older, so that
    counters which appear later began at zero. `changed` is since when it has its versions, where that is not always.
    """

    pod: str
    start: datetime
    born: datetime | None = None
    new: bool = False
    changed: datetime | None = None


def cells_of(series: Iterable[tuple[Mapping[str, str], float]]) -> dict[str, dict[str, float]]:
    """A distribution's cells by pod, from series with label `pod` and one more: `le`, or a class.

    Raises ValueError, with the fix, for series that are something else.
    """
    found: dict[str, dict[str, float]] = {}
    for labels, value in series:
        others = [name for name in labels if name not in {"pod", "__name__"}]
        if "pod" not in labels or len(others) != 1:
            fix = "aggregate with sum by (pod, le), or sum by (pod, class)"
            raise ValueError(f"series need label pod and exactly one more, these have {sorted(labels)}: {fix}")
        cell = f"<={labels['le']}" if others == ["le"] else labels[others[0]]
        found.setdefault(labels["pod"], {})[cell] = value
    return found


def gauges_of(series: Iterable[tuple[Mapping[str, str], float]]) -> dict[str, float]:
    """A gauge by pod, from series with label `pod` alone. Raises ValueError, with the fix, for others."""
    found: dict[str, float] = {}
    for labels, value in series:
        others = sorted(name for name in labels if name not in {"pod", "__name__"})
        if "pod" not in labels or others or labels["pod"] in found:
            fix = "aggregate with max by (pod), or sum by (pod)"
            raise ValueError(f"one series per pod is needed, with label pod alone, not {sorted(labels)}: {fix}")
        if isfinite(value):
            found[labels["pod"]] = value
    return found


def shrank(start: Counters, end: Counters) -> bool:
    """Whether a counter went backwards: a restart, or two Prometheus servers that do not agree."""
    return end.answers < start.answers or end.bad < start.bad


def increase(start: Counters, end: Counters) -> Counters:
    """What came in between. A counter that shrank was reset by a restart: then all of `end` is new."""
    if shrank(start, end):
        return end
    buckets = {bound: max(0.0, count - start.buckets.get(bound, 0.0)) for bound, count in end.buckets.items()}
    return Counters(end.bad - start.bad, buckets, end.scraped, _cells_since(start, end), end.gauges)


def _cells_since(start: Counters, end: Counters) -> dict[str, dict[str, float]]:
    """Distributions that were read both times; one that shrank was reset."""
    found = {}
    for metric in start.cells.keys() & end.cells.keys():
        before, after = start.cells[metric], end.cells[metric]
        reset = any(count < before.get(cell, 0.0) for cell, count in after.items())
        found[metric] = {cell: count - (0.0 if reset else before.get(cell, 0.0)) for cell, count in after.items()}
    return found


def total(parts: Iterable[Counters]) -> Counters:
    """The sum over pods; bucket bounds are the same in every server."""
    bad, buckets, cells = 0.0, dict[float, float](), dict[str, dict[str, float]]()
    for part in parts:
        bad += part.bad
        for metric, counts in part.cells.items():
            sums = cells.setdefault(metric, {})
            for cell, count in counts.items():
                sums[cell] = sums.get(cell, 0.0) + count
        for bound, count in part.buckets.items():
            buckets[bound] = buckets.get(bound, 0.0) + count
    return Counters(bad, buckets, cells=cells)


def quantile(buckets: Mapping[float, float], q: float) -> float | None:
    """The q-quantile in seconds, linear within a bucket as PromQL's histogram_quantile; None without observations.

    In the last bucket it is the highest finite bound: the true value is at least that.
    """
    rank, below, lower = q * buckets.get(inf, 0.0), 0.0, 0.0
    if rank <= 0:
        return None
    for bound in sorted(buckets):
        count = buckets[bound]
        if count >= rank:
            if bound == inf:
                return lower / _MICROSECONDS
            return (lower + (bound - lower) * (rank - below) / (count - below)) / _MICROSECONDS
        below, lower = count, bound
    return None


def bad_query(namespace: str, model: str, pods: Iterable[str], age: int = 0) -> str:
    """PromQL: bad answers per pod, `age` milliseconds ago."""
    return f'sum by (pod) ({_REQUESTS}{{{_matchers(namespace, model, pods)},status!="OK"}}{_offset(age)})'


def latency_query(namespace: str, model: str, pods: Iterable[str], age: int = 0) -> str:
    """PromQL: cumulative latency buckets per pod, of requests for predictions alone, `age` milliseconds ago."""
    return f'sum by (pod, le) ({_LATENCY}{{{_matchers(namespace, model, pods)},API!=""}}{_offset(age)})'


def scraped_query(namespace: str, pods: Iterable[str], age: int = 0) -> str:
    """PromQL: when Prometheus last read each pod that it reads: a server that was asked nothing yet has no counters."""
    read = f'up{{namespace="{namespace}",pod=~"{pod_pattern(pods)}"}}{_offset(age)}'
    return f"max by (pod) (timestamp({read}) and {read} == 1)"


def _offset(age: int) -> str:
    """The oldest of PromQL's ways to look back: every server that speaks it has it."""
    return f" offset {age}ms" if age else ""


def pod_pattern(pods: Iterable[str]) -> str:
    """A regular expression that matches exactly these pods: names, never a prefix."""
    return "|".join(re.escape(pod).replace("\\-", "-").replace("\\", "\\\\") for pod in pods)


def _matchers(namespace: str, model: str, pods: Iterable[str]) -> str:
    return f'namespace="{namespace}",model_name="{model}",pod=~"{pod_pattern(pods)}"'
