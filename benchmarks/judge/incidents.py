"""What users pay: bad answers beyond those stable would have given, from the onset until the weight is down.

The operator's rule changes what it sees: a suspicion takes the weight back for a while, proof takes all of it. Its
answers are those of the trace that a lower weight would have let through. Rivals may choose their settings for a
service, or even for a single incident, among all that end at most one good version in twenty in the same hour.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judge.traces import BURSTS, POISSON, SWING, WILD, Noise, Scenario, Tick, ticks
from benchmarks.judge.trial import Result, chance
from benchmarks.judge.twin import Twin, Variant
from benchmarks.judge.windows import Breaches, Limit
from modelrollout.core.judge.process import BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.random import Generator
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]
    Booleans = NDArray[np.bool_]

STEPS = (0.05, 0.1, 0.25, 0.5)
LATE = 2100.0
"""Seconds until a late onset: in the middle of the third step."""
RATIOS = (2.0, 4.0, 10.0, 30.0)
NOISES = (POISSON, WILD, BURSTS, SWING)
ALLOWED = 0.05
"""Good versions that a rival's setting may end in an hour."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a suspicion does: the weight goes to `share` of the answers at most, for so many seconds.

    For the first `out` seconds it goes to nothing at all.
    """

    share: float = STEPS[0]
    seconds: float = 300.0
    out: float = 0.0


@dataclass(frozen=True, slots=True)
class Service:
    """Its incidents differ in noise, in how much worse the canary is, and since when."""

    rps: float
    base: float

    @property
    def key(self) -> str:
        """Names it."""
        return f"{self.rps:g}/s base {self.base:g}"

    def good(self, noise: Noise) -> Scenario:
        """An hour in which nothing is wrong."""
        return Scenario(self.rps, self.base, STEPS, noise=noise)

    def bad(self, noise: Noise) -> Iterator[Scenario]:
        """The incidents."""
        for onset, ratio in product((0.0, LATE), RATIOS):
            yield replace(self.good(noise), ratio=ratio, onset=onset)


def services() -> list[Service]:
    """Small, usual and large ones."""
    traffic = ((20.0, 0.005), (200.0, 0.005), (1000.0, 0.005), (200.0, 0.001), (200.0, 0.02))
    return [Service(*figures) for figures in traffic]


@dataclass(frozen=True)
class Outcome:
    """What the operator's rule did to each run: bad answers beyond stable's, suspicions, when it proved something.

    `excess` counts until proof, `until_lower` until a suspicion or proof first took the weight down. `held` are seconds
    at a lower weight because of suspicions.
    """

    excess: Numbers
    until_lower: Numbers
    suspicions: Numbers
    proven: Numbers
    held: Numbers


def judged(scenario: Scenario, runs: int, variant: Variant, reaction: Reaction) -> Outcome:
    """The operator's rule, with the weights that follow from it."""
    twin, dice = Twin(runs, variant=variant), chance(scenario.key, 1)
    excess, until_lower, held = np.zeros(runs), np.zeros(runs), np.zeros(runs)
    down = np.zeros(runs, dtype=bool)
    for tick in ticks(scenario, runs, chance(scenario.key, 0)):
        back = np.isfinite(twin.suspected) & (tick.at - twin.suspected <= reaction.seconds)
        lower = np.full(runs, min(1.0, reaction.share / max(scenario.share(tick.at - tick.seconds), 1e-9)))
        lower[back & (tick.at - twin.suspected <= reaction.out)] = 0.0
        over = np.isfinite(twin.proven)
        let_through = np.where(over, 0.0, np.where(back, lower, 1.0))
        seen = _thinned(tick, let_through, dice)
        held += tick.seconds * (back & ~over)
        twin.hear(seen)
        if tick.at > scenario.onset:
            # What was suspected before the onset was a good version.
            down |= over | ((let_through < 1) & (twin.suspected > scenario.onset))
            beyond = seen.canary_bad - scenario.base * seen.canary
            excess += beyond
            until_lower += beyond * ~down
    return Outcome(excess, until_lower, twin.suspicions, twin.proven, held)


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
    windows = tuple(product((60.0, 300.0), (10.0, 60.0)))
    relative = [Limit(*window, ratio=times) for window, times in product(windows, (1.5, 2.0, 3.0, 5.0))]
    return relative + [Limit(*window, share=base * times) for window, times in product(windows, (1.5, 2.0, 3.0, 5.0))]


@dataclass(frozen=True)
class Settings:
    """For each setting, which is (limit, breaches): the share of runs it ended and the mean price of those."""

    ended: Mapping[str, Numbers]
    price: Mapping[str, Numbers]


