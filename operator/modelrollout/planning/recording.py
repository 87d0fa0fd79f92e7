"""What Prometheus has recorded of model servers, as traffic to simulate with and as a rollout to show. Pure.

`cli.recordings` fetches it; `simulate`, `plan` and `report` use it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log
from typing import Any

from modelrollout.core.counters import Counters, PodWindow, increase, quantile, total
from modelrollout.core.judge.memory import ALPHA, remember, start
from modelrollout.core.judge.rounds import Round, marks_of, next_round
from modelrollout.core.judge.verdict import verdict_of
from modelrollout.core.spec import Analysis
from modelrollout.core.values import moment_of
from modelrollout.planning.answers import Behaviour
from modelrollout.planning.plan import Basis
from modelrollout.planning.trace import Point, evidence_of
from modelrollout.planning.traffic import Recorded

_NINETY = 1.2815515594
"""The 90th percentile of the standard normal distribution."""


class NothingRecorded(ValueError):
    """Prometheus has nothing of the pods in that time."""


@dataclass(frozen=True, slots=True)
class Look:
    """Every pod's counters at one moment (POSIX seconds)."""

    at: float
    pods: Mapping[str, Counters]


def looks_of(bad: Iterable[Mapping[str, Any]], latency: Iterable[Mapping[str, Any]]) -> tuple[Look, ...]:
    """From the matrices that Prometheus gives for `bad_query` and `latency_query`."""
    failures: dict[float, dict[str, float]] = {}
    buckets: dict[float, dict[str, dict[float, float]]] = {}
    for series in bad:
        for at, value in series["values"]:
            failures.setdefault(float(at), {})[series["metric"].get("pod", "")] = float(value)
    for series in latency:
        pod, bound = series["metric"].get("pod", ""), float(series["metric"]["le"])
        for at, value in series["values"]:
            buckets.setdefault(float(at), {}).setdefault(pod, {})[bound] = float(value)
    found = []
    for at in sorted(failures.keys() | buckets.keys()):
        ours, theirs = failures.get(at, {}), buckets.get(at, {})
        pods = {pod: Counters(ours.get(pod, 0.0), theirs.get(pod, {}), at) for pod in ours.keys() | theirs.keys()}
        found.append(Look(at, pods))
    return tuple(found)


def traffic_of(looks: Sequence[Look]) -> Recorded:
    """The traffic of those pods, and how they answered. Raises NothingRecorded."""
    spans = [(before.at, after.at, _between(before, after)) for before, after in pairwise(looks)]
    spans = [span for span in spans if span[2].answers]
    if not spans:
        raise NothingRecorded("none of the stable pods answered anything in that time")
    begun = spans[0][0]
    return Recorded(
        moments=tuple(begins - begun for begins, _, _ in spans),
        rates=tuple(counts.answers / (ends - begins) for begins, ends, counts in spans),
        behaviours=tuple(behaviour_of(counts) for _, _, counts in spans),
        length=spans[-1][1] - begun,
    )


def basis_of(looks: Sequence[Look]) -> Basis:
    """What a plan needs to know. Raises NothingRecorded."""
    counts = total(_between(before, after) for before, after in pairwise(looks))
    if not counts.answers:
        raise NothingRecorded("none of the stable pods answered anything in that time")
    seconds = looks[-1].at - looks[0].at
    return Basis(counts.answers / seconds, behaviour_of(counts), f"Prometheus, over {seconds / 60:.0f} min")


def behaviour_of(counts: Counters) -> Behaviour:
    """How pods answer that have counted this: the lognormal distribution with the same median and 90th percentile."""
    errors = counts.bad / counts.answers if counts.answers else 0.0
    middle, slow = quantile(counts.buckets, 0.5), quantile(counts.buckets, 0.9)
    if not middle or not slow:
        return Behaviour(errors)
    return Behaviour(errors, middle, log(slow / middle) / _NINETY)


def _between(before: Look, after: Look) -> Counters:
    """What the pods that are in both looks answered in between."""
    both = before.pods.keys() & after.pods.keys()
    return total(increase(before.pods[pod], after.pods[pod]) for pod in both)


def replay(looks: Sequence[Look], canary_prefix: str, analysis: Analysis | None, began: float) -> list[Point]:
    """A rollout that took place, as the judge hears it from the counters; `weight` is the share that arrived.

    The canary's pods are those whose names begin so; all others count as stable.
    """
    if not looks:
        return []
    metrics = analysis.sequential if analysis else ()
    memory, marks, points = start(0, looks[0].at), marks_of(looks[0].at, looks[0].pods), []
    for look in looks[1:]:
        names = {*marks.pods, *look.pods}
        canary, stable = ([_window(pod, began) for pod in sorted(names) if pod.startswith(canary_prefix) is side]
                          for side in (True, False))  # fmt: skip
        heard, marks = next_round(marks, look.at, look.pods, canary, stable)
        if heard is None:
            continue
        if metrics and heard.stable is not None:
            memory = remember(memory, metrics, heard, None)
        suspicion = analysis.suspicion.total_seconds() if analysis else 0.0
        verdicts = {
            metric.name: str(
                verdict_of(metric, memory.metrics[metric.name], look.at, ALPHA / len(metrics), suspicion).verdict
            )
            for metric in metrics
            if metric.name in memory.metrics
        }
        points.append(_point(heard, began, evidence_of(memory, metrics), verdicts))
    return points


def _window(pod: str, began: float) -> PodWindow:
    """A pod that appears only now has answered nothing before."""
    return PodWindow(pod, moment_of(began), new=True)


def _point(heard: Round, began: float, evidence: Mapping[str, Any], verdicts: Mapping[str, str]) -> Point:
    canary, stable = total(heard.canary.values()), total((heard.stable or {}).values())
    both = canary.answers + stable.answers
    share = 100 * canary.answers / both if both else 0.0
    return Point(heard.at - began, share, "", canary, stable, evidence, verdicts)
