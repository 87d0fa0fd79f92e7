"""Simulated rollouts end as real ones do, for the reasons that a scenario gives."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from modelrollout.planning.scenario import Scenario, parse_scenario
from modelrollout.planning.simulate import play
from modelrollout.planning.world import of_version
from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from modelrollout.planning.simulate import Played

_EXAMPLES = REPOSITORY / "examples"


def example(name: str) -> dict[str, Any]:
    """`spec` of an example."""
    spec: dict[str, Any] = yaml.safe_load((_EXAMPLES / f"{name}.yaml").read_text())["spec"]
    return spec


def scenario(name: str) -> Scenario:
    """One of the examples."""
    return parse_scenario(yaml.safe_load((_EXAMPLES / "scenarios" / f"{name}.yaml").read_text()))


def made(**fields: Any) -> Scenario:
    """A scenario with fifty answers a second."""
    return parse_scenario({"description": "made up", "traffic": {"answersPerSecond": 50}, **fields})


def reasons(played: Played) -> list[str]:
    """What people would have read, in order."""
    return [item.reason for item in played.told]


@pytest.mark.parametrize(
    ("name", "manifest", "outcome", "reason"),
    [
        ("good", "smallest", "Promoted", "Promoted"),
        ("good", "cpu", "Promoted", "Promoted"),
        ("broken", "smallest", "RolledBack", "AnalysisFailed"),
        ("four-times-the-errors", "smallest", "RolledBack", "AnalysisFailed"),
        ("slow-late", "smallest", "RolledBack", "AnalysisFailed"),
        ("slow-tail", "smallest", "RolledBack", "AnalysisFailed"),
        ("noisy-neighbours", "smallest", "Promoted", "Promoted"),
        ("prometheus-away", "smallest", "Promoted", "Promoted"),
        ("odd-pod", "smallest", "Promoted", "Promoted"),
        ("cannot-load", "smallest", "RolledBack", "CanaryNotReady"),
        ("fewer-clicks", "recsys-mig", "RolledBack", "AnalysisFailed"),
        ("other-predictions", "every-kind", "RolledBack", "AnalysisFailed"),
        ("memory-leak", "every-kind", "RolledBack", "AnalysisFailed"),
    ],
)
def test_an_example_ends_as_its_description_says(name: str, manifest: str, outcome: str, reason: str) -> None:
    """Each scenario that we show to people is one way in which a rollout may go."""
    end = play(manifest, example(manifest), scenario(name)).end
    assert end is not None
    assert (end.end.outcome, end.end.reason) == (outcome, reason)


def test_it_is_the_same_each_time() -> None:
    """A simulation can be repeated: chance comes from the scenario's seed."""
    first, second = (play("x", example("smallest"), scenario("four-times-the-errors")) for _ in range(2))
    assert first == second


def test_another_seed_is_another_day() -> None:
    """With another seed other answers fail."""
    first, second = (
        play("x", example("smallest"), made(stable={"errorRate": 0.01}, seed=seed, until="5m")) for seed in (1, 2)
    )
    assert first.bad != second.bad


def test_prometheus_away_holds_the_step() -> None:
    """No answer is not a bad answer: the step ends only when there are measurements again."""
    played = play("x", example("smallest"), made(prometheusAway=[{"from": "5m", "for": "20m"}]))
    _first, second = [item.at for item in played.told if item.reason == "WeightSet"][:2]
    assert second >= 25 * 60


def test_an_odd_pod_is_replaced_once() -> None:
    """One broken GPU is told apart from a bad version, and its pod's number is not used again."""
    played = play("x", example("smallest"), replace(scenario("odd-pod"), until=2000.0))
    assert reasons(played).count("CanaryPodReplaced") == 1


def test_what_the_scenario_gives_no_values_for_is_left_out() -> None:
    """A query whose values nobody gives decides nothing, and people are told so."""
    played = play("x", example("recsys-mig"), made())
    assert played.left_out == ("click-rate",)
    assert played.end is not None
    assert played.end.end.outcome == "Promoted"


def test_a_good_version_passes_every_kind_of_metric() -> None:
    """A new version that predicts what the old one does, with as much memory, is promoted."""
    same = {"stable": {"buy": 1, "leave": 3}, "canary": {"buy": 1, "leave": 3}}
    values = {"stable": 9e9, "canary": 9.5e9, "jitter": 0.05}
    played = play("x", example("every-kind"), made(predictions={"classes": same}, queries={"gpu-memory": values}))
    assert played.left_out == ()
    assert played.end is not None
    assert played.end.end.outcome == "Promoted"
    assert "classes" in played.end.end.evidence
    assert "gpu-memory PASS: canary median" in played.end.end.evidence


def test_what_has_not_ended_says_what_it_waits_for() -> None:
    """A simulation that is cut off says where the rollout stands."""
    played = play("x", example("smallest"), made(until="15m"))
    assert played.end is None
    assert "at 25 %" in played.waits


def test_users_meet_few_bad_answers_of_a_version_that_is_caught() -> None:
    """The cost of a bad version is counted: at 5 % of the traffic, until it is out."""
    played = play("x", example("smallest"), scenario("broken"))
    assert 0 < played.extra < 60
    assert played.points[-1].weight == 0


def test_who_has_to_approve_does_so_at_once() -> None:
    """A simulation says what the judge would do; how long people take it cannot know."""
    spec = example("smallest")
    spec["strategy"]["steps"][0]["approval"] = "Manual"
    played = play("x", spec, scenario("good"))
    assert played.end is not None
    assert played.end.end.outcome == "Promoted"


def test_a_rolled_promotion_is_simulated_too() -> None:
    """Pods of a new template have the new version alone."""
    spec = example("smallest")
    spec["strategy"] = {**spec["strategy"], "promotion": {"method": "Roll"}}
    played = play("x", spec, made(stable={"errorRate": 0.001}))
    assert played.end is not None
    assert played.end.end.outcome == "Promoted"


def test_a_version_that_turns_bad_while_it_bakes_is_taken_back() -> None:
    """Judging goes on after promotion, against what stable did before."""
    played = play(
        "x", example("smallest"), made(stable={"errorRate": 0.001}, canary=[{"from": "35m", "errorRate": 0.2}])
    )
    assert played.end is not None
    assert played.end.end.outcome == "RolledBack"
    assert "BakeStarted" in reasons(played)


def test_a_version_below_which_there_is_none_is_compared_all_the_same() -> None:
    """The first version there is has one before it, as far as a simulation goes."""
    played = play("x", of_version(example("smallest"), 1), made())
    assert played.end is not None
    assert played.end.target.version == 1
