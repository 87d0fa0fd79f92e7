"""What the supervisor does with the processes in its care: playground/unit.py and playground/supervisor.py."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from playground.component import Binaries, Component, PreparationError, Surroundings
from playground.processes import Processes
from playground.state import State
from playground.supervisor import Supervisor
from playground.unit import Unit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
async def around(tmp_path: Path) -> Surroundings:
    """Surroundings with a log folder and no programs."""
    state = State(tmp_path)
    state.logs.mkdir()
    nowhere = Binaries(tmp_path, tmp_path, tmp_path)
    return Surroundings(state, nowhere, dict(os.environ), Processes(), "token")


def _shell(name: str, script: str, *, restarts: bool = False, needs: tuple[str, ...] = ()) -> Component:
    return Component(name, ("sh", "-c", script), restarts=restarts, needs=needs)


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the file system and the processes set no event
        await asyncio.sleep(0.01)


async def test_what_dies_is_named_with_the_end_of_its_log(around: Surroundings) -> None:
    """A component that exits stays dead, and its report has its name, its status and its last words."""
    unit = Unit(_shell("etcd", "echo no space left; exit 3"), around, asyncio.Event())
    await unit.start()
    await _until(lambda: unit.report.phase == "dead")
    assert "etcd exited with status 3" in unit.report.message
    assert "no space left" in unit.report.message


async def test_a_killed_component_is_reported_as_killed(around: Surroundings) -> None:
    """SIGKILL shows by its name in the report."""
    unit = Unit(_shell("prometheus", "sleep 60"), around, asyncio.Event())
    assert await unit.start()
    assert unit.kill()
    await _until(lambda: unit.report.phase == "dead")
    assert "was ended by SIGKILL" in unit.report.message
    assert not unit.kill()


async def test_the_operator_is_restarted_as_a_kubelet_would(around: Surroundings) -> None:
    """A component with restarts comes back after an exit, and the restart is counted."""
    unit = Unit(_shell("operator", "sleep 60", restarts=True), around, asyncio.Event())
    assert await unit.start()
    unit.kill()
    await _until(lambda: unit.report.restarts == 1 and unit.report.phase == "ready")
    assert "operator was ended by SIGKILL" in unit.report.message
    await unit.stop()
    assert unit.report.phase == "stopped"


async def test_a_stopped_component_stays_stopped_until_it_is_started(around: Surroundings) -> None:
    """A stop is no death: nothing restarts, and a start brings it back."""
    unit = Unit(_shell("operator", "sleep 60", restarts=True), around, asyncio.Event())
    assert await unit.start()
    await unit.stop()
    assert unit.report.restarts == 0
    assert await unit.start()
    assert unit.report.phase == "ready"
    await unit.stop()


async def test_a_preparation_that_fails_is_named(around: Surroundings) -> None:
    """A component whose preparation fails never starts, and its report says what failed."""

    async def prepare(_: Surroundings) -> None:
        raise PreparationError("no certificate")

    unit = Unit(Component("gateway", ("true",), prepare=prepare), around, asyncio.Event())
    assert not await unit.start()
    assert unit.report.phase == "failed"
    assert "gateway: no certificate" in unit.report.message


async def test_a_component_waits_for_what_it_needs(around: Surroundings) -> None:
    """What needs another component starts after that one is ready, whatever their order in the list."""
    log = around.state.dir / "order"
    second = _shell("second", f"echo second >> {log}; sleep 60", needs=("first",))

    async def ready(_: Surroundings) -> bool:
        return log.exists()

    first = Component("first", ("sh", "-c", f"echo first >> {log}; sleep 60"), ready=ready)
    supervisor = Supervisor([second, first], around)
    await supervisor.start_all()
    await _until(lambda: log.read_text().count("\n") == 2)
    assert log.read_text().split() == ["first", "second"]
    await supervisor.stop_all()
