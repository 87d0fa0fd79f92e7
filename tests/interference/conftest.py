"""Between operators and what they talk to: each test has a namespace and operators of its own, side by side."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from playground.controlplane import OPERATOR_NAMESPACE
from playground.interference import Interference, Lane, Operator
from playground.scene import Scene
from tests.scenes import interference, shared_playground

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playground.state import State

pytest.register_assert_rewrite("tests.witness")

__all__ = ["ALONE", "interference", "playground", "staged", "unled"]

ALONE = "--leader-election=false"
"""What two operators do to each other's work is seen without the lease that keeps them apart."""


@dataclass(frozen=True)
class Staged:
    """A scene in a namespace of its own, with an operator for it alone, on a lane of the interference."""

    here: Scene
    lane: Lane
    operator: Operator


@dataclass(frozen=True)
class Unled:
    """The same with a lane for an operator that is yet to be started."""

    here: Scene
    lane: Lane


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A playground without an operator, for the whole session and all its workers."""
    with shared_playground(tmp_path_factory, operator=False) as state:
        yield state


@pytest.fixture
def unled(playground: State, interference: Interference) -> Iterator[Callable[[str], Unled]]:
    """Makes a scene of the given name without an operator, and takes its rollout away at the end."""
    with ExitStack() as stack:

        def make(name: str) -> Unled:
            here = Scene(playground, name, namespace=name)
            _make_namespace(here)
            stack.callback(here.kube.session.close)
            stack.callback(here.kube.delete, "ModelRollout", name, name)
            return Unled(here, interference.lane(name))

        yield make


@pytest.fixture
def staged(unled: Callable[[str], Unled]) -> Iterator[Callable[[str], Staged]]:
    """Makes a scene of the given name with an operator that works for it."""
    with ExitStack() as stack:

        def make(name: str) -> Staged:
            given = unled(name)
            operator = Operator(given.here.state, given.lane, "--namespace", name, ALONE)
            return Staged(given.here, given.lane, stack.enter_context(operator))

        yield make


def _make_namespace(here: Scene) -> None:
    """With a lease of its own, so that operators of other tests are no rivals."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": here.namespace}}
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{here.namespace}"
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    metadata = {"name": "leader-election"}
    role = {"metadata": metadata, "rules": [{**leases, "verbs": ["create", "get", "list", "patch", "watch"]}]}
    account = {"kind": "ServiceAccount", "name": "modelrollout", "namespace": OPERATOR_NAMESPACE}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "leader-election"}
    binding = {"metadata": metadata, "subjects": [account], "roleRef": reference}
    made = ("/api/v1/namespaces", namespace), (f"{rbac}/roles", role), (f"{rbac}/rolebindings", binding)
    for path, body in made:
        here.kube.session.post(f"{here.kube.url}{path}", json=body, timeout=10)
