"""One bad pod of several, a broken GPU say, told apart from a bad version (docs/judge-statistics.md, "One bad pod").

On the canary's side it is replaced. On stable's it is only told: it serves users, and whose it is is not ours to say.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import exp

from modelrollout.core.judge.process import LEAST_BAD, NOTHING, QUICK_EFFECT, RATIOS, SUSPICIOUS, Arm, bets

CLEARED = 10.0
"""With less evidence than this the other pods are as good as stable."""


FADING = 0.9
"""What is left of a stable pod's totals after another minute: some ten minutes count."""
ODD_MINUTES = 3
"""A stable pod is told after it was the bad one in so many minutes in a row: each look may be wrong by chance."""


@dataclass(frozen=True, slots=True)
class StablePods:
    """Stable pods' answers of the last minutes, `now` those of the minute under way.

    `suspect` is who was worse than all others when the last minute ended, for `minutes` in a row.
    """

    before: Mapping[str, Arm] = field(default_factory=dict)
    now: Mapping[str, Arm] = field(default_factory=dict)
    suspect: str = ""
    minutes: int = 0

    @property
    def odd(self) -> str:
        """The pod that is bad alone, empty while there is none."""
        return self.suspect if self.minutes >= ODD_MINUTES else ""


def watch(known: StablePods, answered: Mapping[str, Arm], *, over: bool) -> StablePods:
    """The pods after another round, with which the minute may be `over`. Those that are gone are forgotten then."""
    now = {**known.now, **{pod: known.now.get(pod, NOTHING) + arm for pod, arm in answered.items()}}
    if not over:
        return replace(known, now=now)
    faded = {pod: _faded(known.before.get(pod, NOTHING)) + arm for pod, arm in now.items()}
    suspect = worst(faded) or ""
    same = bool(suspect) and suspect == known.suspect
    return StablePods(faded, {}, suspect, known.minutes + 1 if same else int(bool(suspect)))


def _faded(arm: Arm) -> Arm:
    return Arm(FADING * arm.bad, FADING * arm.answers)


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
