"""Whether the canary gets the share of the answers that its weight says (docs/judge-statistics.md, "The split").

A sequential test (Lindon and Malek, arXiv 2011.03567) over the answers of a minute; then it begins anew, so that a
split which was wrong for a while is right again soon after. A share that is off by little is what gateways do.
"""

from dataclasses import dataclass, replace
from math import exp, lgamma, log

from modelrollout.core.judge.process import BLOCK, NOTHING, Arm
from modelrollout.core.judge.rounds import Round

LEAST = 50
"""Answers of both sides together below which nothing is said."""
PROOF = 1e4
_PRIOR = 100.0
"""How many answers the prior is worth: strong enough to see small shares that are off, weak enough to see 0."""
_TOLERANCE = 0.05
"""What gateways may be off by, as a share of all answers; at small shares half the share."""


@dataclass(frozen=True, slots=True)
class Split:
    """The answers of the minute under way; `off` is the last thing that was found wrong, None while nothing is.

    `canary.answers` of `canary.answers + stable.answers`.
    """

    weight: int | None = None
    begun: float = 0.0
    canary: Arm = NOTHING
    stable: Arm = NOTHING
    off: bool | None = None

    @property
    def answers(self) -> float:
        """Of both sides."""
        return self.canary.answers + self.stable.answers

    @property
    def share(self) -> float:
        """The canary's, 0 to 1."""
        return self.canary.answers / self.answers if self.answers else 0.0


def split_round(split: Split, heard: Round, weight: int | None) -> Split:
    """The split after another round."""
    if weight is None or heard.stable is None:
        return Split()
    if weight != split.weight:
        # This round may have begun before the weight was live.
        return Split(weight, heard.at)
    if heard.at - split.begun > BLOCK and split.answers >= LEAST:
        split = Split(weight, heard.at - heard.seconds, off=split.off)
    canary = Arm(0.0, sum(counts.answers for counts in heard.canary.values()))
    stable = Arm(0.0, sum(counts.answers for counts in heard.stable.values()))
    split = replace(split, canary=split.canary + canary, stable=split.stable + stable)
    if split.answers < LEAST:
        return split
    return replace(split, off=off_by(split.canary.answers, split.answers, weight / 100))


def off_by(ours: float, all_answers: float, wanted: float) -> bool:
    """Whether a share is proven to be another than the wanted one, by more than gateways are off anyway."""
    tolerance = min(_TOLERANCE, wanted / 2, (1 - wanted) / 2 or _TOLERANCE)
    if abs(ours / all_answers - wanted) <= tolerance:
        return False
    return wanted in {0.0, 1.0} or split_evidence(ours, all_answers, wanted) >= PROOF


def split_evidence(ours: float, all_answers: float, wanted: float) -> float:
    """How many times better any other share explains the counts than the wanted one (a beta-binomial Bayes factor)."""
    a, b = _PRIOR * wanted, _PRIOR * (1 - wanted)
    theirs = all_answers - ours
    found = _log_beta(a + ours, b + theirs) - _log_beta(a, b) - ours * log(wanted) - theirs * log(1 - wanted)
    return exp(min(700.0, found))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)
