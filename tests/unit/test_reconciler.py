"""The shell around the rules: order of writes, nothing waited for, what cannot be read, fights over a child.

One process of the operator over the simulated cluster; its model servers hang unless a test says otherwise.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from modelrollout.core.names import ANNOTATION_ABORT
from modelrollout.core.route import canary_weight
from modelrollout.errors import ClusterUnavailable
from modelrollout.repairs import MOST
from modelrollout.resources import resource_of
from tests.simulation.api import NAME
from tests.simulation.operator import SimOperator
from tests.simulation.repertoire import SCENARIOS
from tests.simulation.scenarios import begin, run_until
from tests.unit.shell import OlderDefinition, Shell, play

if TYPE_CHECKING:
    from tests.simulation.world import World


@pytest.fixture
def healthy() -> World:
    """Version 101 serves."""
    with begin(SCENARIOS["good"]) as run:
        run.operator.step(4)
    return run.world


@pytest.fixture
def climbing(healthy: World) -> World:
    """Version 102 has half of the traffic."""
    healthy.change("strategy", steps=[{"weight": 50, "duration": "60s"}])
    healthy.edit(102)
    with SimOperator(healthy) as operator:
        run_until(operator, lambda world: bool(world.status.get("rollout", {}).get("stepStarted")))
    return healthy


def test_abort_waits_for_no_server_and_writes_weight_0_first(climbing: World) -> None:
    """With every model server hanging, a request to abort is weight 0; in the next pass the status, then the rest."""
    rollout = climbing.status["rollout"]
    climbing.request(f"abort:{climbing.status['canary']['revision']}.{rollout['attempt']}:1")

    async def scene(shell: Shell) -> None:
        assert await shell.passes() == ["HTTPRoute recsys"]
        lines = await shell.passes()
        assert lines[0] == "status RollingBack"
        assert "warning AbortRequested" in lines
        assert climbing.weight == 0

    play(climbing, scene)


def test_nothing_is_read_between_an_abort_and_the_pass_after_it(climbing: World) -> None:
    """In a storm of them that costs what the other aborts need; the next pass plans anew."""
    rollout = climbing.status["rollout"]

    async def scene(shell: Shell) -> None:
        await shell.passes(seconds=1)
        assert shell.servers.asked > 0
        climbing.request(f"abort:{climbing.status['canary']['revision']}.{rollout['attempt']}:1")
        shell.see()
        assert await shell.passes(seconds=1) == ["HTTPRoute recsys"]
        assert shell.servers.asked == 0
        await shell.passes(seconds=1)
        assert shell.servers.asked > 0

    play(climbing, scene)


def test_settled_object_is_not_written(healthy: World) -> None:
    """A new process that finds everything as it should be writes nothing, however often it looks."""

    async def scene(shell: Shell) -> None:
        assert await shell.passes(5) == []

    play(healthy, scene)


def test_failed_write_does_not_stop_those_after_it(healthy: World) -> None:
    """A Service that cannot be written does not keep the canary from being made; the pass is tried again."""
    healthy.edit(102)

    async def scene(shell: Shell) -> None:
        await shell.passes(1)
        await asyncio.sleep(5)
        service = shell.world.api.objects["Service", "recsys-canary"]
        shell.world.delete("Service", "recsys-canary", service["metadata"]["uid"])
        shell.cache.drop(resource_of("Service"), service)
        shell.journal.fails = "Service"
        with pytest.raises(ClusterUnavailable):
            await shell.passes(1)
        assert "Deployment recsys-canary" in shell.journal.lines

    play(healthy, scene)


def test_refused_write_is_told_once_and_stops_nothing_else(healthy: World) -> None:
    """A quota that refuses the canary's Deployment becomes Stalled and one event; other objects are still written."""
    healthy.edit(102)
    healthy.api.refuses = {"Deployment"}

    async def scene(shell: Shell) -> None:
        lines = await shell.passes(5, seconds=1)
        stalled = [c["reason"] for c in healthy.status["conditions"] if c["type"] == "Stalled"]
        assert stalled == ["WriteRefused"]
        assert lines.count("warning WriteRefused") == 1
        assert "ConfigMap recsys-canary" in lines

    play(healthy, scene)


def test_spec_that_cannot_be_read_is_told_and_changes_nothing(healthy: World) -> None:
    """Bad input that got past the schema stalls its own object and leaves the state of the rollout alone."""
    stable = healthy.status["stable"]

    async def scene(shell: Shell) -> None:
        shell.change(strategy={})
        assert await shell.passes(3) == ["status Degraded", "warning InvalidSpec"]
        assert healthy.status["stable"] == stable

    play(healthy, scene)


def test_rollout_goes_on_with_the_last_spec_that_could_be_read(climbing: World) -> None:
    """Who breaks spec under way is told so; the canary is judged and taken back as before."""

    async def scene(shell: Shell) -> None:
        await shell.passes()
        shell.change(strategy={})
        await shell.passes()
        assert climbing.status["rollout"]["stage"] == "Progressing"
        assert [c["reason"] for c in climbing.status["conditions"] if c["type"] == "Stalled"] == ["InvalidSpec"]

    play(climbing, scene)


def test_status_of_a_newer_operator_is_not_written(climbing: World) -> None:
    """What this operator does not understand it leaves alone."""

    async def scene(shell: Shell) -> None:
        shell.set_status(schemaVersion=2)
        assert await shell.passes(3) == []
        assert climbing.weight == 50

    play(climbing, scene)


def test_abort_of_a_newer_operator_is_carried_out(climbing: World) -> None:
    """An abort on record, in status or on the route, is weight 0, whoever decided it."""

    async def scene(shell: Shell) -> None:
        shell.set_status(schemaVersion=2, rollout={"stage": "RollingBack", "of": "a shape to come"})
        assert await shell.passes(3) == ["HTTPRoute recsys"]
        assert climbing.weight == 0

    play(climbing, scene)


def test_child_that_somebody_keeps_changing_is_left_after_a_while(healthy: World) -> None:
    """Repaired at once and said once; then a truce, and Stalled says what is fought over."""

    async def scene(shell: Shell) -> None:
        await shell.passes()
        shell.change_route(30)
        await shell.passes()
        lines = []
        for _ in range(MOST + 3):
            shell.change_route(30)
            lines += await shell.passes(2)
        assert lines.count("HTTPRoute recsys") <= MOST
        assert lines.count("warning RouteOverwritten") == 1
        assert [c["reason"] for c in healthy.status["conditions"] if c["type"] == "Stalled"] == ["RouteContested"]

    play(healthy, scene)


def test_definition_that_drops_fields_does_not_make_a_loop(healthy: World) -> None:
    """With an older definition in the cluster the same status is written once, not in every pass."""
    healthy.edit(102)

    async def scene(shell: Shell) -> None:
        lines = await shell.passes(6)
        assert [line for line in lines if line.startswith("status")] == ["status Preparing"]

    play(healthy, scene, OlderDefinition)


def test_marker_is_on_the_route_after_an_abort(climbing: World) -> None:
    """The reason is written in the same call as weight 0: a kill right after it forgets nothing."""
    rollout = climbing.status["rollout"]
    climbing.request(f"abort:{climbing.status['canary']['revision']}.{rollout['attempt']}:1")

    async def scene(shell: Shell) -> None:
        assert await shell.passes() == ["HTTPRoute recsys"]
        route = climbing.api.objects["HTTPRoute", NAME]
        assert canary_weight(NAME, route) == 0
        assert "AbortRequested" in route["metadata"]["annotations"][ANNOTATION_ABORT]

    play(climbing, scene)
