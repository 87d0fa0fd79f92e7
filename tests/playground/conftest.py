"""What the playground's tests share: the model server under test, named in the summary."""

from __future__ import annotations

import itertools
import signal
from typing import TYPE_CHECKING

import pytest

from playground import lifecycle
from playground.models import make_version
from playground.state import State
from tests.playground import model_server_subject
from tests.playground.node_agent_lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.playground.model_server_subject import Subject

_NAMES = (f"model{number}" for number in itertools.count())
_USED: list[str] = []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    """One server without models, for all tests that need no flags of their own."""
    if model_server_subject.REAL:
        _USED.append(f"the server at {model_server_subject.REAL}")
        yield model_server_subject.real()
        return
    _USED.append("the playground's stand-in")
    with model_server_subject.stand_in(tmp_path_factory.mktemp("server")) as subject:
        yield subject


@pytest.fixture
def name(server: Subject) -> str:
    """A model with the versions 1 and 2 on disk, not configured yet."""
    fresh = next(_NAMES)
    for version in (1, 2):
        make_version(server.here / fresh, version)
    return fresh


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A playground without the operator, and an agent of our own in it."""
    state = State(tmp_path_factory.mktemp("playground"))
    lifecycle.up(state, operator=False)
    started = Lab(state, state.dir / "lab")
    try:
        started.start()
        yield started
        started.kill(signal.SIGTERM)
    finally:
        lifecycle.down(state)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which model server the tests ran against."""
    for used in _USED:
        terminalreporter.write_line(f"model server under test: {used}")
