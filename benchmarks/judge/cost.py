"""What a look costs the operator: processor time of one round, from counters to memory, without I/O.

`python -m benchmarks.judge.cost` measures it and writes it into docs/judge-benchmark.md.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from datetime import UTC, datetime
from math import inf
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judge import page, results
from benchmarks.judge.latency import MEDIAN, SIGMA
from modelrollout.core.counters import Counters, PodWindow
from modelrollout.core.judge.memory import remember, start
from modelrollout.core.judge.rounds import marks_of, next_round
from modelrollout.core.spec import Limits, Metric, MetricKind, MetricTest

if TYPE_CHECKING:
    from collections.abc import Iterator

PODS, CANARY_PODS, METRICS = 50, 10, 10
TICK, ANSWERS = 5.0, 100
ROUNDS, WARM_UP = 120, 20
BUCKETS = tuple(10 * 1.8**number for number in range(33))
"""TensorFlow Serving's, in microseconds."""


def main() -> int:
    """Measure, keep, publish."""
    kinds = {"error rate": MetricKind.ERROR_RATE, "latency": MetricKind.LATENCY}
    found = [
        {"key": f"{METRICS} of {name}, {PODS} pods", "processor": platform.machine(), "cores": os.cpu_count()}
        | dict(zip(("counters", "judging"), _milliseconds(kind), strict=True))
        for name, kind in kinds.items()
    ]
    results.keep("cost", found)
    page.publish({"cost": found})
    return 0


def _milliseconds(kind: MetricKind) -> tuple[float, float]:
    """Medians of a round: counters to answers, and answers to memory."""
    metrics = tuple(Metric(f"metric-{number}", kind, Limits(), test=MetricTest.SEQUENTIAL) for number in range(METRICS))
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    windows = [PodWindow(f"pod-{number}", begun) for number in range(PODS)]
    looks = _looks(begun.timestamp())
    marks, memory = marks_of(begun.timestamp(), next(looks)), start(1, begun.timestamp())
    counting: list[float] = []
    judging: list[float] = []
    for number, look in enumerate(looks, 1):
        at, before = begun.timestamp() + number * TICK, time.process_time()
        heard, marks = next_round(marks, at, look, windows[:CANARY_PODS], windows[CANARY_PODS:])
        between = time.process_time()
        assert heard is not None
        memory = remember(memory, metrics, heard, 20)
        counting.append(1000 * (between - before))
        judging.append(1000 * (time.process_time() - between))
    return median(counting[WARM_UP:]), median(judging[WARM_UP:])


def _looks(begun: float) -> Iterator[dict[str, Counters]]:
    """What Prometheus says of all pods, round by round."""
    chance = np.random.default_rng(1)
    bad, slower = np.zeros(PODS), np.zeros((PODS, len(BUCKETS) + 1))
    for number in range(ROUNDS):
        bad += chance.poisson(0.005 * ANSWERS, PODS)
        times = 1e6 * MEDIAN * np.exp(SIGMA * chance.standard_normal((PODS, ANSWERS)))
        slower += np.stack([np.searchsorted(np.sort(row), (*BUCKETS, inf)) for row in times])
        yield {
            f"pod-{pod}": Counters(
                float(bad[pod]),
                dict(zip((*BUCKETS, inf), map(float, slower[pod]), strict=True)),
                begun + number * TICK,
            )
            for pod in range(PODS)
        }


if __name__ == "__main__":
    sys.exit(main())
