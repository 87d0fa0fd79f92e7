"""decide(): canary pods that are lost with traffic, and a route that is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.status import Stage
from tests.builders import (
    NOW,
    OLD,
    WITH_CANARY,
    analysed,
    canary_pod,
    progressing,
    report,
    rollout,
    route,
    snapshot,
)
from tests.deciding import climbing, decided, quiet_server

if TYPE_CHECKING:
    from modelrollout.core.snapshot import Route, Snapshot

SECOND = timedelta(seconds=1)
LONG = timedelta(minutes=30)
STABLE = WITH_CANARY[:2]


@dataclass(frozen=True)
class Lost:
    """Canary pods that may have gone; what is left of the step, and how many setbacks there have been."""

    given: Snapshot
    live: int
    setbacks: int


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(Lost(climbing(canary_pod()), 10, 0), id="a canary that answers carries its weight"),
        pytest.param(Lost(climbing(), 0, 1), id="all canary pods gone"),
        pytest.param(Lost(climbing(canary_pod(ready=False)), 0, 1), id="all canary pods unready"),
        pytest.param(Lost(climbing(canary_pod(), carriers=2), 10, 0), id="fewer than carried the weight, just now"),
        pytest.param(
            Lost(climbing(canary_pod(), carriers=2, lost_since=NOW - 6 * SECOND), 10, 0),
            id="fewer than carried the weight, but as many as the step asks for",
        ),
        pytest.param(
            Lost(climbing(quiet_server(canary_pod(), 4 * SECOND)), 10, 0), id="a server that is silent for a moment"
        ),
        pytest.param(
            Lost(climbing(quiet_server(canary_pod(), 5 * SECOND)), 0, 1), id="a server that stays silent over gRPC"
        ),
        pytest.param(Lost(climbing(canary_pod(report(OLD, stable=OLD))), 0, 1), id="a server without the version"),
        pytest.param(
            Lost(replace(climbing(step=2, live=10), route=route(10)), 0, 1),
            id="all canary pods gone while the next step is being set up",
        ),
    ],
)
def test_lost_canary_pods_lose_their_traffic(row: Lost) -> None:
    """Rule 5: what does not answer has no weight; the step is entered again when it does."""
    decision = decide(row.given)
    after = decision.status.rollout
    assert after is not None
    assert (after.live, after.setbacks) == (row.live, row.setbacks)
    assert decision.status.story.weight_set == row.live
    assert after.stage is Stage.PROGRESSING


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(
            climbing(step_started=None, live=0, live_since=None, lost_since=NOW - SECOND, setbacks=3),
            "lost 3 times",
            id="for the third time",
        ),
        pytest.param(
            climbing(
                quiet_server(canary_pod(scheduled=NOW - LONG), LONG),
                step_started=None,
                live=0,
                live_since=None,
                lost_since=NOW - LONG,
            ),
            "does not answer over gRPC: UNAVAILABLE: refused",
            id="not back by the deadline",
        ),
    ],
)
def test_canary_pods_lost_for_good_reject_the_version(given: Snapshot, words: str) -> None:
    """Pods that go away again and again, or do not come back, are the version's doing."""
    end = decided(given).end
    assert end is not None
    assert end.reason == "CanaryUnavailable"
    assert words in end.message


def test_step_goes_on_when_lost_pods_are_back() -> None:
    """First the pods, then the weight, then the clock."""
    waiting = climbing(step_started=None, live=0, live_since=None, lost_since=NOW - SECOND, setbacks=1)
    assert decide(replace(waiting, route=route(0))).status.story.weight_set == 0
    back = replace(waiting, pods=WITH_CANARY, route=route(0))
    assert decided(back).lost_since is None
    ready = climbing(canary_pod(), step_started=None, live=0, live_since=None, setbacks=1)
    assert decide(replace(ready, route=route(0))).status.story.weight_set == 10
    assert decided(replace(ready, route=route(10))).step_started == NOW


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(route(90), id="somebody raised it"),
        pytest.param(route(0), id="somebody lowered it"),
        pytest.param(None, id="somebody deleted it"),
        pytest.param(route(10, problem="RouteRulesOverlap"), id="a gateway does not follow it any more"),
    ],
)
def test_route_that_is_not_as_it_should_be_begins_the_step_again(changed: Route | None) -> None:
    """Rule 4: the clock counts only while the weight is live; the canary is judged on meanwhile."""
    after = decided(replace(climbing(canary_pod()), route=changed))
    assert after.step_started is None
    assert after.live == 10


def test_canary_is_judged_while_the_next_step_waits_for_its_pods() -> None:
    """As long as any weight is live, proof of failure ends it."""
    waiting = climbing(canary_pod(), step=2, step_started=None, live=10)
    failing = replace(waiting, analysed=analysed(waiting.status.rollout, Verdict.FAIL))  # type: ignore[arg-type] # there is one
    assert decided(failing).stage is Stage.ROLLING_BACK


def test_step_does_not_end_before_a_restarted_operator_has_asked_the_canary() -> None:
    """A server that was not asked yet proves nothing, for or against."""
    unasked = replace(canary_pod(), server=replace(canary_pod().server, report=None))
    after = decided(replace(progressing(Verdict.PASS, LONG), pods=(*STABLE, unasked)))
    assert (after.step, after.live) == (1, 10)


def test_restarted_operator_keeps_the_weight_until_it_has_asked_the_canary() -> None:
    """Killed between raising the weight and noting it: not knowing yet is no reason to lower it."""
    unasked = replace(canary_pod(), server=replace(canary_pod().server, report=None))
    entering = climbing(unasked, step_started=None, live=0, live_since=None)
    assert decide(replace(entering, route=route(10))).status.story.weight_set == 10
    assert decide(replace(entering, route=route(0))).status.story.weight_set == 0
    asked = replace(unasked, server=replace(unasked.server, silent_since=NOW))
    assert decide(replace(entering, route=route(10), pods=(*STABLE, asked))).status.story.weight_set == 0


def test_canary_that_falls_silent_while_promoting_loses_its_traffic() -> None:
    """Stable pods take over at once: they are being promoted anyway."""
    promoting = rollout(Stage.PROMOTING, step=2)
    half = snapshot(promoting, pods=WITH_CANARY, route=route(50), analysed=analysed(promoting, Verdict.PASS))
    assert decide(half).status.story.weight_set == 50
    quiet = replace(half, pods=(*STABLE, canary_pod(), replace(quiet_server(canary_pod(), LONG), name="canary-b")))
    assert decide(quiet).status.story.weight_set == 0
