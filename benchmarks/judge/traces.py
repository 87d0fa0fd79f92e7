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


class _Source:
    """Draws answers; remembers bursts under way."""

    def __init__(self, scenario: Scenario, runs: int, chance: Generator) -> None:
        self._scenario, self._runs, self._chance = scenario, runs, chance
        self._begin = np.stack([self._next_burst(-scenario.before) for _ in range(2)])
        self._phases = chance.uniform(0, 2 * np.pi, (2, runs))

    def between(self, begin: float, end: float) -> Tick:
        scenario = self._scenario
        traffic, rate = self._swings(end)
        answers = scenario.rps * (end - begin) * traffic
        canary, stable = self._noise(begin, end)
        share = scenario.share(begin)
        worse = scenario.ratio if begin >= scenario.onset else 1.0
        added = scenario.added if begin >= scenario.onset else 0.0
        ours = self._side(answers * share, (scenario.base * worse + added) * rate * canary, scenario.base)
        theirs = self._side(answers * (1 - share), scenario.base * rate * stable, scenario.base)
        return Tick(end, end - begin, *ours, *theirs)

    def _side(self, answers: Numbers | float, rate: Numbers, base: float) -> tuple[Numbers, Numbers]:
        """Bad answers, and all: a clump's are bad together, the rest is what it was."""
        clump = self._scenario.noise.clump
        bad = self._chance.poisson(answers * np.minimum(rate, 1.0) / clump, self._runs).astype(float)
        if clump > 1:
            hit = np.flatnonzero(bad)
            bad[hit] += self._chance.negative_binomial(bad[hit], 1 / clump)
        good = self._chance.poisson(answers * np.full(self._runs, 1 - base))
        return bad, bad + good

    def _swings(self, at: float) -> tuple[Numbers, Numbers]:
        """Factors of traffic and of the rate of bad answers, on both sides alike."""
        if not self._scenario.noise.swing:
            return np.ones(self._runs), np.ones(self._runs)
        traffic, rate = (
            1 + 0.5 * np.sin(2 * np.pi * at / period + phase)
            for period, phase in zip(SWING_SECONDS, self._phases, strict=True)
        )
        return traffic, rate

    def _noise(self, begin: float, end: float) -> tuple[Numbers, Numbers]:
        """Each side's factor of the rate of bad answers."""
        noise = self._scenario.noise
        factors = np.ones((2, self._runs))
        if noise.spread:
            factors *= self._chance.gamma(noise.spread**-2, noise.spread**2, (2, self._runs))
        if noise.burst > 1:
            factors *= np.stack([self._burst(side, begin, end) for side in range(2)])
        if noise.canary_only:
            factors[1] = 1.0
        return factors[0], factors[0 if noise.common else 1]

    def _burst(self, side: int, begin: float, end: float) -> Numbers:
        """The factor of a side over a tick that a burst may cover in part."""
        noise, starts = self._scenario.noise, self._begin[side]
        covered = np.clip(np.minimum(end, starts + noise.seconds) - np.maximum(begin, starts), 0.0, None)
        over = starts + noise.seconds <= end
        if over.any():
            starts[over] = self._next_burst(starts[over] + noise.seconds, int(over.sum()))
        return 1 + (noise.burst - 1) * covered / (end - begin)

    def _next_burst(self, after: Numbers | float, size: int | None = None) -> Numbers:
        return after + self._chance.exponential(self._scenario.noise.gap, self._runs if size is None else size)
