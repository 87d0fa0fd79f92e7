"""One comparison and a metric's case: what is proof, what is suspicion (docs/judge-statistics.md)."""

from __future__ import annotations

import random
from dataclasses import replace
from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrollout.core.judge.case import Case, hear, total_evidence
from modelrollout.core.judge.process import (
    BLOCK,
    FLOOR,
    NOTHING,
    RATIOS,
    Arm,
    Comparison,
    Rule,
    advance,
    begin,
    bets,
    evidence,
    suspicion,
)

RULE = Rule()
TICK = 5.0


def arrivals(chance: random.Random, expected: float) -> float:
    """How many of a Poisson stream come; by the gaps between them."""
    count, gap = 0, chance.expovariate(1.0)
    while gap < expected:
        count, gap = count + 1, gap + chance.expovariate(1.0)
    return float(count)


def watched(
    ratio: float, minutes: float, rps: float = 50, share: float = 0.1, base: float = 0.005, seed: int = 1
) -> Case:
    """A case after ten minutes of stable alone, and so many with a canary; it stops at proof."""
    chance, case, at = random.Random(seed), Case((begin(0.0),)), 0.0
    while at < 600 + minutes * 60 and case.proven is None:
        at += TICK
        ours = rps * TICK * share * (at > 600)
        theirs = rps * TICK - ours
        canary = Arm(min(ours, arrivals(chance, ours * base * ratio)), ours)
        case = hear(case, at, TICK, ((canary, Arm(arrivals(chance, theirs * base), theirs)),), RULE)
    return case


@pytest.mark.parametrize("seed", range(8))
def test_identical_version_is_neither_proven_bad_nor_suspected(seed: int) -> None:
    """An hour of the same error rate on both sides shows nothing."""
    case = watched(1, 60, seed=seed)
    assert (case.proven, case.suspected) == (None, None)


@pytest.mark.parametrize(("ratio", "within"), [(20, 3), (4, 15), (2, 60)])
def test_worse_version_is_proven(ratio: float, within: float) -> None:
    """The worse a version is, the sooner there is proof; figures leave room over the medians of the benchmark."""
    assert watched(ratio, within).proven is not None


def test_suspicion_comes_before_proof() -> None:
    """A version that fails one answer in ten is suspected within the first minute, in which nothing is proof."""
    case = watched(20, 0.9)
    assert case.suspected is not None
    assert case.proven is None


def test_one_minute_is_never_proof() -> None:
    """However bad a minute, its evidence is capped: a burst alone proves nothing."""
    c = begin(0.0)
    for second in range(1, 61):
        c = advance(c, float(second), 1.0, Arm(50.0, 100.0), Arm(0.0, 900.0), RULE)
    assert evidence(c, RULE) < RULE.needed
    c = advance(c, 120.0, 60.0, Arm(3000.0, 6000.0), Arm(0.0, 54_000.0), RULE)
    assert evidence(c, RULE) >= RULE.needed


def test_proof_needs_bad_answers_in_several_moments() -> None:
    """Three bad answers at once are one event; guards ask for three moments and fifty answers."""
    case = Case((begin(0.0),))
    for minute in (1, 2, 3):
        sides = ((Arm(20.0 if minute < 3 else 0.0, 40.0), Arm(0.0, 4000.0)),)
        case = hear(case, minute * 60.0, 60.0, sides, RULE)
    assert total_evidence(case.comparisons, RULE) >= RULE.needed
    assert case.proven is None


def test_suspicion_begins_anew() -> None:
    """After a suspicion the quick process has to find it again by itself."""
    case = Case((begin(0.0),))
    case = hear(case, 1.0, 1.0, ((Arm(50.0, 100.0), Arm(0.0, 900.0)),), RULE)
    assert case.suspected == 1.0
    assert suspicion(case.comparisons[0]) == 1.0


def test_good_start_does_not_hide_a_late_regression() -> None:
    """Evidence against badness has a floor: hours of being better do not have to be made up for."""
    c = begin(0.0)
    for minute in range(1, 121):
        c = advance(c, minute * BLOCK, BLOCK, Arm(0.0, 3000.0), Arm(60.0, 6000.0), RULE)
    assert min(c.banked) >= FLOOR


def test_good_canary_is_certified() -> None:
    """A version with stable's errors is shown to be no worse after enough answers, one with twice as many is not."""
    assert watched(1, 20).passed
    assert not watched(2, 20).passed


