"""Between operators and what they talk to: each test has a namespace and operators of its own, side by side."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from playground.interference import Interference, Lane, Operator
from playground.scene import Scene
from tests.scenes import interference, shared_playground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playground.state import State

pytest.register_assert_rewrite("tests.witness")

__all__ = ["interference", "playground", "staged"]


@dataclass(frozen=True)
class Staged:
    """A scene in a namespace of its own, with an operator for it alone, on a lane of the interference."""

    here: Scene
    lane: Lane
    operator: Operator


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A playground without an operator, for the whole session and all its workers."""
    with shared_playground(tmp_path_factory, operator=False) as state:
        yield state


@pytest.fixture
def staged(playground: State, interference: Interference) -> Iterator[Callable[[str], Staged]]:
    """Makes a scene of the given name, and takes its rollout away at the end."""
    with ExitStack() as stack:

        def make(name: str) -> Staged:
            here, lane = Scene(playground, name, namespace=name), interference.lane(name)
            _make_namespace(here)
            stack.callback(here.kube.session.close)
            stack.callback(here.kube.delete, "ModelRollout", name, name)
            return Staged(here, lane, stack.enter_context(Operator(playground, lane, "--namespace", name)))

        yield make


def _make_namespace(here: Scene) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": here.namespace}}
    here.kube.session.post(f"{here.kube.url}/api/v1/namespaces", json=namespace, timeout=10)
