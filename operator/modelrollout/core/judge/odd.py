"""One bad pod of several, a broken GPU say, told apart from a bad version (docs/judge-statistics.md, "One bad pod")."""

from collections.abc import Iterable, Mapping
from math import exp

from modelrollout.core.judge.process import LEAST_BAD, NOTHING, QUICK_EFFECT, RATIOS, SUSPICIOUS, Arm, bets

CLEARED = 10.0
"""With less evidence than this the other pods are as good as stable."""


def odd_one(canary: Mapping[str, tuple[Arm, ...]], stable: tuple[Arm, ...]) -> str | None:
    """The canary pod that alone explains why its side is worse, None when there is no such pod.

    Its answers are worse than those of the canary's other pods, and those are no worse than stable's.
    """
    for index, base in enumerate(stable):
        pods = {pod: arms[index] for pod, arms in canary.items()}
        found = worst(pods)
        if found is not None and against(_without(pods, found), base) < CLEARED:
            return found
    return None


def worst(pods: Mapping[str, Arm]) -> str | None:
    """The pod that is clearly worse than the others of its side, None when they are alike, or there is only one."""
    if len(pods) < 2:
        return None
    found = {pod: against(arm, _without(pods, pod)) for pod, arm in pods.items() if arm.bad >= LEAST_BAD}
    pod = max(found, key=lambda name: found[name], default=None)
    return pod if pod is not None and found[pod] >= SUSPICIOUS * len(pods) else None


def against(ours: Arm, theirs: Arm) -> float:
    """Evidence that one side is worse than the other, from totals alone."""
    if not ours.answers or not theirs.answers:
        return 0.0
    gains = bets(ours, theirs, QUICK_EFFECT, QUICK_EFFECT)
    return sum(exp(min(700.0, gain)) for gain in gains) / len(RATIOS)


def _without(pods: Mapping[str, Arm], name: str) -> Arm:
    return _sum(arm for pod, arm in pods.items() if pod != name)


def _sum(arms: Iterable[Arm]) -> Arm:
    return sum(arms, NOTHING)
