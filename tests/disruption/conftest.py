"""What breaks for everybody: the operator, Prometheus, the gateway, the API server. One test at a time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from playground import control
from playground.interference import Interference, Lane, Operator
from tests.scenes import playground, scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playground.scene import Scene
    from playground.state import State

pytest.register_assert_rewrite("tests.disruption.witness")

__all__ = ["interference", "playground", "scene", "staged"]


@dataclass(frozen=True)
class Staged:
    """A scene whose operator is the test's own, on a lane of the interference."""

    here: Scene
    lane: Lane
    operator: Operator


@pytest.fixture(scope="session")
def interference(playground: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interference]:
    """The program between operators and what they talk to, for the whole session."""
    with Interference(playground, tmp_path_factory.mktemp("interference")) as running:
        yield running


@pytest.fixture
def staged(
    playground: State, interference: Interference, scene: Callable[[str], Scene]
) -> Iterator[Callable[[str], Staged]]:
    """Makes a scene with an operator process of its own; the playground's operator rests meanwhile."""
    control.ask(playground, "stop", name="operator")
    with ExitStack() as stack:

        def make(name: str) -> Staged:
            lane = interference.lane(name)
            return Staged(scene(name), lane, stack.enter_context(Operator(playground, lane)))

        yield make
    control.ask(playground, "start", name="operator")
