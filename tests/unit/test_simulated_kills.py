"""docs/design.md, "Restart safety": a kill at any write of any kind of rollout changes nothing of how it ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation.repertoire import SCENARIOS
from tests.simulation.scenarios import begin, end_of, kill_points, rest

QUICK = {"good", "bad", "bad while promoting", "superseded", "cancelled", "rolled and bad", "undone", "abort asked for"}
"""Killed at every write in each run of the tests; the others only when everything is run."""
SLOW = [pytest.param(name, marks=pytest.mark.long) for name in SCENARIOS if name not in QUICK]
TWICE = ["bad", "undone", *(pytest.param(name, marks=pytest.mark.long) for name in ("cancelled", "rolled and bad"))]


def undisturbed(name: str) -> tuple[Any, ...]:
    """How a scenario ends."""
    with begin(SCENARIOS[name]) as run:
        rest(run)
        return end_of(run.world)


@pytest.mark.parametrize("name", [*sorted(QUICK), *SLOW])
def test_kill_at_any_write_changes_nothing(name: str) -> None:
    """Killed before or after any write, the next process brings the same end; every safety rule holds on the way."""
    wanted = undisturbed(name)
    for where, fork in kill_points(begin(SCENARIOS[name])):
        with fork as run:
            rest(run)
            assert end_of(run.world) == wanted, where


@pytest.mark.parametrize("name", TWICE)
def test_two_kills_in_a_row_change_nothing(name: str) -> None:
    """A process that is killed at one of its first three writes after a kill leaves the same end."""
    wanted = undisturbed(name)
    for where, first in kill_points(begin(SCENARIOS[name])):
        for again, fork in kill_points(first, at_most=3):
            with fork as run:
                rest(run)
                assert end_of(run.world) == wanted, f"{where}, then {again}"
