"""What users pay: bad answers beyond those stable would have given, from the onset until the weight is down.

The operator's rule changes what it sees: a suspicion takes the weight back to the first step's for a while, proof takes
all of it. Its answers are those of the trace that a lower weight would have let through. Its rivals are given, for each
incident by itself, those of their settings that cost least among all that end at most one good version in twenty in the
same hour under the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judge.traces import BURSTS, POISSON, WILD, Noise, Scenario, Tick, ticks
from benchmarks.judge.trial import Result, chance, facts
from benchmarks.judge.twin import Twin, Variant
from benchmarks.judge.windows import MOST, Breaches, Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

STEPS = (0.05, 0.1, 0.25, 0.5)
LATE = 2100.0
"""Seconds until a late onset: in the middle of the third step."""
RATIOS = (2.0, 4.0, 10.0, 30.0)
UNCONFIRMED = 300.0
"""Seconds after which a suspicion that is not confirmed lets the rollout go on."""
ALLOWED = 0.05
"""Good versions that a rival's setting may end in an hour."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A service: its incidents differ in how much worse the canary is, and since when."""

    rps: float
    base: float
    noise: Noise

    @property
    def key(self) -> str:
        """Names the cell."""
        return f"incidents at {self.good().key}"

    def good(self) -> Scenario:
        """An hour in which nothing is wrong."""
        return Scenario(self.rps, self.base, STEPS, noise=self.noise)

    def bad(self) -> Iterator[Scenario]:
        """The incidents."""
        for onset, ratio in product((0.0, LATE), RATIOS):
            yield replace(self.good(), ratio=ratio, onset=onset)


def cells() -> list[Cell]:
    """Services of all sizes."""
    return [
        Cell(rps, base, noise)
        for noise, rps, base in product((POISSON, WILD, BURSTS), (20.0, 200.0, 1000.0), (0.001, 0.005, 0.02))
    ]


@dataclass(frozen=True)
class Outcome:
    """What the operator's rule did to each run: bad answers beyond stable's, suspicions, when it proved something."""

    excess: Numbers
    suspicions: Numbers
    proven: Numbers
    held: Numbers
    """Seconds at the first step's weight because of a suspicion."""


def judged(scenario: Scenario, runs: int, variant: Variant, unconfirmed: float = UNCONFIRMED) -> Outcome:
    """The operator's rule, with the weights that follow from it."""
    twin, dice = Twin(runs, variant=variant), chance(scenario.key, -1 % 2**32)
    excess, held = np.zeros(runs), np.zeros(runs)
    for tick in ticks(scenario, runs, chance(scenario.key, 0)):
        let_through = np.ones(runs)
        if tick.at > 0:
            back = tick.at - twin.suspected <= unconfirmed
            back &= np.isfinite(twin.suspected)
            let_through[back] = scenario.shares[0] / scenario.share(tick.at - tick.seconds)
            held += tick.seconds * (back & np.isinf(twin.proven))
            let_through[np.isfinite(twin.proven)] = 0.0
        seen = _thinned(tick, let_through, dice)
        twin.hear(seen)
        if tick.at > scenario.onset:
            excess += seen.canary_bad - scenario.base * seen.canary
    return Outcome(excess, twin.suspicions, twin.proven, held)


def _thinned(tick: Tick, let_through: Numbers, dice: Generator) -> Tick:
    """The canary's answers with a lower weight; stable's are left as they were, which is a little less than it gets."""
    less = np.flatnonzero(let_through < 1)
    if not len(less):
        return tick
    bad, answers = tick.canary_bad.copy(), tick.canary.copy()
    good = dice.binomial((answers - bad)[less].astype(int), let_through[less])
    bad[less] = dice.binomial(bad[less].astype(int), let_through[less])
    answers[less] = good + bad[less]
    return replace(tick, canary_bad=bad, canary=answers)


