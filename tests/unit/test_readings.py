"""What is read of the model servers, and how often."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelrollout.core.readings import readings_wanted
from modelrollout.core.status import Rollout, Stage
from tests.builders import NEW, NOW, OLD, report, rollout, snapshot, stable_pods

SECOND = timedelta(seconds=1)
SERVING = stable_pods(report(OLD, stable=OLD), report(OLD, stable=OLD))


@pytest.mark.parametrize(
    ("under_way", "interval"),
    [
        (None, 600 * SECOND),
        (rollout(Stage.PREPARING), SECOND),
        (rollout(Stage.PROGRESSING, step=1, step_started=None), SECOND),
        (rollout(Stage.PROGRESSING, step=1, step_started=NOW), 2 * SECOND),
        (rollout(Stage.PROMOTING, step=2, step_started=NOW), SECOND),
        (rollout(Stage.BAKING), 2 * SECOND),
        (rollout(Stage.ROLLING_BACK, step=1, step_started=NOW), SECOND),
    ],
    ids=lambda value: value.stage if isinstance(value, Rollout) else "",
)
def test_servers_are_asked_often_while_something_is_to_change_in_them(
    under_way: Rollout | None, interval: timedelta
) -> None:
    """Each second then; half as often while a step rests or a version bakes; rarely without a rollout."""
    plan = readings_wanted(snapshot(under_way, pods=SERVING)).servers
    assert plan is not None
    assert plan.interval == interval


def test_a_server_that_has_something_else_is_asked_often_without_a_rollout_too() -> None:
    """Until it has what it should have."""
    pods = stable_pods(report(OLD, stable=OLD), report(OLD, NEW, stable=OLD))
    plan = readings_wanted(snapshot(pods=pods)).servers
    assert plan is not None
    assert plan.interval == SECOND


def test_servers_of_a_first_version_are_asked_until_they_answer() -> None:
    """Then what is still missing is not in them: thousands of new objects wait for other things."""
    loading, serving = report(loading=NEW), report(NEW)
    for pods, interval in ((stable_pods(loading, serving), SECOND), (stable_pods(serving, serving), 600 * SECOND)):
        plan = readings_wanted(snapshot(rollout(Stage.INITIALIZING), pods=pods)).servers
        assert plan is not None
        assert plan.interval == interval
        assert not plan.under_way
