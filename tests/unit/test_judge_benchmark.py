"""The benchmark of the judge: its rule in arrays is the operator's, and its rivals do what they are said to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.judge import incident_tables, latency
from benchmarks.judge.incidents import Reaction, judged, limits, rivals
from benchmarks.judge.textbook import high
from benchmarks.judge.traces import BURSTS, CLUMPS, POISSON, SWING, WILD, Noise, Scenario, Tick, ticks
from benchmarks.judge.twin import Twin, Variant
from benchmarks.judge.windows import Breaches, Limit
from modelrollout.core.judge.case import Case, hear, total_evidence
from modelrollout.core.judge.process import TAIL_CAPS, Arm, Rule, begin, suspicion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RUNS = 8
HOUR = 1200.0


def chance(seed: int = 1) -> np.random.Generator:
    """The same numbers in each run of a test."""
    return np.random.default_rng(seed)


def sides(tick: Tick, run: int, *, frozen: bool) -> list[tuple[Arm, Arm | None]]:
    """What the operator is told of one run: a pair for each comparison."""
    rows = np.atleast_2d(tick.canary_bad), np.atleast_2d(tick.stable_bad)
    stable = 0.0 if frozen else float(tick.stable[run])
    return [
        (Arm(float(ours[run]), float(tick.canary[run])), None if frozen else Arm(float(theirs[run]), stable))
        for ours, theirs in zip(*rows, strict=True)
    ]


def compare(given: Iterable[Tick], comparisons: int = 1, rule: Rule | None = None, *, frozen: bool = False) -> Twin:
    """Feed the same ticks to both and look at both after each; `frozen` from the canary's first answer on."""
    rule = rule or Rule()
    twin, cases = Twin(RUNS, comparisons, Variant(rule)), list[Case]()
    for tick in given:
        cases = cases or [Case((begin(tick.at - tick.seconds),) * comparisons)] * RUNS
        remembered = frozen and tick.at > 0
        twin.hear(tick, frozen=remembered)
        cases = [
            hear(case, tick.at, tick.seconds, sides(tick, run, frozen=remembered), rule)
            for run, case in enumerate(cases)
        ]
        same(twin, cases, rule)
    return twin


def same(twin: Twin, cases: Sequence[Case], rule: Rule) -> None:
    """Evidence, suspicion, certainty and the moments of both are the same."""
    ours = [total_evidence(case.comparisons, rule) for case in cases]
    quick = [sum(map(suspicion, case.comparisons)) / len(case.comparisons) for case in cases]
    assert twin.evidence == pytest.approx(ours, rel=1e-9)
    assert twin.suspicion == pytest.approx(quick, rel=1e-9)
    assert list(twin.passed) == [case.passed for case in cases]
    assert list(twin.proven) == [np.inf if case.proven is None else case.proven for case in cases]
    assert list(twin.suspected) == [np.inf if case.suspected is None else case.suspected for case in cases]


@pytest.mark.parametrize(
    "scenario",
    [
        Scenario(50, 0.005, seconds=HOUR, ratio=4),
        Scenario(1000, 0.05, seconds=HOUR, noise=WILD, tick=15, ratio=2, onset=300),
        Scenario(2, 0.01, (0.01,), seconds=HOUR, tick=1, noise=BURSTS),
        Scenario(50, 0.0, seconds=HOUR, added=0.02, before=0),
        Scenario(200, 0.02, (0.05, 0.1, 0.5), seconds=HOUR, tick=15, noise=SWING, ratio=1.5),
        Scenario(50, 0.01, seconds=HOUR, noise=CLUMPS, ratio=3, gaps=((200, 240), (400, 700))),
    ],
    ids=lambda scenario: scenario.key,
)
def test_rule_in_arrays_is_the_operators(scenario: Scenario) -> None:
    """Tick by tick the benchmark judges as the operator would."""
    compare(ticks(scenario, RUNS, chance()))


def test_rule_in_arrays_is_the_operators_against_a_remembered_stable() -> None:
    """The same where nobody serves the stable version any more."""
    compare(ticks(Scenario(200, 0.01, (0.5,), seconds=HOUR, ratio=2, noise=BURSTS), RUNS, chance()), frozen=True)
    compare(ticks(Scenario(200, 0.01, (0.5,), seconds=HOUR, before=0), RUNS, chance()), frozen=True)


def test_rule_in_arrays_is_the_operators_for_a_latency() -> None:
    """The same where several comparisons are one case."""
    cell = latency.Cell(Scenario(50, 0.0, tick=15, seconds=HOUR, noise=latency.SLOW), latency.KINDS[1])
    compare(latency.ticks(cell, RUNS, chance()), len(latency.BOUNDS), Rule(caps=TAIL_CAPS))


@pytest.mark.parametrize("noise", [POISSON, WILD, BURSTS, SWING, CLUMPS], ids=lambda noise: noise.name)
def test_answers_come_as_often_as_said(noise: Noise) -> None:
    """Traffic, shares and bad answers are what the scenario says in the mean, whatever the noise."""
    scenario = Scenario(40, 0.02, (0.1, 0.3), noise=noise, ratio=3)
    heard = [tick for tick in ticks(scenario, 400, chance()) if tick.at > 0]
    canary, stable = sum(t.canary.mean() for t in heard), sum(t.stable.mean() for t in heard)
    bad, stable_bad = sum(t.canary_bad.mean() for t in heard), sum(t.stable_bad.mean() for t in heard)
    usual = 1 + (noise.burst - 1) * noise.seconds / (noise.seconds + noise.gap)
    assert canary + stable == pytest.approx(40 * 3600, rel=0.03)
    assert canary / (canary + stable) == pytest.approx(0.2, rel=0.03)
    assert stable_bad / stable == pytest.approx(0.02 * usual, rel=0.1)
    assert bad / canary == pytest.approx(0.06 * usual, rel=0.1)


