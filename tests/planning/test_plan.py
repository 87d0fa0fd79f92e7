"""Plans say what the judge can do: they are held against figures that were simulated apart from this code."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.core.spec import MetricKind
from modelrollout.core.spec_json import parse_spec
from modelrollout.planning.answers import Behaviour
from modelrollout.planning.plan import Basis, Plan, make_plan
from tests.builders import raw_spec

_MINUTE = 60


def planned(
    rate: float, errors: float, *, weight: int = 10, minutes: int = 10, ratio: float = 20.0, **spec: Any
) -> Plan:
    """A plan of one step with an error rate alone, for one ratio."""
    strategy = {"steps": [{"weight": weight, "duration": f"{minutes}m"}], "bake": {"duration": "10m"}}
    metrics = [{"name": "errors", "kind": "ErrorRate"}]
    analysis = {"prometheus": {"address": "http://prometheus"}, "interval": "5s", "metrics": metrics}
    raw = raw_spec(**{"strategy": strategy, "analysis": analysis, **spec})
    return make_plan(parse_spec(raw, "recsys"), Basis(rate, Behaviour(errors), "made up"), ratios=(ratio,))


@pytest.mark.parametrize(
    ("rate", "errors", "size", "median", "late"),
    [
        (50, 0.005, 4, 5.0, 7.2),
        (50, 0.005, 20, 1.1, 1.2),
        pytest.param(10, 0.005, 20, 1.4, 2.3, marks=pytest.mark.long),
        (50, 0.0, 0.02, 1.2, 1.7),
        pytest.param(50, 0.0, 0.1, 1.1, 1.2, marks=pytest.mark.long),
    ],
)
def test_times_to_proof_are_those_of_the_judge(
    rate: float, errors: float, size: float, median: float, late: float
) -> None:
    """Minutes to proof at 10 % of the traffic: the same as in another simulation of the rule with a thousand runs."""
    (power,) = planned(rate, errors, ratio=size).steps[0].powers
    (found,) = [found for found in power.found if found.worsening.size == pytest.approx(size)]
    assert found.proven / _MINUTE == pytest.approx(median, rel=0.25)
    assert found.late / _MINUTE == pytest.approx(late, rel=0.3)
    assert found.suspected <= found.proven


def test_a_larger_step_sees_more() -> None:
    """With more of the traffic the smallest worsening that is caught is smaller."""
    sizes = []
    for weight in (5, 50):
        smallest = planned(50, 0.005, weight=weight, minutes=5).steps[0].powers[0].smallest
        assert smallest is not None
        sizes.append(smallest.behaviour.errors)
    assert sizes[0] > 1.5 * sizes[1]


def test_what_cannot_be_detected_is_said() -> None:
    """At one answer in ten seconds not even a version that fails always is proven within a minute."""
    (step,) = planned(0.1, 0.005, minutes=1).steps
    assert step.powers[0].smallest is None


def test_gpus_and_durations_are_added_up() -> None:
    """Both sides' GPUs at the largest step; steps and bake one after the other."""
    gpu = {"resource": "nvidia.com/gpu", "count": 2}
    serving = {"image": "tensorflow/serving", "replicas": 4, "gpu": gpu}
    made = planned(1.0, 0.005, weight=50, minutes=1, serving=serving, analysis=raw_spec()["analysis"])
    assert (made.gpus, made.steps[0].pods) == (12, 2)
    assert made.shortest == 11 * _MINUTE


def test_metrics_with_limits_are_named_as_not_planned() -> None:
    """What is judged by limits has no power to speak of, and people are told."""
    metrics = [{"name": "errors", "kind": "ErrorRate", "test": "Limits", "limits": {"max": "0.1"}}]
    made = planned(1.0, 0.005, minutes=1, analysis={"prometheus": {"address": "http://prometheus"}, "metrics": metrics})
    assert made.unplanned == ("errors",)
    assert made.steps[0].powers == ()


def test_latency_is_planned_by_how_much_slower() -> None:
    """A version that is twice as slow is found at fifty answers a second; the plan says after how long."""
    metrics = [{"name": "latency", "kind": "Latency"}]
    analysis = {"prometheus": {"address": "http://prometheus"}, "metrics": metrics}
    (step,) = planned(20, 0.0, weight=25, minutes=10, analysis=analysis).steps
    (power,) = step.powers
    assert power.kind is MetricKind.LATENCY
    assert power.found[-1].caught == 1.0
