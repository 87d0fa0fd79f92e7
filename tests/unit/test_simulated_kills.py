"""docs/design.md, "Restart safety": a kill at any write of any kind of rollout changes nothing of how it ends."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pytest

from tests.simulation.repertoire import SCENARIOS
from tests.simulation.scenarios import begin, end_of, kill_points, rest

SOME = (
    "good",
    "bad",
    "superseded",
    "cancelled",
    "rolled and bad",
    "undone",
    "lower and bad",
    "abort asked for",
    "paused in a step",
    "approved",
    "promoted in full",
    "undone on request",
)


def undisturbed(name: str) -> tuple[Any, ...]:
    """How a scenario ends."""
    with begin(SCENARIOS[name]) as run:
        rest(run)
        return end_of(run.world)


def kill(name: str, every: int) -> None:
    """Kill at one write in so many, and look at the end."""
    wanted = undisturbed(name)
    for where, fork in islice(kill_points(begin(SCENARIOS[name])), None, None, every):
        with fork as run:
            rest(run)
            assert end_of(run.world) == wanted, where


@pytest.mark.parametrize("name", SOME)
def test_kill_at_a_write_changes_nothing(name: str) -> None:
    """Killed before or after a write, the next process brings the same end; every safety rule holds on the way."""
    kill(name, every=5)


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_kill_at_any_write_changes_nothing(name: str) -> None:
    """The same for every write of every kind of rollout."""
    kill(name, every=1)


@pytest.mark.parametrize(("name", "every"), [("bad", 7), *(pytest.param(n, 1, marks=pytest.mark.long) for n in SOME)])
def test_two_kills_in_a_row_change_nothing(name: str, every: int) -> None:
    """A process that is killed at one of its first three writes after a kill leaves the same end."""
    wanted = undisturbed(name)
    for where, first in islice(kill_points(begin(SCENARIOS[name])), None, None, every):
        for again, fork in kill_points(first, at_most=3):
            with fork as run:
                rest(run)
                assert end_of(run.world) == wanted, f"{where}, then {again}"
