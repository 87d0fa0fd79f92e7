"""What the judge remembers of a metric: bounds, the circuit breaker, one bad pod; and its way to JSON and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrollout.core.analysis import Verdict
from modelrollout.core.counters import Counters
from modelrollout.core.judge.memory import ALPHA, Memory, remember, start
from modelrollout.core.judge.memory_json import memory_from_text, memory_to_text
from modelrollout.core.judge.rounds import Round
from modelrollout.core.judge.split import Split, off_by, split_round
from modelrollout.core.judge.verdict import split_verdict, verdict_of
from modelrollout.core.spec import Limits, Metric, MetricKind, MetricTest

ERRORS = Metric("errors", MetricKind.ERROR_RATE, Limits(), test=MetricTest.SEQUENTIAL)
LATENCY = Metric("latency", MetricKind.LATENCY, Limits(), test=MetricTest.SEQUENTIAL)
AT = 1000.0

Heard = tuple[dict[str, Counters], dict[str, Counters] | None]
"""What each pod of the canary and of stable answered."""


def answers(good: float, bad: float = 0.0, slow: float = 0.0) -> Counters:
    """So many answers: within 10 ms, failed, and within 100 ms."""
    return Counters(bad, {1_000.0: 0.0, 10_000.0: good, 100_000.0: good + slow, inf: good + slow})


def hear(memory: Memory, *rounds: Heard, seconds: float = 5.0) -> Memory:
    """What is remembered after rounds of (canary, stable)."""
    for canary, stable in rounds:
        heard = Round(memory.at + seconds, seconds, canary, stable)
        memory = remember(memory, (ERRORS, LATENCY), heard, None)
    return memory


def verdict(memory: Memory, metric: Metric = ERRORS) -> Verdict:
    """What is said of a metric now."""
    return verdict_of(metric, memory.metrics[metric.name], memory.at, ALPHA / 2, 300.0).verdict


CALM: Heard = ({}, {"s": answers(4000, 4)})
WATCHED = hear(start(2, AT), *[CALM] * 20)


def test_baseline_is_time_without_a_canary() -> None:
    """Seconds in which stable was alone are counted; with the canary that ends."""
    assert WATCHED.baseline == 100
    judged = hear(WATCHED, ({"c": answers(10)}, {"s": answers(90)}), CALM)
    assert judged.baseline == 100


@pytest.mark.parametrize(
    ("canary", "stable", "broken"),
    [
        pytest.param(answers(10, 10), answers(180), True, id="half of twenty"),
        pytest.param(answers(9, 10), answers(180), False, id="nineteen are too few"),
        pytest.param(answers(11, 10), answers(180), False, id="under half"),
        pytest.param(answers(10, 10), answers(130, 50), False, id="stable is unwell too"),
    ],
)
def test_circuit_breaker(canary: Counters, stable: Counters, broken: bool) -> None:
    """Twenty answers, half of them bad, while stable is under a quarter: no statistics are needed."""
    after = hear(WATCHED, ({"c": canary}, {"s": stable}))
    assert (verdict(after) is Verdict.FAIL) is broken


def test_circuit_breaker_knows_a_bad_service() -> None:
    """Where stable has a fifth of bad answers, ten of twenty are no news."""
    noisy = hear(start(2, AT), *[({}, {"s": answers(800, 200)})] * 20)
    after = hear(noisy, ({"c": answers(10, 10)}, {"s": answers(160, 40)}))
    assert verdict(after) is not Verdict.FAIL


def test_few_answers_are_low_traffic() -> None:
    """Under minRequests nothing is said."""
    assert verdict(hear(WATCHED, ({"c": answers(49)}, {"s": answers(400)}))) is Verdict.LOW_TRAFFIC
    assert verdict(hear(WATCHED, ({"c": answers(50)}, {"s": answers(400)}))) is Verdict.INCONCLUSIVE


def test_latency_takes_its_bounds_from_stable() -> None:
    """Bounds are where stable's times lie, whatever the canary does."""
    known = hear(start(2, AT), *[({}, {"s": answers(900, 0, 100)})] * 3)
    assert known.metrics["latency"].bounds == (10_000.0,)
    assert hear(known, ({"c": answers(0, 0, 500)}, {"s": answers(900)})).metrics["latency"].bounds == (10_000.0,)


def test_failed_answer_counts_as_slow() -> None:
    """Only successes are timed by a server, so one that fails instead is counted as slow."""
    known = hear(start(2, AT), *[({}, {"s": answers(900, 0, 100)})] * 3)
    after = hear(known, ({"c": answers(40, 30, 30)}, {"s": answers(900, 0, 100)}))
    case = after.metrics["latency"].case
    assert case is not None
    assert (case.comparisons[0].canary.bad, case.comparisons[0].canary.answers) == (60, 100)


def test_first_seconds_of_a_pod_are_left_out() -> None:
    """With a warm-up a pod's first answers say nothing; those after it do."""
    metric = replace(ERRORS, warmup=timedelta(seconds=10))
    memory = start(2, AT)
    totals = []
    for _ in range(4):
        heard = Round(memory.at + 5, 5.0, {"c": answers(100)}, {"s": answers(100)})
        memory = remember(memory, (metric,), heard, None)
        case = memory.metrics["errors"].case
        totals.append(case.comparisons[0].canary.answers if case else 0.0)
    assert totals == [0, 0, 100, 200]


