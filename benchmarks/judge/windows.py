"""What Flagger, Argo Rollouts and home-made alerts do: the canary's share of bad answers in a window against a limit.

Checked at an interval; a breach counts. Which count of breaches ends a rollout is the only difference between them, so
one pass finds when each would: `in_a_row` and `in_all` say when a run first had so many.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.judge.traces import Tick

    Numbers = NDArray[np.float64]

MOST = 20
"""Breaches are counted up to here."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A breach: the canary's share of bad answers is over `ratio` times stable's, or over `share`.

    `empty_fails`: so is a window without an answer of the canary, as with Flagger.
    """

    window: float
    interval: float
    ratio: float = np.inf
    share: float = np.inf
    empty_fails: bool = False

    @property
    def name(self) -> str:
        """For people."""
        what = f"{self.ratio:g} x stable" if self.ratio < np.inf else f"{100 * self.share:.3g} %"
        return f"over {what} in {self.window:g} s, each {self.interval:g} s"


class Breaches:
    """When (seconds) each run had its n-th breach, in all and in a row; row n - 1, infinite for never.

    `empty` are the checks that found no answer of the canary: a row for so many in a row.
    """

    def __init__(self, runs: int, limit: Limit) -> None:
        self.limit = limit
        self.in_all, self.in_a_row = (np.full((MOST, runs), np.inf) for _ in range(2))
        self.empty = np.full((MOST, runs), np.inf)
        self._all, self._row, self._longest = (np.zeros(runs, dtype=int) for _ in range(3))
        self._empty, self._emptiest = (np.zeros(runs, dtype=int) for _ in range(2))
        self._window: deque[Tick] = deque()
        self._sums = np.zeros((4, runs))
        self._next = limit.interval

    def hear(self, tick: Tick) -> None:
        """Take a tick in, and check when it is time to."""
        self._window.append(tick)
        self._sums += _counts(tick)
        while self._window[0].at <= tick.at - self.limit.window:
            self._sums -= _counts(self._window.popleft())
        if tick.at >= self._next:
            self._next = max(self._next + self.limit.interval, tick.at)
            self._check(tick.at)

    def _check(self, at: float) -> None:
        bad, answers, stable_bad, stable = self._sums
        share = bad / np.maximum(answers, 1)
        over = bad * stable > self.limit.ratio * stable_bad * answers if self.limit.ratio < np.inf else bad < 0
        empty = answers == 0
        breach = np.where(empty, self.limit.empty_fails, over | (share > self.limit.share))
        _note(self.in_all, self._all, breach, at)
        self._row = np.where(breach, self._row, 0)
        _longest(self.in_a_row, self._row, self._longest, breach, at)
        self._empty = np.where(empty, self._empty, 0)
        _longest(self.empty, self._empty, self._emptiest, empty, at)


def _counts(tick: Tick) -> Numbers:
    return np.stack([tick.canary_bad, tick.canary, tick.stable_bad, tick.stable])


def _note(times: Numbers, counts: NDArray[np.int_], happened: NDArray[np.bool_], at: float) -> None:
    """Count one more where it happened, and note when it was that many."""
    runs = np.flatnonzero(happened & (counts < MOST))
    times[counts[runs], runs] = at
    counts[runs] += 1


def _longest(
    times: Numbers, row: NDArray[np.int_], longest: NDArray[np.int_], happened: NDArray[np.bool_], at: float
) -> None:
    """The same for how many there have been in a row."""
    row += happened
    longer = np.flatnonzero((row > longest) & (row <= MOST))
    times[row[longer] - 1, longer] = at
    longest[longer] = row[longer]
