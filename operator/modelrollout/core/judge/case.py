"""A metric's case against the canary: one comparison, or several whose evidence is averaged (docs/judge-statistics.md).

An error rate is one comparison. A latency is one per bound: how many answers were slower than that. The mean of valid
evidence is valid evidence, so no bound has to be picked after the fact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelrollout.core.judge.process import (
    LEAST_BAD,
    SUSPICIOUS,
    Arm,
    Comparison,
    Rule,
    advance,
    enough,
    evidence,
    suspicion,
    unsuspicious,
)


@dataclass(frozen=True, slots=True)
class Case:
    """The comparisons of a metric, and when (POSIX seconds) they first were proof and last raised suspicion.

    `highest` is the most evidence there has been. `passed` says that the canary was shown to be no worse, in every
    comparison; a suspicion takes that back.
    """

    comparisons: tuple[Comparison, ...]
    proven: float | None = None
    suspected: float | None = None
    highest: float = 0.0
    passed: bool = False


def hear(case: Case, at: float, seconds: float, sides: Sequence[tuple[Arm, Arm | None]], rule: Rule) -> Case:
    """The case after a tick: (canary, stable) of each comparison. Proof and suspicion only come with bad answers."""
    before = zip(case.comparisons, sides, strict=True)
    after = tuple(advance(c, at, seconds, canary, stable, rule) for c, (canary, stable) in before)
    found = total_evidence(after, rule)
    passed = case.passed or all(c.no_worse for c in after)
    case = replace(case, comparisons=after, highest=max(case.highest, found), passed=passed)
    telling = [c for c, (canary, _) in zip(after, sides, strict=True) if canary.bad and c.canary.bad >= LEAST_BAD]
    if not telling:
        return case
    if sum(map(suspicion, after)) / len(after) >= SUSPICIOUS:
        case = replace(case, suspected=at, comparisons=tuple(map(unsuspicious, after)), passed=False)
    if case.proven is None and found >= rule.needed and any(map(enough, telling)):
        return replace(case, proven=at)
    return case


def total_evidence(comparisons: Sequence[Comparison], rule: Rule) -> float:
    """The evidence of all of them together."""
    return sum(evidence(c, rule) for c in comparisons) / len(comparisons)
