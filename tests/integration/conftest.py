"""One playground for all integration tests; each test has a rollout, models and a host name of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from playground import lifecycle
from playground.scene import Scene
from playground.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A playground with the operator, for the whole session."""
    state = State(tmp_path_factory.mktemp("playground"))
    lifecycle.up(state, operator=True)
    yield state
    lifecycle.down(state)


@pytest.fixture
def scene(playground: State) -> Iterator[Callable[[str], Scene]]:
    """Makes a scene of the given name, and takes its rollout away at the end."""
    made: list[Scene] = []

    def make(name: str) -> Scene:
        made.append(Scene(playground, name))
        return made[-1]

    yield make
    for item in made:
        item.kube.delete("ModelRollout", item.name)
        item.kube.session.close()
