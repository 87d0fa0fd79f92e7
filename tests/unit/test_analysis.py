"""Verdicts, counters and quantiles (docs/design.md, "Analysis" and "Counting requests")."""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf

import pytest

from modelrollout.core.analysis import (
    Analysed,
    Measurement,
    Reading,
    Verdict,
    extend,
    from_baseline,
    judge,
    read_counters,
    read_series,
)
from modelrollout.core.counters import Counters, increase, pod_pattern, quantile, total
from modelrollout.core.spec import Limits, Metric, MetricKind
from modelrollout.core.status import Baseline

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def metric(**limits: float) -> Metric:
    """A metric with these limits, two breaches in a row to fail."""
    return Metric("m", MetricKind.ERROR_RATE, Limits(**limits), failures=2)


def reading(value: float, requests: float = 1000) -> Reading:
    """A value over so many requests."""
    return Reading(value, requests, detail=str(value))


@pytest.mark.parametrize(
    ("limits", "canary", "stable", "verdict", "breached"),
    [
        pytest.param({"max": 0.1}, reading(0.1), reading(0), Verdict.PASS, False, id="at max is within"),
        pytest.param({"max": 0.1}, reading(0.11), reading(0), Verdict.INCONCLUSIVE, True, id="over max"),
        pytest.param({"min": 0.9}, reading(0.8), reading(1), Verdict.INCONCLUSIVE, True, id="under min"),
        pytest.param({"max": 0.1}, reading(0.9, 49), reading(0), Verdict.LOW_TRAFFIC, False, id="few canary requests"),
        pytest.param(
            {"max_ratio_to_stable": 2}, reading(0.03), reading(0.01), Verdict.INCONCLUSIVE, True, id="thrice stable"
        ),
        pytest.param({"max_ratio_to_stable": 2}, reading(0.02), reading(0.01), Verdict.PASS, False, id="twice stable"),
        pytest.param(
            {"max_ratio_to_stable": 2},
            reading(0.5),
            reading(0.01, 9),
            Verdict.LOW_TRAFFIC,
            False,
            id="few stable requests",
        ),
        pytest.param(
            {"max_ratio_to_stable": 2, "max": 0.3},
            reading(0.5),
            reading(0.01, 9),
            Verdict.INCONCLUSIVE,
            True,
            id="max counts even when stable cannot be compared",
        ),
        pytest.param(
            {"max_ratio_to_stable": 2, "max_if_stable_zero": 0.01},
            reading(0.02),
            reading(0),
            Verdict.INCONCLUSIVE,
            True,
            id="stable has no bad answer",
        ),
        pytest.param({"max_ratio_to_stable": 2}, reading(0.9), reading(0), Verdict.PASS, False, id="no limit for that"),
        pytest.param(
            {"max_drop_from_stable": 0.1}, reading(0.7), reading(0.9), Verdict.INCONCLUSIVE, True, id="accuracy dropped"
        ),
        pytest.param({"max": 1}, read_series(()), reading(0), Verdict.NO_DATA, False, id="empty answer"),
        pytest.param({"max": 1}, read_series((float("nan"),)), reading(0), Verdict.NO_DATA, False, id="NaN"),
        pytest.param({"max": 1}, read_series((1.0, 2.0)), reading(0), Verdict.AMBIGUOUS, False, id="two series"),
        pytest.param(
            {"max": 1},
            Reading(problem=Verdict.ERROR),
            reading(0),
            Verdict.ERROR,
            False,
            id="Prometheus does not answer",
        ),
        pytest.param(
            {"max_ratio_to_stable": 2}, reading(1), read_series(()), Verdict.NO_DATA, False, id="stable has no data"
        ),
    ],
)
def test_judge(limits: dict[str, float], canary: Reading, stable: Reading, verdict: Verdict, breached: bool) -> None:
    """A limit is broken or not; what cannot be told is never a failure."""
    found = judge(metric(**limits), canary, stable, "q")
    assert (found.verdict, found.breached) == (verdict, breached)