def test_without_any_error_the_number_of_answers_certifies() -> None:
    """Without bad answers a ratio says nothing; a thousand good ones, not all in one minute, exclude half a percent."""
    c = begin(0.0)
    for minute in range(1, 4):
        c = advance(c, minute * BLOCK, BLOCK, Arm(0.0, 900.0), Arm(0.0, 9000.0), RULE)
    assert not c.no_worse
    assert advance(c, 4 * BLOCK, BLOCK, Arm(0.0, 900.0), Arm(0.0, 9000.0), RULE).no_worse


def test_suspicions_in_vain_make_the_next_one_harder() -> None:
    """A service whose errors come in clumps is not held up again and again."""
    case, burst, calm = Case((begin(0.0),)), Arm(6.0, 100.0), Arm(0.0, 100.0)
    heard = []
    for second in range(5, 2000, 5):
        canary = burst if second % 400 == 0 else calm
        case = hear(case, float(second), 5.0, ((canary, Arm(0.0, 900.0)),), RULE)
        heard.append(case.suspected)
    assert len({moment for moment in heard if moment is not None}) < 4
    assert case.doubts >= 1


def test_remembered_stable_is_a_bet_against_its_upper_end() -> None:
    """When nobody serves the stable version any more, what it did before stands in, with its uncertainty."""
    base = replace(begin(0.0), stable_rate=Arm(10.0, 10_000.0))
    same = advance(base, 60.0, 60.0, Arm(3.0, 3000.0), None, RULE)
    worse = advance(base, 60.0, 60.0, Arm(60.0, 3000.0), None, RULE)
    assert evidence(same, RULE) < 1.0 < evidence(worse, RULE)


def test_empty_ticks_teach_nothing() -> None:
    """Time without answers moves no evidence."""
    c = advance(begin(0.0), 5.0, 5.0, Arm(1.0, 100.0), Arm(1.0, 900.0), RULE)
    later = advance(c, 10.0, 5.0, NOTHING, NOTHING, RULE)
    assert (later.open, later.quick, later.stable_rate) == (c.open, c.quick, c.stable_rate)


counts = st.tuples(st.integers(0, 20), st.integers(20, 400)).map(lambda pair: Arm(float(pair[0]), float(pair[1])))
ticks = st.lists(st.tuples(counts, counts), min_size=2, max_size=12)


def _after(c: Comparison, heard: list[tuple[Arm, Arm]], seconds: float) -> Comparison:
    for index, (canary, stable) in enumerate(heard, 1):
        c = advance(c, index * seconds, seconds, canary, stable, RULE)
    return c


@given(ticks)
def test_merged_ticks_change_a_verdict_by_no_more_than_a_block(heard: list[tuple[Arm, Arm]]) -> None:
    """Two ticks taken as one move what is banked by no more than what one block may add."""
    single = _after(begin(0.0), heard, 5.0)
    pairs = [heard[i : i + 2] for i in range(0, len(heard), 2)]
    c, at = begin(0.0), 0.0
    for pair in pairs:
        at += 5.0 * len(pair)
        canary, stable = (sum((tick[side] for tick in pair), NOTHING) for side in (0, 1))
        c = advance(c, at, 5.0 * len(pair), canary, stable, RULE)
    top = max(RULE.caps) * 4.61 - FLOOR
    assert all(abs(a - b) <= top for a, b in zip(single.banked, c.banked, strict=True))


@given(counts, counts)
def test_expected_evidence_of_one_bad_answer_is_at_most_one(canary: Arm, stable: Arm) -> None:
    """Given a bad answer, it is the canary's with the canary's share of the answers: then no bet gains on average."""
    share = canary.answers / (canary.answers + stable.answers)
    ours = bets(Arm(1.0, canary.answers), Arm(0.0, stable.answers), 1.0, 1.0)
    theirs = bets(Arm(0.0, canary.answers), Arm(1.0, stable.answers), 1.0, 1.0)
    for index in range(len(RATIOS)):
        assert share * exp(ours[index]) + (1 - share) * exp(theirs[index]) <= 1 + 1e-9


def test_swapping_identical_sides_is_symmetric_in_distribution() -> None:
    """With half the traffic each and the same errors, either side looks as suspicious as the other, over many runs."""
    ahead = 0
    for seed in range(200):
        chance, one, other = random.Random(seed), begin(0.0), begin(0.0)
        for tick in range(1, 25):
            a, b = (Arm(min(250.0, arrivals(chance, 2.5)), 250.0) for _ in range(2))
            one = advance(one, tick * TICK, TICK, a, b, RULE)
            other = advance(other, tick * TICK, TICK, b, a, RULE)
        ahead += evidence(one, RULE) > evidence(other, RULE)
    assert 70 < ahead < 130
