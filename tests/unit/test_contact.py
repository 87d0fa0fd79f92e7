"""Whether the API server answers, and what follows for pods that seem late."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from modelrollout.contact import STALE, Contact
from modelrollout.core.decide import decide
from modelrollout.core.pods import GATEWAY_SIGHT, SIGHT
from modelrollout.core.status import Stage
from modelrollout.errors import ClusterUnavailable
from tests.builders import NOW, canary_pod, report, rollout, route, snapshot, stable_pods
from tests.deciding import decided

if TYPE_CHECKING:
    from datetime import datetime

HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=1)


@dataclass
class Answers:
    """An API server that answers as it is told, question by question; after the last it hangs."""

    told: list[bool]
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def ping(self) -> None:
        """The next answer."""
        if not self.told:
            self.over.set()
            await asyncio.Event().wait()
        if not self.told.pop(0):
            raise ClusterUnavailable("refused")


@dataclass
class Watch:
    """A clock that a second passes on with each look."""

    looks: int = 0

    def now(self) -> datetime:
        """A second later than the last time."""
        self.looks += 1
        return NOW + self.looks * MOMENT


@pytest.mark.parametrize(
    ("heard", "unheard"),
    [
        pytest.param(None, None, id="not asked yet"),
        pytest.param(NOW - STALE, None, id="heard lately"),
        pytest.param(NOW - STALE - MOMENT, NOW, id="stood still"),
    ],
)
def test_process_that_stood_still_has_heard_nothing(heard: datetime | None, unheard: datetime | None) -> None:
    """A pass may come before the next question: it knows all the same that what it has is old."""
    assert Contact(heard=heard).unheard(NOW) == unheard


@pytest.mark.parametrize(
    ("told", "failed"),
    [
        ([True, True], None),
        ([True, False, True], NOW + 2 * MOMENT),
        ([False, False, True], NOW + 2 * MOMENT),
    ],
)
async def test_last_silence_is_remembered(told: list[bool], failed: datetime | None) -> None:
    """The last question without an answer counts, also when later ones were answered."""
    contact, server = Contact(), Answers(told)
    asking = asyncio.create_task(contact.keep(server, Watch(), period=0.0))
    await server.over.wait()
    asking.cancel()
    assert contact.unheard(NOW + 5 * MOMENT) == failed


@pytest.mark.parametrize(
    ("unheard", "stage"),
    [
        pytest.param(None, Stage.ROLLING_BACK, id="always heard"),
        pytest.param(NOW, Stage.PREPARING, id="still away"),
        pytest.param(NOW - SIGHT + MOMENT, Stage.PREPARING, id="just back"),
        pytest.param(NOW - SIGHT, Stage.ROLLING_BACK, id="back for long enough"),
    ],
)
def test_no_pod_is_late_right_after_an_outage(unheard: datetime | None, stage: Stage) -> None:
    """A deadline that ended meanwhile does not reject a version by pods as they were before."""
    late = canary_pod(report(), ready=False, scheduled=NOW - HOUR)
    given = snapshot(rollout(Stage.PREPARING), pods=(*stable_pods(report(101)), late))
    found = decided(replace(given, unheard=unheard))
    assert found.stage is stage


def test_the_end_of_the_doubt_is_a_reason_to_look_again() -> None:
    """The next pass comes when the pod may be called late, though nothing else happens until then."""
    late = canary_pod(report(), ready=False, scheduled=NOW - HOUR)
    given = snapshot(rollout(Stage.PREPARING), pods=(*stable_pods(report(101)), late), unheard=NOW - MOMENT)
    requeue = decide(given).requeue
    assert requeue is not None
    assert requeue <= SIGHT - MOMENT


@pytest.mark.parametrize(
    ("unheard", "weight"),
    [
        pytest.param(None, 10, id="always heard"),
        pytest.param(NOW - GATEWAY_SIGHT + MOMENT, 0, id="just back"),
        pytest.param(NOW - GATEWAY_SIGHT, 10, id="back for long enough"),
    ],
)
def test_no_weight_is_raised_right_after_an_outage(unheard: datetime | None, weight: int) -> None:
    """The gateway may have been as blind: it would send requests to pods that it does not know."""
    ready = canary_pod(report(102), scheduled=NOW - HOUR)
    step = rollout(Stage.PROGRESSING, step=1)
    given = snapshot(step, pods=(*stable_pods(report(101), report(101)), ready), route=route(0), unheard=unheard)
    decision = decide(given)
    assert decision.status.story.weight_set == weight
    assert weight or (decision.requeue is not None and decision.requeue <= MOMENT)


def test_weight_is_lowered_whatever_was_heard() -> None:
    """Traffic safety asks nobody."""
    bad = rollout(Stage.PROGRESSING, step=1, live=10)
    given = snapshot(bad, pods=stable_pods(report(101), report(101)), route=route(10), unheard=NOW)
    assert decide(given).status.story.weight_set == 0
