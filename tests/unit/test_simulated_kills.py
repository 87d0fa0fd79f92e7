"""docs/design.md, "Restart safety": a kill at any write of any kind of rollout changes nothing of how it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.simulation.repertoire import SCENARIOS
from tests.simulation.scenarios import begin, end_of, kill_points

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.scenarios import Run


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop for the asynchronous part of measuring; nothing in it ever waits."""
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def rest(run: Run) -> None:
    """Play to the end and a minute on; then nothing is written any more."""
    run.finish()
    for _ in range(60):
        run.step()
    writes = len(run.operator.writes)
    for _ in range(5):
        run.operator.process.due = 0.0
        run.step()
    assert run.operator.writes[writes:] == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_rollout_ends_as_it_should(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Undisturbed, each scenario comes to its end; then nothing is written, and every server has one version."""
    run = begin(SCENARIOS[name], loop)
    rest(run)
    world, scenario = run.world, run.scenario
    history = tuple((entry["version"], entry["outcome"], entry["reason"]) for entry in world.status["history"])
    assert history == scenario.history
    assert world.status["stable"]["version"] == scenario.version
    assert world.weight == 0
    assert [pod.server.available for pod in world.pods.all.values()] == [{scenario.version}] * 3


@pytest.mark.parametrize("name", SCENARIOS)
def test_kill_at_any_write_changes_nothing(loop: asyncio.AbstractEventLoop, name: str) -> None:
    """Killed before or after any write, the next process brings the same end; every safety rule holds on the way."""
    undisturbed = begin(SCENARIOS[name], loop)
    rest(undisturbed)
    wanted = end_of(undisturbed.world)
    for where, run in kill_points(begin(SCENARIOS[name], loop)):
        rest(run)
        assert end_of(run.world) == wanted, where
