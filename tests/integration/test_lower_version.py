"""The new version has the lower number: servers answer with the highest that they have, so the old one has to go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    containers,
    failures,
    half_promoted,
    healthy,
    history,
    live,
    over_at,
    quick,
    settled,
    stage,
    versions_since,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene

STABLE, LOWER = 102, 101
_SLOW = {"versions": {str(LOWER): {"load_seconds": 3}}}


def _start(here: Scene) -> None:
    """Version 102 serves, 101 is published and never served."""
    here.publish(LOWER, STABLE)
    here.misbehave({})
    here.kube.apply(quick(here, STABLE))
    here.wait("the first version serving", healthy)


def _over(status: Object) -> bool:
    """The second attempt is over."""
    return "rollout" not in status and len(status["history"]) == 2


def test_lower_version_is_promoted_by_steps(scene: Callable[[str], Scene]) -> None:
    """A lower version takes its steps and is promoted without a restart or a failed request; the higher one is gone."""
    here = scene("lower")
    _start(here)
    before = containers(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        with weights(here) as seen:
            here.kube.apply(quick(here, LOWER))
            status = here.wait("the end", _over, 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(LOWER, "Promoted"), (STABLE, "Promoted")]
    assert seen == [0, 20, 50, 0]
    assert versions_since(traffic, over_at(status, LOWER)) == {LOWER}
    assert not failures(traffic.answers())
    assert containers(here) == before
    assert settled(here)["stable"]["version"] == LOWER


def test_bad_lower_version_is_taken_back(scene: Callable[[str], Scene]) -> None:
    """A lower version that is bad leaves the traffic like any other, and is rejected."""
    here = scene("lower-bad")
    _start(here)
    here.misbehave({"versions": {str(LOWER): {"latency": 0.4}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, LOWER))
        status = here.wait("the end", _over, 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(LOWER, "RolledBack"), (STABLE, "Promoted")]
    assert versions_since(traffic, over_at(status, LOWER)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here, "RolledBack")


def _in_step(status: Object) -> bool:
    return live(20)(status)


@pytest.mark.parametrize(
    ("name", "reached", "strategy", "faults"),
    [
        pytest.param("step", _in_step, {"steps": [{"weight": 20, "duration": "60s"}]}, {}, id="in a step"),
        pytest.param("half", half_promoted, {}, _SLOW, id="half promoted"),
        pytest.param(
            "bake", stage("Baking"), {"bake": {"duration": "1h"}}, {}, id="while it bakes", marks=pytest.mark.long
        ),
    ],
)
def test_back_to_the_higher_version(
    scene: Callable[[str], Scene],
    name: str,
    reached: Callable[[Object], bool],
    strategy: dict[str, Any],
    faults: dict[str, Any],
) -> None:
    """`spec` goes back to the higher version: servers that have let go of it load it again before it answers."""
    here = scene(f"lower-{name}")
    _start(here)
    before = containers(here)
    here.misbehave(faults)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, LOWER, **strategy))
        here.wait(name, reached, 120)
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the end", _over, 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(LOWER, "Cancelled"), (STABLE, "Promoted")]
    assert versions_since(traffic, over_at(status, LOWER)) == {STABLE}
    assert not failures(traffic.answers())
    assert containers(here) == before
    assert settled(here)["stable"]["version"] == STABLE


@pytest.mark.long
def test_lower_version_that_turns_bad_while_it_bakes(scene: Callable[[str], Scene]) -> None:
    """Nothing stands by while a lower version bakes; when it turns bad the higher one is loaded again and serves."""
    here = scene("lower-late")
    _start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, LOWER, bake={"duration": "1h"}))
        here.wait("the bake", stage("Baking"), 120)
        here.misbehave({"versions": {str(LOWER): {"latency": 0.4}}})
        status = here.wait("the end", _over, 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(LOWER, "RolledBack"), (STABLE, "Promoted")]
    assert versions_since(traffic, over_at(status, LOWER)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here, "RolledBack")


def test_lower_version_that_stable_servers_cannot_load(scene: Callable[[str], Scene]) -> None:
    """When a stable server cannot load what the canary could, the higher version never stops answering there."""
    here = scene("lower-refused")
    _start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, LOWER))
        here.wait("step 2", live(50), 120)
        here.misbehave({"versions": {str(LOWER): {"refuse_load": "no such op: Frobnicate"}}})
        status = here.wait("the end", _over, 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(LOWER, "RolledBack"), (STABLE, "Promoted")]
    assert status["rejected"]["reason"] == "PromotionLoadFailed"
    assert "Frobnicate" in status["rejected"]["message"]
    assert versions_since(traffic, over_at(status, LOWER)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here, "RolledBack")
