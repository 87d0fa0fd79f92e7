"""Gauges minute by minute, as the operator's own code judges them: how often a good version fails, how soon a bad one.

`parts` runs it. A value is one of a side's minutes; ticks within a minute only make its mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judge.trial import Result, chance
from modelrollout.core.counters import Counters
from modelrollout.core.judge.gauges import Gauges, hear_gauge
from modelrollout.core.judge.memory import ALPHA
from modelrollout.core.judge.process import BLOCK
from modelrollout.core.judge.rounds import Round
from modelrollout.core.spec import Limits, Metric, MetricKind, MetricTest

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

MINUTES = 60
METRIC = Metric("gauge", MetricKind.GAUGE, Limits(), query="-", test=MetricTest.SEQUENTIAL)
_SOME = 5
"""Of so many runs of a good version one is made of a bad one: delays need no more."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How a gauge strays: `spread` is the coefficient of variation of minutes, `alike` their correlation with the next.

    `offset` is that of whole sides, which stays as it is. Bursts multiply a side by `burst` for half a minute of each
    ten. `swing` moves both sides alike up and down by half within 25 minutes, `growth` both up, by this share of the
    first value in an hour. `rare` is a queue with so many waiting in the mean: mostly none.
    """

    name: str
    spread: float = 0.0
    alike: float = 0.0
    offset: float = 0.0
    burst: float = 1.0
    swing: bool = False
    growth: float = 0.0
    rare: float = 0.0


KINDS = (
    Weather("the same value always"),
    Weather("CV 0.3", 0.3),
    Weather("CV 1", 1.0),
    *(Weather(f"CV {spread:g}, minutes alike {alike:g}", spread, alike)
      for alike, spread in product((0.5, 0.8, 0.95), (0.3, 0.5))),
    Weather("sides 10 % apart, CV 0.05", 0.05, offset=0.1),
    Weather("each side, bursts x5 for 30 s", 0.1, burst=5.0),
    Weather("both sides +-50 %", 0.1, swing=True),
    Weather("both sides grow to three times as much", 0.1, growth=2.0),
    Weather("a queue that is mostly empty", rare=0.3),
)  # fmt: skip
USUAL = ("CV 0.3", "CV 0.3, minutes alike 0.5", "CV 0.3, minutes alike 0.8", "both sides +-50 %")


@dataclass(frozen=True, slots=True)
class Cell:
    """A gauge of which the canary has `ratio` times as much as stable."""

    weather: Weather
    ratio: float = 1.0

    @property
    def key(self) -> str:
        """Names the cell; the seed of its runs comes from it."""
        return f"{self.weather.name} x{self.ratio:g}"


def cells() -> list[Cell]:
    """Good versions, and some that take more."""
    usual = [kind for kind in KINDS if kind.name in USUAL]
    return [*map(Cell, KINDS), *(Cell(kind, ratio) for kind, ratio in product(usual, (1.1, 1.5, 2.0, 3.0)))]


def attempt(cell: Cell, runs: int) -> Result:
    """Shares of runs that failed and that passed, and how long a failure took."""
    runs = runs if cell.ratio == 1 else max(1, runs // _SOME)
    dice = chance(cell.key, 0)
    canary, stable = minutes(cell.weather, runs, dice)
    found = [judged(cell.ratio * ours, theirs) for ours, theirs in zip(canary, stable, strict=True)]
    failed = sorted(at if at is not None else np.inf for at, _ in found)
    median = failed[runs // 2]
    return {
        "key": cell.key,
        "noise": cell.weather.name,
        "ratio": cell.ratio,
        "runs": runs,
        "failed": float(np.isfinite(failed).mean()),
        "passed": float(np.mean([passed for _, passed in found])),
        "median": median if np.isfinite(median) else None,
    }


def minutes(weather: Weather, runs: int, dice: Generator) -> tuple[Numbers, Numbers]:
    """Both sides' values, a row for each run."""
    if weather.rare:
        ours, theirs = dice.poisson(weather.rare, (2, runs, MINUTES)).astype(float)
        return ours, theirs
    moments = np.arange(MINUTES)
    common = 1 + weather.growth * moments / MINUTES
    if weather.swing:
        common = common * (1 + 0.5 * np.sin(2 * np.pi * moments / 25 + dice.uniform(0, 2 * np.pi, (runs, 1))))
    ours, theirs = (common * _side(weather, runs, dice) for _ in range(2))
    return ours, theirs


def _side(weather: Weather, runs: int, dice: Generator) -> Numbers:
    """A series of order 1 on a logarithmic scale, with the side's own offset and bursts."""
    deviation = np.sqrt(np.log1p(weather.spread**2))
    strays = dice.standard_normal((runs, MINUTES))
    for minute in range(1, MINUTES):
        new = np.sqrt(1 - weather.alike**2) * strays[:, minute]
        strays[:, minute] = weather.alike * strays[:, minute - 1] + new
    values = np.exp(deviation * strays - deviation**2 / 2 + weather.offset * dice.standard_normal((runs, 1)))
    if weather.burst > 1:
        values = values * (1 + (weather.burst - 1) / 2 * (dice.random((runs, MINUTES)) < 0.1))
    return np.asarray(values)


def judged(canary: Numbers, stable: Numbers) -> tuple[float | None, bool]:
    """When (minutes) a run failed, None for never, and whether it passed."""
    known = Gauges()
    for minute, (ours, theirs) in enumerate(zip(canary, stable, strict=True), 1):
        sides = ({"pod": Counters(gauges={METRIC.name: float(value)})} for value in (ours, theirs))
        known = hear_gauge(METRIC, known, Round(minute * BLOCK, BLOCK, *sides), ALPHA)
        if known.proven is not None:
            return known.proven / BLOCK, known.passed
    return None, known.passed
