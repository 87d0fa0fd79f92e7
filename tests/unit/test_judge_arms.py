"""What counts as bad: where comparisons cut, and what falls on each side (docs/judge-statistics.md)."""

from __future__ import annotations

import pytest

from modelrollout.core.counters import Counters, cells_of, increase
from modelrollout.core.judge.arms import arms_of, bounds_of, described, distance
from modelrollout.core.judge.process import Arm
from modelrollout.core.spec import Limits, Metric, MetricKind, MetricTest

SCORES = Metric("scores", MetricKind.DISTRIBUTION, Limits(), test=MetricTest.SEQUENTIAL)
HISTOGRAM = {"<=0.1": 100.0, "<=0.5": 480.0, "<=0.9": 920.0, "<=+Inf": 1000.0}
CLASSES = {"cat": 100.0, "dog": 880.0, "owl": 20.0}


def cells(counts: dict[str, float]) -> Counters:
    """A pod's counters with this distribution."""
    return Counters(cells={"scores": counts})


def test_a_histogram_is_cut_where_stable_lies() -> None:
    """At the bounds next to its 10th, 50th and 90th percentile, each judged both ways."""
    bounds = bounds_of(SCORES, cells(HISTOGRAM))
    assert bounds == ("<=0.1", "<=0.5", "<=0.9")
    arms = arms_of(SCORES, bounds, cells(HISTOGRAM))
    assert arms == tuple(Arm(bad, 1000.0) for bad in (100.0, 900.0, 480.0, 520.0, 920.0, 80.0))
    assert described(SCORES, bounds, 3) == "outside <=0.5"


def test_classes_are_judged_one_by_one() -> None:
    """The most frequent classes, each against all others."""
    bounds = bounds_of(SCORES, cells(CLASSES))
    assert bounds == ("cat", "dog", "owl")
    assert (arms_of(SCORES, bounds, cells(CLASSES)) or ())[0] == Arm(100.0, 1000.0)


def test_a_pod_without_the_metric_is_on_no_side() -> None:
    """What was not read is no distribution of zeros."""
    assert arms_of(SCORES, ("cat",), Counters()) is None
    assert increase(Counters(), cells(CLASSES)).cells == {}


def test_distances_are_zero_for_the_same_and_grow() -> None:
    """KS and PSI for people; the same shape at another size is no distance."""
    double = {cell: 2 * count for cell, count in HISTOGRAM.items()}
    same, psi = distance(HISTOGRAM, double)
    assert same == pytest.approx(0.0)
    assert psi < 0.01
    far, more = distance(HISTOGRAM, {"<=0.1": 500.0, "<=0.5": 880.0, "<=0.9": 990.0, "<=+Inf": 1000.0})
    assert far == pytest.approx(0.4)
    assert more > 0.25
    assert distance(CLASSES, {"cat": 300.0, "dog": 700.0})[0] == pytest.approx(0.2)


def test_series_need_a_pod_and_one_more_label() -> None:
    """Anything else is refused with the fix."""
    found = cells_of([({"pod": "a", "le": "0.5"}, 3.0), ({"pod": "a", "le": "+Inf"}, 4.0)])
    assert found == {"a": {"<=0.5": 3.0, "<=+Inf": 4.0}}
    with pytest.raises(ValueError, match=r"aggregate with sum by \(pod, le\)"):
        cells_of([({"pod": "a", "class": "cat", "zone": "b"}, 3.0)])
