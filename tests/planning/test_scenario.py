"""Scenarios: what can be written down, and what is said of what cannot."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from modelrollout.planning.scenario import InvalidScenario, parse_scenario
from playground.paths import REPOSITORY

FILES = sorted((REPOSITORY / "examples" / "scenarios").glob("*.yaml"))
_LEAST: dict[str, Any] = {"description": "something", "traffic": {"answersPerSecond": 10}}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_example_can_be_read(file: Any) -> None:
    """What we show to people works."""
    assert parse_scenario(yaml.safe_load(file.read_text())).description


def test_what_is_left_out_is_harmless() -> None:
    """A scenario of nothing but traffic is a good version in a calm world."""
    found = parse_scenario(_LEAST)
    assert (found.canary, found.pods, found.away, found.noise.factor, found.loads) == ((), (), (), 1.0, True)


def test_changes_are_in_order_of_time() -> None:
    """The last change that is due holds, in whatever order they were written down."""
    found = parse_scenario({**_LEAST, "canary": [{"from": "20m", "slower": 2}, {"errorRatio": 3}]})
    assert [change.begins for change in found.canary] == [0, 1200]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"canary": [{"errorRate": 2}]}, "canary[0].errorRate: 2 is greater than the maximum of 1"),
        ({"trafic": {}}, "'trafic' was unexpected"),
        ({"traffic": {"answersPerSecond": 0}}, "traffic.answersPerSecond: 0 is less than or equal to the minimum of 0"),
        ({"pods": [{"pod": "canary"}]}, "pods[0].pod: 'canary' does not match"),
        ({"prometheusAway": [{"from": "ten"}]}, "prometheusAway[0].from: 'ten' does not match"),
        ({"description": None}, "description: None is not of type 'string'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(wrong: dict[str, Any], said: str) -> None:
    """People read where the mistake is, and what is allowed there."""
    with pytest.raises(InvalidScenario) as refused:
        parse_scenario({**_LEAST, **wrong})
    assert said in str(refused.value)


def test_what_is_no_mapping_is_refused() -> None:
    """A file with a list in it is no scenario."""
    with pytest.raises(InvalidScenario, match="scenario: "):
        parse_scenario([])
