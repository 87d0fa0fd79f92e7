"""Latencies as the judge sees them: for three bounds, how many answers were slower. `ticks` is as in `traces`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from benchmarks.judge.traces import POISSON, Noise, Scenario, Tick, Weather

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.random import Generator
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

MEDIAN, SIGMA = 0.020, 0.5
"""Seconds of a lognormal time."""
BOUNDS = tuple(1e-5 * 1.8**bucket for bucket in (13, 14, 15))
"""TensorFlow Serving's buckets at that time's median, 90th and 99th percentile."""
JITTER = Noise("each side, all times +-30 % per tick", spread=0.3)
SLOW = Noise("each side, all times x2 for 30 s", burst=2.0)


@dataclass(frozen=True, slots=True)
class Slower:
    """What is wrong with the canary: all times multiplied by `all_times`, or `part` of them by `by`."""

    name: str
    all_times: float = 1.0
    part: float = 0.0
    by: float = 1.0


SAME = Slower("nothing")
KINDS = (
    Slower("all x1.25", 1.25),
    Slower("all x1.5", 1.5),
    Slower("5 % x4", part=0.05, by=4),
    Slower("1 % x10", part=0.01, by=10),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """Traffic and noise of a scenario, and what is wrong with the canary's times."""

    scenario: Scenario
    slower: Slower = SAME

    @property
    def key(self) -> str:
        """Names the cell; the seed of its runs comes from it."""
        return f"{self.scenario.key}, slower: {self.slower.name}"


def cells() -> list[Cell]:
    """Good versions and slow ones."""
    traffic = ((50.0, 0.1), (1000.0, 0.25))
    kinds = (SAME, *KINDS)
    return [
        Cell(Scenario(rps, 0.0, (share,), 15.0, noise), slower)
        for slower, noise, (rps, share) in product(kinds, (POISSON, JITTER, SLOW), traffic)
    ]


def ticks(cell: Cell, runs: int, chance: Generator) -> Iterator[Tick]:
    """Answers that were slower than each bound, a row for each, and all answers."""
    scenario = cell.scenario
    weather = Weather(scenario.noise, runs, chance, -scenario.before)
    for number in range(round((scenario.before + scenario.seconds) / scenario.tick)):
        begin = number * scenario.tick - scenario.before
        end = begin + scenario.tick
        answers, share = scenario.rps * scenario.tick, scenario.share(begin)
        ours, theirs = weather.factors(begin, end)
        canary = _counts(answers * share, _tails(ours, cell.slower), chance)
        stable = _counts(answers * (1 - share), _tails(theirs, SAME), chance)
        yield Tick(end, scenario.tick, *canary, *stable)


def _tails(factor: Numbers, slower: Slower) -> Numbers:
    """The share of answers slower than each bound."""
    scales = np.array(MEDIAN * slower.all_times) * factor
    bounds = np.array(BOUNDS)[:, None]
    usual: Numbers = norm.sf(np.log(bounds / scales) / SIGMA)
    hit: Numbers = norm.sf(np.log(bounds / (scales * slower.by)) / SIGMA)
    return usual + slower.part * (hit - usual)


def _counts(answers: float, tails: Numbers, chance: Generator) -> tuple[Numbers, Numbers]:
    """Answers between two bounds are independent Poisson counts."""
    edges = np.vstack([np.ones(tails.shape[1]), tails, np.zeros(tails.shape[1])])
    between = chance.poisson(answers * -np.diff(edges, axis=0)).astype(float)
    slower = between[::-1].cumsum(axis=0)[::-1]
    return slower[1:], slower[0]
