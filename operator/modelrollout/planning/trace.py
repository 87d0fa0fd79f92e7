"""What is drawn of a rollout: a point for each look of the judge. Drawn by `picture`."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelrollout.core.counters import Counters, total
from modelrollout.core.judge.case import total_evidence
from modelrollout.core.judge.memory import ALPHA, Memory
from modelrollout.core.judge.metrics import rule_of
from modelrollout.core.judge.process import suspicion
from modelrollout.core.spec import Metric


@dataclass(frozen=True, slots=True)
class Weighed:
    """A metric's evidence at one look: for proof (needs `needed`) and for suspicion."""

    proof: float
    suspicion: float
    needed: float


@dataclass(frozen=True, slots=True)
class Point:
    """One look, `at` seconds after the rollout began. `stage` is empty when there is none.

    `canary` and `stable` are what each side answered since the look before; `verdicts` by metric.
    """

    at: float
    weight: float
    stage: str
    canary: Counters
    stable: Counters
    evidence: Mapping[str, Weighed] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to write beside the curves."""

    at: float
    text: str


def evidence_of(memory: Memory | None, metrics: Iterable[Metric]) -> dict[str, Weighed]:
    """The evidence that the judge has by now, of every metric that it has a case for."""
    metrics = tuple(metrics)
    found = {}
    for metric in metrics:
        item = memory.metrics.get(metric.name) if memory else None
        if item is not None and item.case is not None:
            rule, comparisons = rule_of(metric, ALPHA / len(metrics)), item.case.comparisons
            quick = sum(map(suspicion, comparisons)) / len(comparisons)
            proof = max(item.case.highest if item.case.proven is not None else 0.0, total_evidence(comparisons, rule))
            found[metric.name] = Weighed(proof, quick, rule.needed)
    return found


def joined(points: Iterable[Point], seconds: float) -> list[Point]:
    """Fewer points: those within so many seconds as one, with the last one's evidence and all their answers."""
    found: list[Point] = []
    begun = None
    for point in points:
        if found and begun is not None and point.at - begun <= seconds and point.stage == found[-1].stage:
            before = found.pop()
            canary, stable = total((before.canary, point.canary)), total((before.stable, point.stable))
            point = Point(point.at, point.weight, point.stage, canary, stable, point.evidence, point.verdicts)  # noqa: PLW2901 - the sum stands for both
        else:
            begun = point.at
        found.append(point)
    return found