def rivals(scenario: Scenario, runs: int, chosen: Sequence[Limit]) -> Settings:
    """All settings over the same answers. Flagger rolls back a check after the last breach."""
    rules = [Breaches(runs, limit) for limit in chosen]
    total = np.zeros(runs)
    paid: list[Numbers] = []
    moments: list[float] = []
    for tick in ticks(scenario, runs, chance(scenario.key, 0)):
        for rule in rules:
            rule.hear(tick)
        if tick.at > 0:
            total = total + (tick.canary_bad - scenario.base * tick.canary) * (tick.at > scenario.onset)
            paid.append(total)
            moments.append(tick.at)
    in_all = np.stack([rule.in_all for rule in rules])
    later = np.array([rule.limit.interval for rule in rules])[:, None, None]
    times = {"Flagger": in_all + later, "Argo": in_all, "in a row": np.stack([rule.in_a_row for rule in rules])}
    prices = {name: _price(at, np.stack(paid), np.array(moments)) for name, at in times.items()}
    return Settings({name: np.isfinite(at).mean(axis=2) for name, at in times.items()}, prices)


def _price(times: Numbers, paid: Numbers, moments: Numbers) -> Numbers:
    """What was paid until then, at the end for those that never ended: the mean of each setting."""
    index = np.minimum(np.searchsorted(moments, times), len(moments) - 1)
    mean: Numbers = paid[index, np.arange(times.shape[2])].mean(axis=2)
    return mean


def try_service(service: Service, runs: int) -> Result:
    """Hours in which nothing is wrong, to see which settings may be used; then each incident."""
    chosen = limits(service.base)
    quiet = [rivals(service.good(noise), runs, chosen).ended for noise in NOISES]
    allowed = {name: np.max([ended[name] for ended in quiet], axis=0) <= ALLOWED for name in quiet[0]}
    bad = [(noise, scenario) for noise in NOISES for scenario in service.bad(noise)]
    found = [rivals(scenario, runs, chosen).price for _, scenario in bad]
    once = {name: _best([price[name] for price in found], usable) for name, usable in allowed.items()}
    by_noise = dict(zip(NOISES, quiet, strict=True))
    incidents = [
        {
            **_own(scenario, runs),
            **{name: float(price[name][where]) for name, where in once.items() if where},
            **{f"{name}, for this": _cheapest(price[name], by_noise[noise][name]) for name in once},
        }
        for (noise, scenario), price in zip(bad, found, strict=True)
    ]
    settings = {name: f"{where[1] + 1} times {chosen[where[0]].name}" for name, where in once.items() if where}
    good = [_own(service.good(noise), runs) for noise in NOISES]
    return {"key": service.key, "rps": service.rps, "base": service.base, "runs": runs, "settings": settings,
            "good": good, "incidents": incidents}  # fmt: skip


def _best(prices: Sequence[Numbers], usable: Booleans) -> tuple[int, int] | None:
    """The allowed setting with the lowest geometric mean of prices; None where none is allowed."""
    means = np.where(usable, np.mean([np.log(np.maximum(price, 1.0)) for price in prices], axis=0), np.inf)
    limit, count = np.unravel_index(int(means.argmin()), means.shape)
    return (int(limit), int(count)) if np.isfinite(means[limit, count]) else None


def _cheapest(price: Numbers, ended: Numbers) -> float | None:
    """The lowest price of this incident by a setting that is allowed under its noise alone."""
    lowest = float(np.where(ended <= ALLOWED, price, np.inf).min())
    return lowest if np.isfinite(lowest) else None


OWN = {
    "StepBack": (Variant(), Reaction()),
    "StepOut": (Variant(), Reaction(share=0.02, out=BLOCK)),
}
"""The operator's rule with `onSuspicion: StepBack`, which is the default, and with StepOut."""


def _own(scenario: Scenario, runs: int) -> Result:
    """The operator's rule."""
    outcomes = {name: judged(scenario, runs, *how) for name, how in OWN.items()}
    facts = {"noise": scenario.noise.name, "ratio": scenario.ratio, "onset": scenario.onset}
    return facts | {name: _mean(outcome) for name, outcome in outcomes.items()}


def _mean(outcome: Outcome) -> dict[str, float]:
    return {
        "excess": float(outcome.excess.mean()),
        "until lower": float(outcome.until_lower.mean()),
        "proven": float(np.isfinite(outcome.proven).mean()),
        "suspicions": float(outcome.suspicions.mean()),
        "held": float(outcome.held.mean() / 60),
    }
