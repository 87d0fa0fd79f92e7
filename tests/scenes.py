"""Fixtures of the tests on the real parts: a playground per kind of test, and scenes in it.

`tests/integration` runs side by side on one playground; `tests/interference` too, on one without an operator, because
each of its tests has operators of its own; `tests/disruption` breaks what all share, one test at a time, on a third.
MODELROLLOUT_PLAYGROUND names the directory of one that is up already, which saves its start-up.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from playground import lifecycle
from playground.interference import Interference
from playground.scene import Scene
from playground.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A playground with the operator, for the whole session and all its workers."""
    with shared_playground(tmp_path_factory, operator=True) as state:
        yield state


@contextmanager
def shared_playground(tmp_path_factory: pytest.TempPathFactory, *, operator: bool) -> Iterator[State]:
    """One playground for all workers of a session: the first brings it up, the last takes it down."""
    given = os.environ.get("MODELROLLOUT_PLAYGROUND")
    if given:
        yield State(Path(given).resolve())
        return
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    state = State(shared / "playground")
    with _users(shared) as users:
        lifecycle.up(state, operator=operator)
        users.write_text(str(int(users.read_text() or 0) + 1) if users.exists() else "1")
    yield state
    with _users(shared) as users:
        left = int(users.read_text()) - 1
        users.write_text(str(left))
        if not left:
            lifecycle.down(state)


@pytest.fixture(scope="session")
def interference(playground: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interference]:
    """The program between operators and what they talk to, for the whole session."""
    with Interference(playground, tmp_path_factory.mktemp("interference")) as running:
        yield running


@contextmanager
def _users(shared: Path) -> Iterator[Path]:
    """The file that counts the workers which use the playground, locked: the last one takes it down."""
    with (shared / "playground.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared / "playground.users"


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