def rounds(*verdicts: bool | Verdict) -> Verdict:
    """The verdict after measurements: True breaks a limit, False does not, a verdict says nothing."""
    state: Analysed | None = None
    for item in verdicts:
        if isinstance(item, Verdict):
            measured = Measurement("m", item, "")
        else:
            measured = Measurement("m", Verdict.INCONCLUSIVE if item else Verdict.PASS, "", breached=item)
        state = Analysed("key", NOW, extend(state, "key", ((metric(), measured),)))
    assert state is not None
    return state.metrics["m"].verdict


@pytest.mark.parametrize(
    ("measured", "verdict"),
    [
        pytest.param((True,), Verdict.INCONCLUSIVE, id="one breach short of failures"),
        pytest.param((True, True), Verdict.FAIL, id="failures in a row"),
        pytest.param((True, False, True), Verdict.INCONCLUSIVE, id="a good round ends the run"),
        pytest.param((True, Verdict.NO_DATA, True), Verdict.FAIL, id="a silent round does not end the run"),
        pytest.param((True, Verdict.ERROR), Verdict.ERROR, id="a silent round is shown as what it is"),
    ],
)
def test_runs_of_breaches(measured: tuple[bool | Verdict, ...], verdict: Verdict) -> None:
    """Only `failures` breaches in a row are proof."""
    assert rounds(*measured) is verdict


def test_another_comparison_starts_afresh() -> None:
    """A run of breaches does not reach into the next step."""
    broken = Measurement("m", Verdict.INCONCLUSIVE, "", breached=True)
    first = Analysed("step 1", NOW, extend(None, "step 1", ((metric(), broken),)))
    assert extend(first, "step 2", ((metric(), broken),))["m"].verdict is Verdict.INCONCLUSIVE


def counters(good: float, bad: float = 0) -> Counters:
    """So many answers, all within 10 ms."""
    return Counters(bad, {10_000.0: good, inf: good})


@pytest.mark.parametrize(
    ("start", "end", "answers"),
    [
        pytest.param(counters(10), counters(30, 5), 25, id="the difference"),
        pytest.param(counters(100), counters(7), 7, id="a reset counts what came since"),
    ],
)
def test_increase(start: Counters, end: Counters, answers: float) -> None:
    """What came in between, aware of resets."""
    assert increase(start, end).answers == answers


def test_error_rate_counts_every_status_but_ok() -> None:
    """Bad answers over all answers, pods added up."""
    both = total([counters(90, 10), counters(100)])
    assert read_counters(metric(), both).value == pytest.approx(0.05)


def test_no_pod_in_prometheus_is_no_data() -> None:
    """Pods that Prometheus does not read are not pods without requests."""
    assert read_counters(metric(), None).problem is Verdict.NO_DATA
    assert read_counters(metric(), Counters()).problem is None


@pytest.mark.parametrize(
    ("buckets", "q", "seconds"),
    [
        pytest.param({10_000.0: 50.0, 20_000.0: 100.0, inf: 100.0}, 0.75, 0.015, id="within a bucket"),
        pytest.param({10_000.0: 0.0, inf: 10.0}, 0.5, 0.01, id="beyond the last bound it is that bound"),
        pytest.param({10_000.0: 0.0, inf: 0.0}, 0.5, None, id="no observations"),
        pytest.param({}, 0.5, None, id="no buckets"),
    ],
)
def test_quantile(buckets: dict[float, float], q: float, seconds: float | None) -> None:
    """Linear within a bucket, in seconds although TensorFlow Serving counts microseconds."""
    found = quantile(buckets, q)
    assert found == (None if seconds is None else pytest.approx(seconds))


def test_frozen_baseline_stands_for_stable() -> None:
    """After the last stable pod was promoted its frozen value is compared with; without one nothing is."""
    assert from_baseline(Baseline("m", 0.5, 100)).value == 0.5
    assert from_baseline(None).problem is Verdict.LOW_TRAFFIC


def test_pods_are_matched_by_exact_names() -> None:
    """Names become a pattern in which nothing but the names matches, quoted for a PromQL string."""
    assert pod_pattern(["a-1", "b.c"]) == r"a-1|b\\.c"