def test_nobody_looks_in_a_gap() -> None:
    """Answers of a gap come at its end, in one tick, and none is lost."""
    heard = list(ticks(Scenario(50, 0.01, seconds=600, before=0, gaps=((100, 200),)), 4, chance()))
    assert [tick.seconds for tick in heard if tick.seconds > 5] == [100]
    assert sum(tick.seconds for tick in heard) == 600
    assert min(tick.at for tick in heard if tick.at > 100) == 200


def shares(*bad: float) -> list[Tick]:
    """A minute each: so many bad answers of the canary's 100; stable has one."""
    return [
        Tick(60.0 * (number + 1), 60.0, *(np.array([value]) for value in (count, 100.0, 1.0, 100.0)))
        for number, count in enumerate(bad)
    ]


def test_breaches_are_counted_in_all_and_in_a_row() -> None:
    """Flagger and Argo count all breaches; a good check in between only ends a row."""
    rule = Breaches(1, Limit(60, 60, ratio=2))
    for tick in shares(3, 2, 3, 3, 0, 3):
        rule.hear(tick)
    assert list(rule.in_all[:5, 0]) == [60, 180, 240, 360, np.inf]
    assert list(rule.in_a_row[:3, 0]) == [60, 240, np.inf]


def test_window_holds_so_many_seconds_and_no_more() -> None:
    """What is older than the window breaks no limit."""
    rule = Breaches(1, Limit(120, 60, share=0.05))
    for tick in shares(20, 0, 0, 20):
        rule.hear(tick)
    assert list(rule.in_all[:4, 0]) == [60, 120, 240, np.inf]


def test_empty_window_is_a_breach_only_for_whom_it_is() -> None:
    """A window without an answer is a failed check of Flagger's, and an error in a row with Argo."""
    nothing = [Tick(tick.at, 60.0, *(np.zeros(1),) * 2, tick.stable_bad, tick.stable) for tick in shares(0, 0, 0)]
    strict, lenient = Breaches(1, Limit(60, 60, ratio=2, empty_fails=True)), Breaches(1, Limit(60, 60, ratio=2))
    for tick in nothing:
        strict.hear(tick)
        lenient.hear(tick)
    assert list(strict.in_all[:3, 0]) == [60, 120, 180]
    assert np.isinf(lenient.in_all).all()
    assert list(lenient.empty[:3, 0]) == [60, 120, 180]


def test_mann_whitney_passes_what_kayenta_passes() -> None:
    """A shift is high; the same points and a stable side without bad answers pass."""
    points = np.linspace(0.01, 0.02, 50)[:, None]
    assert high(points + 0.02, points).all()
    assert not high(points, points).any()
    assert not high(points, np.zeros_like(points)).any()


def test_incident_costs_less_where_somebody_acts() -> None:
    """Bad answers of an incident: fewer than if nobody acted, fewer still with StepOut; a good one costs nothing."""
    bad = Scenario(200, 0.005, (0.05, 0.5), seconds=HOUR, ratio=10, onset=700)
    nobody = rivals(bad, 40, [Limit(60, 60, share=1.0)]).price["Argo"].mean()
    back = judged(bad, 40, Variant(), Reaction())
    out = judged(bad, 40, Variant(), Reaction(0.02, out=60.0)).excess.mean()
    assert out < back.excess.mean() < nobody / 3
    assert (back.until_lower <= back.excess + 1).all()
    assert back.until_lower.mean() < back.excess.mean() / 2
    good = judged(Scenario(200, 0.005, (0.05, 0.5), seconds=HOUR), 40, Variant(), Reaction())
    assert abs(good.excess.mean()) < 10
    assert not good.held.any()


def test_rivals_that_wait_longer_end_fewer_good_versions() -> None:
    """More breaches needed: fewer good versions ended; a row is rarer than as many in all."""
    ended = rivals(Scenario(50, 0.005, noise=BURSTS, seconds=HOUR), 40, limits(0.005)).ended
    assert (np.diff(ended["Argo"], axis=1) <= 0).all()
    assert (ended["in a row"] <= ended["Argo"]).all()


def test_tables_say_how_many_times_as_much_others_cost() -> None:
    """The geometric mean over incidents, and the share of those that cost three times as much or more."""
    incidents = [
        {"noise": "Poisson", "onset": 0.0, "ratio": 2.0, "Flagger": theirs, "Argo": None}
        | {key: {"excess": mine, "until lower": mine / 2} for key in ("StepBack", "StepOut")}
        for mine, theirs in ((10.0, 10.0), (10.0, 90.0))
    ]
    quiet = {name: {"proven": 0.0, "suspicions": 0.0, "held": 0.0} for name in ("StepBack", "StepOut")}
    service = {"rps": 200.0, "base": 0.005, "runs": 1, "settings": {}, "good": [{"noise": "Poisson", **quiet}]}
    lines = incident_tables.lines([{**service, "incidents": incidents}])
    assert "| **StepBack** | 3.0 (50 %) | - | - | - | - | - |" in lines
    assert "| **StepBack, until lower** | 6.0 (50 %) | - | - | - | - | - |" in lines
    assert "| x2 | the start | 10 | 10 | 5 | 5 | 30 | - | - | - | - | - |" in lines
