"""What textbooks and Kayenta do: a test of significance, each tick or after enough points."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import norm

from benchmarks.judge.twin import bets, mean_evidence
from modelrollout.core.judge.process import LEAST_ANSWERS, LEAST_BAD, RATIOS, SUSPICIOUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.judge.traces import Tick

    Numbers = NDArray[np.float64]

Z = float(norm.ppf(0.95))
CONFIDENCE = 0.98
BAND = 0.25
"""Kayenta passes a shift whose interval reaches into this share of its estimate."""
POINT = 60.0
FEWEST_POINTS, POINTS_BETWEEN = 50, 10
_AT_ONCE = 200


class Proportions:
    """Everything so far: are the shares of bad answers different, p < 0.05, one-sided? Asked each tick."""

    def __init__(self, runs: int) -> None:
        self.failed = np.full(runs, np.inf)
        self._sums = np.zeros((4, runs))

    def hear(self, tick: Tick) -> None:
        """Take a tick in; stable counts from when the canary answers."""
        if tick.at <= 0:
            return
        self._sums += np.stack([tick.canary_bad, tick.canary, tick.stable_bad, tick.stable])
        bad, answers, stable_bad, stable = np.maximum(self._sums, 1e-9)
        pooled = (bad + stable_bad) / (answers + stable)
        error = np.sqrt(pooled * np.maximum(1 - pooled, 1e-9) * (1 / answers + 1 / stable))
        over = (bad / answers - stable_bad / stable) / error > Z
        self.failed[over & (tick.canary_bad > 0) & np.isinf(self.failed)] = tick.at


class Kayenta:
    """Mann-Whitney over one point a minute and side, as NetflixACAJudge does it, after 50 points and each 10 more.

    High is a shift whose 98 % interval lies above a quarter of its estimate; a mean of zero on either side passes.
    """

    def __init__(self, runs: int) -> None:
        self.failed = np.full(runs, np.inf)
        self._points: list[Numbers] = []
        self._open = np.zeros((4, runs))
        self._next = POINT

    def hear(self, tick: Tick) -> None:
        """Take a tick in, and judge when there are enough points."""
        if tick.at <= 0:
            return
        self._open += np.stack([tick.canary_bad, tick.canary, tick.stable_bad, tick.stable])
        if tick.at < self._next:
            return
        self._next += POINT
        bad, answers, stable_bad, stable = self._open
        self._points.append(np.stack([bad / np.maximum(answers, 1), stable_bad / np.maximum(stable, 1)]))
        self._open = np.zeros_like(self._open)
        count = len(self._points)
        if count >= FEWEST_POINTS and (count - FEWEST_POINTS) % POINTS_BETWEEN == 0:
            self.failed[self._high() & np.isinf(self.failed)] = tick.at

    def _high(self) -> NDArray[np.bool_]:
        points = np.stack(self._points)
        parts = range(0, points.shape[2], _AT_ONCE)
        return np.concatenate(
            [high(points[:, 0, at : at + _AT_ONCE], points[:, 1, at : at + _AT_ONCE]) for at in parts]
        )


def high(canary: Numbers, stable: Numbers) -> NDArray[np.bool_]:
    """Kayenta's verdict on each column of points: the Hodges-Lehmann shift, its interval from sorted differences."""
    count = len(canary)
    differences = np.sort((canary[:, None] - stable[None, :]).reshape(count * count, -1), axis=0)
    spread = float(norm.ppf(0.5 + CONFIDENCE / 2)) * np.sqrt(count * count * (2 * count + 1) / 12)
    lower = differences[max(0, round(count * count / 2 - spread))]
    shift = np.median(differences, axis=0)
    known = (canary.mean(axis=0) > 0) & (stable.mean(axis=0) > 0)
    found: NDArray[np.bool_] = known & (lower > BAND * np.abs(shift)) & (canary.mean(axis=0) >= stable.mean(axis=0))
    return found


class Fixed:
    """The operator's bets with one division of all counts, kept from the canary's first answer on; `phi` 1 is none."""

    def __init__(self, runs: int, phi: float) -> None:
        self.failed = np.full(runs, np.inf)
        self._phi = phi
        self._logs = np.zeros((len(RATIOS), runs))
        self._bad, self._answers = np.zeros(runs), np.zeros(runs)

    def hear(self, tick: Tick) -> None:
        """Take a tick in."""
        if tick.at <= 0:
            return
        usable = (tick.canary > 0) & (tick.stable > 0) & (tick.canary_bad + tick.stable_bad > 0)
        phi = np.full(usable.sum(), self._phi)
        sides = tick.canary_bad[usable], tick.canary[usable], tick.stable_bad[usable], tick.stable[usable]
        self._logs[:, usable] += bets(sides, (phi, phi))
        self._bad += tick.canary_bad
        self._answers += tick.canary
        heard = (tick.canary_bad > 0) & (self._bad >= LEAST_BAD) & (self._answers >= LEAST_ANSWERS)
        runs = np.flatnonzero(heard & np.isinf(self.failed))
        self.failed[runs[mean_evidence(self._logs[:, None, runs]) >= SUSPICIOUS]] = tick.at
