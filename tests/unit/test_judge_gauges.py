"""The judge's gauges: what proves a canary bad, what passes, what is too little to tell; the way to JSON and back."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from modelrollout.core.analysis import Verdict
from modelrollout.core.counters import Counters, gauges_of, increase
from modelrollout.core.judge.gauges import FIRST_LOOK, MOST_MINUTES, mann_whitney, slope, spent
from modelrollout.core.judge.memory import Memory, landmarks, remember, start
from modelrollout.core.judge.memory_json import memory_from_text, memory_to_text
from modelrollout.core.judge.rounds import Round
from modelrollout.core.judge.verdict import verdict_of
from modelrollout.core.spec import Limits, Metric, MetricKind, MetricTest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from modelrollout.core.analysis import Measurement

MEMORY = Metric("memory", MetricKind.GAUGE, Limits(), query="-", test=MetricTest.SEQUENTIAL)
TICK = 20.0
VALUES = st.lists(st.sampled_from([0.0, 1.0, 2.5, 3.0, 7.0]), min_size=2, max_size=12)


def side(values: Mapping[str, float]) -> dict[str, Counters]:
    """Pods that answer, with these values."""
    return {pod: Counters(1.0, gauges={"memory": value}) for pod, value in values.items()}


def hear(
    minutes: float,
    canary: Callable[[float], Mapping[str, float]],
    stable: Callable[[float], Mapping[str, float]],
    metric: Metric = MEMORY,
    memory: Memory | None = None,
) -> Memory:
    """What is remembered after so many minutes; both sides say what their pods have at a minute."""
    memory = memory or start(1, 0.0)
    for _ in range(round(minutes * 60 / TICK)):
        at = memory.at + TICK
        heard = Round(at, TICK, side(canary(at / 60)), side(stable(at / 60)))
        memory = remember(memory, (metric,), heard, None)
    return memory


def said(memory: Memory, metric: Metric = MEMORY) -> Measurement:
    """The verdict now."""
    return verdict_of(metric, memory.metrics["memory"], memory.at, 0.01, 300.0)


def noisy(level: float, seed: int) -> Callable[[float], Mapping[str, float]]:
    """A pod whose value strays by a tenth."""
    chance = Random(seed)
    return lambda _: {f"pod-{seed}": level * (1 + 0.1 * chance.uniform(-1, 1))}


def limited(**limits: float) -> Metric:
    """The metric with these limits."""
    return replace(MEMORY, limits=Limits(**limits))


def test_a_canary_that_takes_twice_as_much_fails_within_the_quarter_hour() -> None:
    """Its evidence has both medians, how often it is over what is tolerated, and how likely that is by chance."""
    measured = said(hear(15, noisy(20.0, 1), noisy(10.0, 2)))
    assert measured.verdict is Verdict.FAIL
    for words in ("memory FAIL: canary median ", ", stable ", "over 1.25 times stable in 100 % of pairs", " min"):
        assert words in measured.detail


def test_a_real_difference_that_is_tolerated_passes() -> None:
    """A tenth more is proven to be more, and yet within the quarter that is tolerated."""
    assert said(hear(40, noisy(10.5, 1), noisy(10.0, 2))).verdict is Verdict.PASS


def test_nothing_is_said_of_a_few_minutes() -> None:
    """Even a canary that takes ten times as much is not proven worse before the first look."""
    measured = said(hear(FIRST_LOOK - 1, noisy(100.0, 1), noisy(10.0, 2)))
    assert measured.verdict is Verdict.INCONCLUSIVE
    assert f"{FIRST_LOOK - 1} of {FIRST_LOOK} min" in measured.detail


def test_what_hits_both_sides_proves_nothing() -> None:
    """A service that takes more and more, on both sides alike."""
    both = hear(60, lambda at: {"c": 10 + at}, lambda at: {"s": 10 + at})
    assert said(both).verdict is not Verdict.FAIL


def test_a_drop_under_stable_can_be_what_is_bad() -> None:
    """With maxDropFromStable alone more is fine, and less is not."""
    metric = limited(max_drop_from_stable=2.0)
    assert said(hear(15, noisy(5.0, 1), noisy(10.0, 2), metric), metric).verdict is Verdict.FAIL
    assert said(hear(15, noisy(20.0, 1), noisy(10.0, 2), metric), metric).verdict is not Verdict.FAIL
    assert "under stable" in said(hear(15, noisy(5.0, 1), noisy(10.0, 2), metric), metric).detail


def test_where_stable_has_none_a_floor_says_what_is_too_much() -> None:
    """A queue of two is no proof against an empty one when three are allowed."""
    metric = limited(max_ratio_to_stable=2.0, max_if_stable_zero=3.0)
    empty: Callable[[float], Mapping[str, float]] = lambda _: {"s": 0.0}  # noqa: E731 - a value, not a function to read
    assert said(hear(20, lambda _: {"c": 2.0}, empty, metric), metric).verdict is Verdict.PASS
    assert said(hear(20, lambda _: {"c": 4.0}, empty, metric), metric).verdict is Verdict.FAIL


def test_a_pod_that_grows_fails_after_minutes_in_a_row() -> None:
    """One leaking pod of two is named; a jump is no growth."""
    metric = limited(max_growth_per_minute=1.0)
    leaking = hear(7, lambda at: {"a": 10.0, "b": 10 + 1.5 * at}, lambda _: {"s": 100.0}, metric)
    assert said(leaking, metric).verdict is Verdict.FAIL
    assert "pod b grows by 1.5 a minute over" in said(leaking, metric).detail
    jumping = hear(12, lambda at: {"a": 10.0 if at < 4 else 50.0}, lambda _: {"s": 100.0}, metric)
    assert said(jumping, metric).verdict is not Verdict.FAIL


def test_growth_is_judged_without_a_stable_side() -> None:
    """While it bakes nobody serves the old version, and a leak is still seen."""
    metric, memory = limited(max_growth_per_minute=1.0), start(1, 0.0)
    for number in range(1, 30):
        heard = Round(number * TICK, TICK, side({"a": number * 2.0}), None)
        memory = remember(memory, (metric,), heard, None)
    assert said(memory, metric).verdict is Verdict.FAIL


def test_proof_stays_and_is_written_down_at_once() -> None:
    """What is proven stays proven, and changes what the memory hangs on."""
    before = hear(FIRST_LOOK - 1, noisy(20.0, 1), noisy(10.0, 2))
    proven = hear(10, noisy(20.0, 1), noisy(10.0, 2), memory=before)
    assert landmarks(before) != landmarks(proven)
    assert said(hear(60, noisy(10.0, 1), noisy(10.0, 2), memory=proven)).verdict is Verdict.FAIL


def test_a_pod_without_a_value_is_on_no_side() -> None:
    """What was not read is no zero."""
    nothing = hear(20, lambda _: {}, noisy(10.0, 2))
    assert said(nothing).detail.endswith("no minute is over in which both sides had traffic")
    assert gauges_of([({"pod": "a"}, float("nan")), ({"pod": "b"}, 1.0)]) == {"b": 1.0}


def test_series_of_a_gauge_have_the_pod_alone() -> None:
    """Anything else is refused with the fix; the last value counts."""
    with pytest.raises(ValueError, match=r"aggregate with max by \(pod\)"):
        gauges_of([({"pod": "a", "gpu": "0"}, 1.0)])
    with pytest.raises(ValueError, match="one series per pod"):
        gauges_of([({"pod": "a"}, 1.0), ({"pod": "a", "__name__": "x"}, 1.0)])
    assert increase(Counters(), Counters(gauges={"memory": 3.0})).gauges == {"memory": 3.0}


@given(VALUES, VALUES)
def test_mann_whitney_is_the_textbooks(high: list[float], low: list[float]) -> None:
    """Share and probability are scipy's, ties and all."""
    share, p, calm = mann_whitney(high, low)
    if len({*high, *low}) == 1:
        assert (share, p, calm) == (0.5, 1.0, 1.0)
        return
    wanted = mannwhitneyu(high, low, alternative="greater", method="asymptotic", use_continuity=True)
    assert share * len(high) * len(low) == pytest.approx(wanted.statistic)
    assert p == pytest.approx(wanted.pvalue, abs=1e-12)