def limits(base: float) -> list[Limit]:
    """What rivals may choose from; each with any count of breaches up to 20."""
    windows = tuple((window, interval) for window in (60.0, 300.0) for interval in (10.0, 60.0))
    ratios = [Limit(*window, ratio=ratio) for window, ratio in product(windows, (1.5, 2.0, 3.0, 5.0))]
    return ratios + [Limit(*window, share=base * times) for window, times in product(windows, (1.5, 2.0, 3.0, 5.0))]


@dataclass(frozen=True)
class Rivals:
    """When every setting would have ended each run: (limit, count, run). And bad answers beyond stable's so far."""

    in_all: Numbers
    in_a_row: Numbers
    delays: Numbers
    excess: Numbers
    ticks: Numbers

    def ended(self) -> dict[str, NDArray[np.float64]]:
        """Shares of runs that each setting ended: (limit, count)."""
        return {name: np.isfinite(times).mean(axis=2) for name, times in self._times().items()}

    def cost(self) -> dict[str, Numbers]:
        """Mean bad answers until each setting would have ended it: (limit, count)."""
        return {name: self._cost(times) for name, times in self._times().items()}

    def _times(self) -> dict[str, Numbers]:
        return {
            "Flagger": self.in_all + self.delays[:, None, None],
            "Argo": self.in_all,
            "in a row": self.in_a_row,
        }

    def _cost(self, times: Numbers) -> Numbers:
        last = len(self.ticks) - 1
        index = np.minimum(np.searchsorted(self.ticks, np.where(np.isfinite(times), times, np.inf)), last)
        paid: Numbers = self.excess[index, np.arange(times.shape[2])].mean(axis=2)
        return paid


def rivals(scenario: Scenario, runs: int, chosen: Sequence[Limit]) -> Rivals:
    """All settings over the same answers."""
    rules = [Breaches(runs, limit) for limit in chosen]
    total, excess, at = np.zeros(runs), list[np.ndarray](), list[float]()
    for tick in ticks(scenario, runs, chance(scenario.key, 0)):
        for rule in rules:
            rule.hear(tick)
        if tick.at > 0:
            if tick.at > scenario.onset:
                total = total + tick.canary_bad - scenario.base * tick.canary
            excess.append(total)
            at.append(tick.at)
    return Rivals(
        np.stack([rule.in_all for rule in rules]),
        np.stack([rule.in_a_row for rule in rules]),
        np.array([rule.limit.interval for rule in rules]),
        np.stack(excess),
        np.array(at),
    )


def try_service(cell: Cell, runs: int, variant: Variant = Variant()) -> Result:  # noqa: B008 - frozen
    """An hour in which nothing is wrong, to see which settings may be used; then each incident."""
    good, chosen = cell.good(), limits(cell.base)
    quiet, ended = judged(good, runs, variant), rivals(good, runs, chosen).ended()
    allowed = {name: share <= ALLOWED for name, share in ended.items()}
    return {
        **facts(good),
        "key": cell.key,
        "runs": runs,
        "false aborts": float(np.isfinite(quiet.proven).mean()),
        "false suspicions an hour": float(quiet.suspicions.mean()),
        "minutes held an hour": float(quiet.held.mean() / 60),
        "incidents": [_incident(bad, runs, chosen, allowed, variant) for bad in cell.bad()],
    }


def _incident(
    scenario: Scenario,
    runs: int,
    chosen: Sequence[Limit],
    allowed: dict[str, NDArray[np.bool_]],
    variant: Variant,
) -> Result:
    ours, theirs = judged(scenario, runs, variant), rivals(scenario, runs, chosen)
    found: Result = {
        "ratio": scenario.ratio,
        "onset": scenario.onset,
        "nobody": float(theirs.excess[-1].mean()),
        "ours": float(ours.excess.mean()),
        "proven": float(np.isfinite(ours.proven).mean()),
    }
    for name, cost in theirs.cost().items():
        usable = np.where(allowed[name], cost, np.inf)
        limit, count = np.unravel_index(int(usable.argmin()), usable.shape)
        if np.isfinite(usable[limit, count]):
            found[name] = float(usable[limit, count])
            found[f"{name}: setting"] = f"{chosen[limit].name}, {count + 1} times of {MOST}"
    return found
