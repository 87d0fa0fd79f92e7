"""The benchmark of the judge: its rule in arrays is the operator's, and its rivals do what they are said to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.judge.traces import BURSTS, CLUMPS, SWING, WILD, Scenario, Tick, ticks
from benchmarks.judge.twin import Twin, Variant
from modelrollout.core.judge.case import Case, hear, total_evidence
from modelrollout.core.judge.process import Arm, Rule, begin, suspicion

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
    assert list(twin.no_worse) == [case.no_worse for case in cases]
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
