"""Both sides' answers, tick by tick, for many runs at once. `trial` and `incidents` feed them to the rules.

Good and bad answers are independent Poisson counts, which is the same as answers that turn out bad by chance. Noise
multiplies the rate of bad answers, on both sides alike or on each side by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

SWING_SECONDS = (1500.0, 2300.0)
"""Periods of traffic and of the rate of bad answers where both go up and down by half."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How the rate of bad answers strays from its mean.

    `spread` is the coefficient of variation of a factor drawn anew each tick. A burst multiplies the rate by `burst`
    for `seconds`; between two lie `gap` seconds in the mean. `clump` is how many bad answers come at once in the mean.
    """

    name: str
    spread: float = 0.0
    burst: float = 1.0
    seconds: float = 30.0
    gap: float = 570.0
    clump: float = 1.0
    swing: bool = False
    common: bool = False
    canary_only: bool = False


POISSON = Noise("Poisson")
COMMON = Noise("common, CV 1 per tick", spread=1.0, common=True)
WILD = Noise("each side, CV 1 per tick", spread=1.0)
MILD = Noise("each side, CV 0.3 per tick", spread=0.3)
BURSTS = Noise("each side, bursts x5 for 30 s", burst=5.0)
SWING = Noise("traffic and rate +-50 %", swing=True)
CLUMPS = Noise("clumps of 3", clump=3.0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One cell: `rps` answers a second, of which `base` are bad and the canary gets `shares`, each for as long.

    From `onset` seconds after the canary's first answer its rate of bad answers is `ratio` times `base` plus `added`.
    Nobody looks from a gap's first second until its last: `gaps` are pairs of seconds after the canary's first answer.
    """

    rps: float
    base: float
    shares: tuple[float, ...] = (0.1,)
    tick: float = 5.0
    noise: Noise = POISSON
    ratio: float = 1.0
    added: float = 0.0
    onset: float = 0.0
    seconds: float = 3600.0
    before: float = 600.0
    gaps: tuple[tuple[float, float], ...] = ()

    @property
    def key(self) -> str:
        """Names the cell; the seed of its runs comes from it."""
        shares = "/".join(f"{share:g}" for share in self.shares)
        gaps = "".join(f" gap {begin:g}-{end:g}" for begin, end in self.gaps)
        return (
            f"{self.rps:g}/s {shares} base {self.base:g} tick {self.tick:g} {self.noise.name} x{self.ratio:g}"
            f"+{self.added:g} from {self.onset:g} for {self.seconds:g} after {self.before:g}{gaps}"
        )

    def share(self, at: float) -> float:
        """The canary's share of the answers, `at` seconds after its first."""
        if at < 0:
            return 0.0
        step = int(at / self.seconds * len(self.shares))
        return self.shares[min(step, len(self.shares) - 1)]


@dataclass(frozen=True, slots=True)
class Tick:
    """What came in during the `seconds` before `at`; an entry for each run. The canary's first answer comes at 0.

    Counts of bad answers may have a row for each bound of a latency.
    """

    at: float
    seconds: float
    canary_bad: Numbers
    canary: Numbers
    stable_bad: Numbers
    stable: Numbers


def ticks(scenario: Scenario, runs: int, chance: Generator) -> Iterator[Tick]:
    """The answers of `runs` runs, from stable alone until the end."""
    source = _Source(scenario, runs, chance)
    waiting: list[Tick] = []
    for number in range(round((scenario.before + scenario.seconds) / scenario.tick)):
        end = (number + 1) * scenario.tick - scenario.before
        waiting.append(source.between(end - scenario.tick, end))
        if not any(begin < end < until for begin, until in scenario.gaps):
            yield _merged(waiting)
            waiting = []


def _merged(parts: list[Tick]) -> Tick:
    """Several ticks nobody looked at, as one."""
    if len(parts) == 1:
        return parts[0]
    return Tick(
        parts[-1].at,
        sum(part.seconds for part in parts),
        *(
            np.sum([getattr(part, name) for part in parts], axis=0)
            for name in ("canary_bad", "canary", "stable_bad", "stable")
        ),
    )


class Weather:
    """What multiplies each side's rate of bad answers, tick by tick; remembers bursts under way."""

    def __init__(self, noise: Noise, runs: int, chance: Generator, begin: float) -> None:
        self._noise, self._runs, self._chance = noise, runs, chance
        self._bursts = begin + chance.exponential(noise.gap, (2, runs))
        self._phases = chance.uniform(0, 2 * np.pi, (2, runs))

    def factors(self, begin: float, end: float) -> tuple[Numbers, Numbers]:
        """The canary's and stable's."""
        noise = self._noise
        factors = np.ones((2, self._runs))
        if noise.spread:
            factors *= self._chance.gamma(noise.spread**-2, noise.spread**2, (2, self._runs))
        if noise.burst > 1:
            factors *= np.stack([self._burst(starts, begin, end) for starts in self._bursts])
        if noise.canary_only:
            factors[1] = 1.0
        return factors[0], factors[0 if noise.common else 1]

    def swings(self, at: float) -> tuple[Numbers | float, Numbers | float]:
        """Factors of traffic and of the rate of bad answers, on both sides alike."""
        if not self._noise.swing:
            return 1.0, 1.0
        traffic, rate = (
            1 + 0.5 * np.sin(2 * np.pi * at / period + phase)
            for period, phase in zip(SWING_SECONDS, self._phases, strict=True)
        )
        return traffic, rate

    def _burst(self, starts: Numbers, begin: float, end: float) -> Numbers:
        """The factor of a side over a tick that a burst may cover in part."""
        noise = self._noise
        covered = np.clip(np.minimum(end, starts + noise.seconds) - np.maximum(begin, starts), 0.0, None)
        over = np.flatnonzero(starts + noise.seconds <= end)
        starts[over] += noise.seconds + self._chance.exponential(noise.gap, len(over))
        factors: Numbers = 1 + (noise.burst - 1) * covered / (end - begin)
        return factors


class _Source:
    """Draws answers."""

    def __init__(self, scenario: Scenario, runs: int, chance: Generator) -> None:
        self._scenario, self._runs, self._chance = scenario, runs, chance
        self._weather = Weather(scenario.noise, runs, chance, -scenario.before)

    def between(self, begin: float, end: float) -> Tick:
        scenario = self._scenario
        traffic, rate = self._weather.swings(end)
        answers = scenario.rps * (end - begin) * traffic
        canary, stable = self._weather.factors(begin, end)
        bad = scenario.base * scenario.ratio + scenario.added if begin >= scenario.onset else scenario.base
        share = scenario.share(begin)
        ours = self._side(answers * share, bad, rate * canary)
        theirs = self._side(answers * (1 - share), scenario.base, rate * stable)
        return Tick(end, end - begin, *ours, *theirs)

    def _side(self, answers: Numbers | float, bad: float, factor: Numbers) -> tuple[Numbers, Numbers]:
        """Bad answers, and all. Those of a clump are bad together; the rate of good ones stays what it is."""
        clump = self._scenario.noise.clump
        found = self._chance.poisson(answers * np.minimum(bad * factor, 1.0) / clump).astype(float)
        if clump > 1:
            hit = np.flatnonzero(found)
            found[hit] += self._chance.negative_binomial(found[hit], 1 / clump)
        return found, found + self._chance.poisson(answers * (1 - min(bad, 1.0)), self._runs)