def test_one_bad_pod_is_told_apart() -> None:
    """Where one of three pods explains the proof, it is named, and what was gathered with it is thrown away."""
    mixed = ({"a": answers(50, 20), "b": answers(70), "c": answers(70)}, {"s": answers(900, 1)})
    after = hear(WATCHED, *[mixed] * 40)
    state = after.metrics["errors"]
    assert state.odd == ("a",)
    assert verdict(hear(WATCHED, *[mixed] * 15)) is not Verdict.FAIL


def test_pod_that_came_late_is_not_odd_for_that() -> None:
    """A version that turns bad after twenty good minutes is not blamed on the pod that has seen only bad ones."""
    good = ({"a": answers(140)}, {"s": answers(900, 1)})
    bad = ({"a": answers(63, 7), "b": answers(63, 7)}, {"s": answers(900, 1)})
    after = hear(WATCHED, *[good] * 240, *[bad] * 60)
    assert after.metrics["errors"].odd == ()
    assert verdict(after) is Verdict.FAIL


def test_bad_version_is_not_one_bad_pod() -> None:
    """Where all pods are bad, none is odd."""
    bad = ({"a": answers(60, 10), "b": answers(58, 12), "c": answers(62, 8)}, {"s": answers(900, 1)})
    after = hear(WATCHED, *[bad] * 40)
    assert after.metrics["errors"].odd == ()
    assert verdict(after) is Verdict.FAIL


def test_bad_stable_pod_is_told_and_proves_nothing() -> None:
    """One of three that stays worse than the others is named; one that has a bad minute is not."""
    good = {"s1": answers(300, 1), "s2": answers(300), "s3": answers(300, 1)}
    broken = {**good, "s2": answers(270, 30)}
    canary = {"c": answers(140)}
    after = hear(WATCHED, *[(canary, broken)] * 60)
    measured = verdict_of(ERRORS, after.metrics["errors"], after.at, ALPHA / 2, 300.0)
    assert (measured.odd_stable, measured.odd) == ("s2", ())
    assert measured.verdict is not Verdict.FAIL
    short = hear(WATCHED, *[(canary, broken)] * 12, *[(canary, good)] * 480)
    assert short.metrics["errors"].stable_pods.odd == ""


def test_second_bad_pod_is_the_versions_doing() -> None:
    """Once is bad luck; the second pod that is bad alone fails the version."""
    one = ({"a": answers(50, 20), "b": answers(70), "c": answers(70)}, {"s": answers(900, 1)})
    other = ({"d": answers(50, 20), "b": answers(70), "c": answers(70)}, {"s": answers(900, 1)})
    after = hear(WATCHED, *[one] * 27, *[other] * 40)
    assert len(after.metrics["errors"].odd) == 2
    assert verdict(after) is Verdict.FAIL


@pytest.mark.parametrize(
    ("ours", "total", "wanted", "wrong"),
    [
        pytest.param(250, 1000, 0.25, False, id="exact"),
        pytest.param(270, 1000, 0.25, False, id="what gateways are off by"),
        pytest.param(0, 3000, 0.01, True, id="one percent that never comes"),
        pytest.param(13, 1000, 0.01, False, id="a little more than one percent"),
        pytest.param(500, 1000, 0.25, True, id="twice the weight"),
        pytest.param(15, 50, 0.2, False, id="few answers scatter"),
        pytest.param(900, 1000, 1.0, True, id="all of it, and a tenth goes elsewhere"),
    ],
)
def test_split(ours: float, total: float, wanted: float, wrong: bool) -> None:
    """The share that arrives is another one only when that is proven, and by more than gateways are off."""
    assert off_by(ours, total, wanted) is wrong


def test_split_begins_anew_with_each_weight_and_minute() -> None:
    """What came before the weight does not count, and a split that was wrong for a while is right again."""
    wrong = Round(AT + 5, 5.0, {"c": answers(0)}, {"s": answers(500)})
    right = Round(AT + 10, 5.0, {"c": answers(100)}, {"s": answers(400)})
    first = split_round(Split(), wrong, 20)
    assert split_verdict(first).verdict is Verdict.LOW_TRAFFIC
    off = split_round(first, wrong, 20)
    assert split_verdict(off).verdict is Verdict.INCONCLUSIVE
    later = replace(right, at=AT + 70)
    assert split_verdict(split_round(off, later, 20)).verdict is Verdict.PASS


few = st.integers(0, 50).map(float)
rounds = st.lists(st.tuples(few, few, few, few), min_size=1, max_size=8)


@given(rounds, rounds)
def test_what_is_remembered_survives_a_restart(before: list[tuple[float, ...]], after: list[tuple[float, ...]]) -> None:
    """Written down and read back, the judge goes on to exactly the same memory as without."""

    def made(parts: list[tuple[float, ...]]) -> list[Heard]:
        return [({"c": answers(a, b)}, {"s": answers(10 * c, 0, d)}) for a, b, c, d in parts]

    without = hear(WATCHED, *made(before), *made(after))
    restored = memory_from_text(memory_to_text(hear(WATCHED, *made(before))))
    assert restored is not None
    assert hear(restored, *made(after)) == without


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 99}', '{"format": 1}'])
def test_memory_that_cannot_be_read_is_forgotten(text: str) -> None:
    """What another version wrote, or somebody broke, is not misread: the judge begins anew."""
    assert memory_from_text(text) is None
