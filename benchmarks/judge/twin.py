"""The operator's rule over many runs at once: what `modelrollout.core.judge` computes for one, here in arrays.

A unit test holds the two together tick by tick. `Variant` has every constant of the rule, so that others can be tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np

from modelrollout.core.judge import case, process

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.judge.traces import Tick

    Numbers = NDArray[np.float64]

_RATIOS = np.array(process.RATIOS)[:, None, None]
_LOG_RATIOS = np.log(_RATIOS)
_RULE = process.Rule()
_SLOT = 10.0
_START = 10.0
_MOST = 60.0


@dataclass(frozen=True, slots=True)
class Variant:
    """The constants of the rule; by default those that the operator has.

    `memory_slack` multiplies a remembered rate, and `doubt` what quick evidence is divided by, for each suspicion that
    nothing followed for `doubt_after` seconds.
    """

    rule: process.Rule = _RULE
    least_effect: float = process.LEAST_EFFECT
    prior: float = process.PRIOR
    prior_across_time: float = process.PRIOR_ACROSS_TIME
    quick_effect: float = process.QUICK_EFFECT
    suspicious: float = process.SUSPICIOUS
    floor: float = process.FLOOR
    quick_floor: float = process.QUICK_FLOOR
    memory_slack: float = process.MOVES
    doubt: float = 2.0
    doubt_after: float = case.CONFIRMED_WITHIN
    calm_cap: float = process.CALM_CAP


class Twin:
    """Cases of `runs` runs, each with so many comparisons.

    `proven`, `alarmed` and `suspected` are when proof, the first and the last suspicion came (seconds; infinite for
    never), `suspicions` how many there were. `passed` says that the canary was shown to be no worse. Arrays have a row
    for each comparison, those of evidence for each ratio and comparison.
    """

    def __init__(self, runs: int, comparisons: int = 1, variant: Variant = Variant()) -> None:
        shape = (comparisons, runs)
        self.variant = variant
        self.banked, self.open, self.quick = (np.zeros((len(process.RATIOS), *shape)) for _ in range(3))
        self.rate_bad, self.rate_answers = np.zeros(shape), np.zeros(shape)
        self.block, self.before = np.zeros((4, *shape)), np.zeros((4, *shape))
        self.block_seconds = self.before_seconds = 0.0
        self.block_begun: float | None = None
        self.spread_sum, self.spread_count = np.zeros(shape), np.zeros(shape)
        self.bad, self.answers = np.zeros(shape), np.zeros(shape)
        self.slots, self.last_slot = np.zeros(shape), np.full(shape, -1e9)
        self.calm, self.calm_open = np.zeros((2, *shape)), np.zeros((2, *shape))
        self.proven, self.suspected = np.full(runs, np.inf), np.full(runs, np.inf)
        self.unconfirmed, self._open_suspicion = np.zeros(runs), np.zeros(runs, dtype=bool)
        self.alarmed, self.suspicions = np.full(runs, np.inf), np.zeros(runs)
        self.passed = np.zeros(runs, dtype=bool)

    def hear(self, tick: Tick, *, frozen: bool = False) -> None:
        """Take a tick in. `frozen`: what stable did before stands in for what it does."""
        shape = self.rate_bad.shape
        canary_bad, canary = np.broadcast_to(tick.canary_bad, shape), np.broadcast_to(tick.canary, shape)
        stable_bad, stable = np.broadcast_to(tick.stable_bad, shape), np.broadcast_to(tick.stable, shape)
        if frozen:
            stable_bad = stable = np.zeros(shape)
        if self.block_begun is None:
            self.block_begun = tick.at - tick.seconds
        gap = tick.seconds > process.BLOCK
        if gap:
            self._close(tick.at - tick.seconds)
            self.before, self.before_seconds = np.zeros_like(self.before), 0.0
        self._count(tick, np.stack([canary_bad, canary, stable_bad, stable]), frozen=frozen)
        self._weigh(canary_bad, canary, stable_bad, stable, frozen=frozen)
        self.passed |= self.no_worse
        self._judge(tick.at, canary_bad)
        self._doubt(tick.at)
        if gap or tick.at - self.block_begun >= process.BLOCK:
            self._close(tick.at)

    @property
    def evidence(self) -> Numbers:
        """How many times better "the canary is worse" explains what was seen, for each run."""
        return mean_evidence(self._kept(np.arange(len(self.proven))))

    @property
    def suspicion(self) -> Numbers:
        """The same of the quick process."""
        return mean_evidence(self.quick)

    @property
    def no_worse(self) -> NDArray[np.bool_]:
        """Whether it is shown that the canary is not worse than is tolerated."""
        shown = self.calm + np.minimum(self.calm_open, self.variant.calm_cap) >= process.CERTAIN
        return np.asarray(shown.any(axis=0).all(axis=0))

    def _caps(self) -> Numbers:
        caps = np.array(self.variant.rule.caps) * log(self.variant.rule.needed)
        return caps[:, None, None]

    def _kept(self, runs: NDArray[np.intp]) -> Numbers:
        """Log evidence of the given runs, what a block may add at most taken into account."""
        kept: Numbers = self.banked[:, :, runs] + np.minimum(self.open[:, :, runs], self._caps())
        return kept

    def _expected(self) -> Numbers:
        return np.divide(
            self.rate_bad, self.rate_answers, out=np.zeros_like(self.rate_bad), where=self.rate_answers > 0
        )

    def _count(self, tick: Tick, counts: Numbers, *, frozen: bool) -> None:
        came = counts[1] + counts[3] > 0
        fade = 1.0 if frozen else np.where(came, 0.5 ** (tick.seconds / process.HALF_LIFE), 1.0)
        self.rate_bad = self.rate_bad * fade + counts[2]
        self.rate_answers = self.rate_answers * fade + counts[3]
        self.block += counts
        self.block_seconds += tick.seconds
        self.bad += counts[0]
        self.answers += counts[1]
        slot = tick.at // _SLOT
        new = (counts[0] > 0) & (self.last_slot != slot)
        self.slots += new
        self.last_slot[new] = slot

    def _weigh(
        self, canary_bad: Numbers, canary: Numbers, stable_bad: Numbers, stable: Numbers, *, frozen: bool
    ) -> None:
        usable = canary > 0 if frozen else (canary > 0) & (stable > 0)
        if not usable.any():
            return
        variant = self.variant
        prior = variant.prior_across_time if frozen else variant.prior
        ours, theirs = (self._effect(prior, self.block[side] + self.before[side]) for side in (1, 3))
        quick = np.broadcast_to(variant.quick_effect * variant.doubt**self.unconfirmed, ours.shape)
        if frozen:
            gains, fast = (self._against_memory(canary_bad / by, canary / by) for by in (ours, quick))
        else:
            sides = canary_bad, canary, stable_bad, stable
            gains, fast = bets(sides, (ours, theirs)), bets(sides, (quick, quick))
        gains = np.where(usable, gains, 0.0)
        self.open += gains
        self.quick = np.maximum(self.variant.quick_floor, self.quick + np.where(usable, fast, 0.0))
        tolerated = gains[process.RATIOS.index(process.TOLERATED_RATIO)]
        share = np.where(usable, self._share(canary_bad / ours, canary / ours), 0.0)
        self.calm_open += np.stack([-tolerated, share])

    def _share(self, bad: Numbers, exposed: Numbers) -> Numbers:
        """Log evidence against a share of bad answers over what is tolerated."""
        tolerated = self._expected() + process.TOLERATED_SHARE
        hoped = self._expected() + process.TOLERATED_SHARE / 4
        return bad * np.log(hoped / tolerated) + exposed * (tolerated - hoped)

    def _against_memory(self, bad: Numbers, exposed: Numbers) -> Numbers:
        known = self.rate_answers > 0
        upper = self.rate_bad + 2 * np.sqrt(self.rate_bad + 1) + 1
        rate = np.divide(upper, self.rate_answers, out=np.zeros_like(upper), where=known)
        rate *= self.variant.memory_slack
        gains: Numbers = np.where(known, bad * _LOG_RATIOS - rate * exposed * (_RATIOS - 1), 0.0)
        return gains

    def _effect(self, prior: float, answers: Numbers) -> Numbers:
        seconds = self.block_seconds + self.before_seconds
        a_minute = self._expected() * process.BLOCK * answers / seconds
        learned = np.clip((_START + self.spread_sum) / (_START + self.spread_count), 0.2, 20.0)
        return np.maximum(self.variant.least_effect, learned * (1 + prior * a_minute))

    def _judge(self, at: float, canary_bad: Numbers) -> None:
        """Proof and suspicion only come with a bad answer, and with a few of them."""
        telling = (canary_bad > 0) & (self.bad >= process.LEAST_BAD)
        heard = telling.any(axis=0)
        if not heard.any():
            return
        at_all = np.flatnonzero(heard)
        suspected = at_all[mean_evidence(self.quick[:, :, at_all]) >= self.variant.suspicious]
        self.suspected[suspected] = at
        self.alarmed[suspected] = np.minimum(self.alarmed[suspected], at)
        self.suspicions[suspected] += 1
        self.passed[suspected] = False
        self._open_suspicion[suspected] = True
        self.quick[:, :, suspected] = 0.0
        enough = telling & (self.answers >= process.LEAST_ANSWERS) & (self.slots >= process.LEAST_SLOTS)
        at_all = np.flatnonzero(enough.any(axis=0) & np.isinf(self.proven))
        proven = at_all[mean_evidence(self._kept(at_all)) >= self.variant.rule.needed]
        self.proven[proven] = at

    def _doubt(self, at: float) -> None:
        """A suspicion that nothing followed makes the next one harder."""
        over = self._open_suspicion & (at - self.suspected > self.variant.doubt_after)
        self.unconfirmed[over] += 1
        self._open_suspicion[over] = False

    def _close(self, at: float) -> None:
        self.banked = np.maximum(self.variant.floor, self.banked + np.minimum(self.open, self._caps()))
        self.open = np.zeros_like(self.open)
        self.calm = np.maximum(-process.CERTAIN, self.calm + np.minimum(self.calm_open, self.variant.calm_cap))
        self.calm_open = np.zeros_like(self.calm_open)
        for side in (0, 2):
            self._learn(self.block[side : side + 2], self.before[side : side + 2])
        much = self.spread_count > _MOST
        self.spread_sum = np.where(much, self.spread_sum * _MOST / np.maximum(self.spread_count, 1), self.spread_sum)
        self.spread_count = np.minimum(self.spread_count, _MOST)
        self.before, self.before_seconds = self.block, self.block_seconds
        self.block, self.block_seconds, self.block_begun = np.zeros_like(self.block), 0.0, at

    def _learn(self, now: Numbers, before: Numbers) -> None:
        """How much a side's blocks vary, over what the prior expects; `now` and `before` are bad answers and all."""
        usable = (now[1] > 0) & (before[1] > 0) & (now[0] + before[0] > 0)
        (bad, answers), (bad_before, answers_before) = np.where(usable, now, 1.0), np.where(usable, before, 1.0)
        v = 1 / answers + 1 / answers_before
        q = (bad + bad_before) / (answers + answers_before)
        moved = (bad / answers - bad_before / answers_before) ** 2
        self.spread_sum += np.where(usable, moved / (q * v * (1 + self.variant.prior * 2 * q / v)), 0.0)
        self.spread_count += usable


def mean_evidence(logs: Numbers) -> Numbers:
    """The mean evidence of each run over ratios and comparisons."""
    found: Numbers = np.exp(np.minimum(700.0, logs)).mean(axis=(0, 1))
    return found


def bets(sides: tuple[Numbers, Numbers, Numbers, Numbers], effects: tuple[Numbers, Numbers]) -> Numbers:
    """Log evidence for each ratio: the canary's bad answers and all of them, stable's, each divided by its effect."""
    gains = np.zeros((len(process.RATIOS), *sides[0].shape))
    hit = sides[0] + sides[2] > 0
    canary_bad, canary, stable_bad, stable = (side[hit] for side in sides)
    ours, theirs = (effect[hit] for effect in effects)
    bad = canary_bad / ours
    both = bad + stable_bad / theirs
    odds = canary / ours * theirs / np.where(stable > 0, stable, 1.0)
    gains[:, hit] = bad * _LOG_RATIOS[:, 0] - both * (np.log1p(_RATIOS[:, 0] * odds) - np.log1p(odds))
    return gains
