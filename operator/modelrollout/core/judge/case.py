"""A metric's case against the canary: one comparison, or several whose evidence is averaged (docs/judge-statistics.md).

An error rate is one comparison. A latency is one per bound: how many answers were slower than that. The mean of valid
evidence is valid evidence, so no bound has to be picked after the fact.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from modelrollout.core.judge.process import (
    LEAST_BAD,
    QUICK_EFFECT,
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

CONFIRMED_WITHIN = 300.0
"""Seconds after which a suspicion that nothing followed is held to have been in vain."""


@dataclass(frozen=True, slots=True)
class Case:
    """The comparisons of a metric, and when (POSIX seconds) they first were proof and last raised suspicion.

    `highest` is the most evidence there has been. `passed` says that the canary was shown to be no worse, in every
    comparison; a suspicion takes that back. `doubts` counts suspicions that nothing followed, `unsettled` is the last
    one while it may still be confirmed.
    """

    comparisons: tuple[Comparison, ...]
    proven: float | None = None
    suspected: float | None = None
    highest: float = 0.0
    passed: bool = False
    doubts: int = 0
    unsettled: bool = False


def hear(case: Case, at: float, seconds: float, sides: Sequence[tuple[Arm, Arm | None]], rule: Rule) -> Case:
    """The case after a tick: (canary, stable) of each comparison. Proof and suspicion only come with bad answers."""
    before = zip(case.comparisons, sides, strict=True)
    # A service whose errors come in clumps raises suspicion again and again: each in vain makes the next one harder.
    quick = QUICK_EFFECT * 2**case.doubts
    after = tuple(advance(c, at, seconds, canary, stable, rule, quick) for c, (canary, stable) in before)
    found = total_evidence(after, rule)
    passed = case.passed or all(c.no_worse for c in after)
    case = replace(case, comparisons=after, highest=max(case.highest, found), passed=passed)
    return _settled(_heard(case, at, sides, found, rule), at)


def _heard(case: Case, at: float, sides: Sequence[tuple[Arm, Arm | None]], found: float, rule: Rule) -> Case:
    """The case with proof or suspicion when this tick brought it; both only come with bad answers."""
    after = case.comparisons
    telling = [c for c, (canary, _) in zip(after, sides, strict=True) if canary.bad and c.canary.bad >= LEAST_BAD]
    if not telling:
        return case
    if sum(map(suspicion, after)) / len(after) >= SUSPICIOUS:
        case = replace(case, suspected=at, comparisons=tuple(map(unsuspicious, after)), passed=False, unsettled=True)
    if case.proven is None and found >= rule.needed and any(map(enough, telling)):
        return replace(case, proven=at)
    return case


def _settled(case: Case, at: float) -> Case:
    """A suspicion that nothing followed in time was one in vain."""
    if not case.unsettled or case.suspected is None or at - case.suspected <= CONFIRMED_WITHIN:
        return case
    return replace(case, doubts=case.doubts + 1, unsettled=False)


def total_evidence(comparisons: Sequence[Comparison], rule: Rule) -> float:
    """The evidence of all of them together."""
    return sum(evidence(c, rule) for c in comparisons) / len(comparisons)