@given(VALUES, VALUES)
def test_swapped_sides_swap_what_is_likely(ours: list[float], theirs: list[float]) -> None:
    """The test has no favourite."""
    share, p, calm = mann_whitney(ours, theirs)
    assert mann_whitney(theirs, ours) == pytest.approx((1 - share, calm, p))


def test_looks_of_an_hour_use_an_hours_alpha() -> None:
    """However often one looks, an hour costs no more."""
    looks = range(FIRST_LOOK, MOST_MINUTES + 1)
    assert sum(spent(0.01, minutes) for minutes in looks) == pytest.approx(0.01)


@given(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=10))
def test_slope_is_the_one_of_a_line(offsets: list[float]) -> None:
    """A straight line has its own slope, and one wild minute of many does not change it."""
    assert slope([3.0 * index for index in range(len(offsets))]) == pytest.approx(3.0)
    wild = [3.0 * index for index in range(9)]
    assert slope([*wild[:4], offsets[0], *wild[5:]]) == pytest.approx(3.0)


@given(st.integers(1, 90), st.floats(0.5, 30.0))
def test_what_is_remembered_survives_a_restart(looks: int, level: float) -> None:
    """Written and read at any moment, the verdict is the one that it would have been."""
    metric = limited(max_growth_per_minute=1.0, max_ratio_to_stable=1.25)
    whole = hear(looks * TICK / 60, noisy(level, 1), noisy(10.0, 2), metric)
    read = memory_from_text(memory_to_text(whole))
    assert read == whole
    again = [hear(10, lambda at: {"c": 12.0 + at % 3}, lambda _: {"s": 9.0}, metric, memory=m) for m in (whole, read)]
    assert said(again[0], metric) == said(again[1], metric)
