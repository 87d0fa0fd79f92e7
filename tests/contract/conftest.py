"""Fixtures of the contract tests: a real API server with our custom resource definition installed."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from kubernetes import client

from tests.contract.api_server import running_api_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.stand import Stand

REPOSITORY = Path(__file__).parents[2]
DEFINITION = REPOSITORY / "crds" / "modelrollouts.yaml"
_RESOURCE: dict[str, Any] = {"group": "modelrollout.io", "version": "v1alpha1", "plural": "modelrollouts"}
_NAMESPACE = "default"


@dataclass(frozen=True)
class Rollouts:
    """ModelRollout objects of one API server. Unknown fields are refused, as kubectl asks for it."""

    api: client.CustomObjectsApi

    def create(self, manifest: dict[str, Any], *, dry_run: bool = True) -> Any:
        """The object as the server would store it. Raises ApiException with the server's message."""
        return self.api.create_namespaced_custom_object(
            **_RESOURCE,
            namespace=_NAMESPACE,
            body=manifest,
            field_validation="Strict",
            dry_run="All" if dry_run else None,
        )

    def update(self, manifest: dict[str, Any]) -> Any:
        """What the stored object would become with the manifest in its place. Raises ApiException."""
        return self.api.replace_namespaced_custom_object(
            **_RESOURCE,
            namespace=_NAMESPACE,
            name=manifest["metadata"]["name"],
            body=manifest,
            field_validation="Strict",
            dry_run="All",
        )

    def write_status(self, name: str, status: dict[str, Any]) -> Any:
        """Store a status as the operator does. Raises ApiException."""
        return self.api.patch_namespaced_custom_object_status(
            **_RESOURCE, namespace=_NAMESPACE, name=name, body={"status": status}, field_validation="Strict"
        )

    def scale(self, name: str) -> Any:
        """The scale subresource of a stored object."""
        return self.api.get_namespaced_custom_object_scale(**_RESOURCE, namespace=_NAMESPACE, name=name)

    def delete(self, name: str) -> None:
        """Remove a stored object."""
        self.api.delete_namespaced_custom_object(**_RESOURCE, namespace=_NAMESPACE, name=name)


@pytest.fixture(scope="session")
def definition() -> dict[str, Any]:
    """The custom resource definition, parsed."""
    parsed: dict[str, Any] = yaml.safe_load(DEFINITION.read_text())
    return parsed


@pytest.fixture(scope="session")
def rollouts(tmp_path_factory: pytest.TempPathFactory, definition: dict[str, Any]) -> Iterator[Rollouts]:
    """ModelRollout objects on a fresh API server, with the definition installed."""
    with serving(tmp_path_factory.mktemp("api-server"), definition) as made:
        yield made


@contextmanager
def serving(folder: Path, definition: dict[str, Any]) -> Iterator[Rollouts]:
    """A fresh API server in this folder, with the definition installed, until the block ends."""
    with running_api_server(folder) as admin:
        _install(client.ApiextensionsV1Api(admin), definition)
        made = Rollouts(client.CustomObjectsApi(admin))
        _wait_until_served(made)
        yield made


def _install(api: client.ApiextensionsV1Api, definition: dict[str, Any]) -> None:
    body: Any = definition  # the server is to check the file as it is, not the client's idea of it
    api.create_custom_resource_definition(body, field_validation="Strict")
    name = definition["metadata"]["name"]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = api.read_custom_resource_definition(name).status
        told = {condition.type: condition for condition in (status and status.conditions) or ()}
        if "NonStructuralSchema" in told:
            raise RuntimeError(str(told["NonStructuralSchema"].message))
        if "Established" in told and told["Established"].status == "True":
            return
        time.sleep(0.1)
    raise RuntimeError(f"{name} was not established in 60 s")


def _wait_until_served(rollouts: Rollouts) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            rollouts.api.list_namespaced_custom_object(**_RESOURCE, namespace=_NAMESPACE)
        except client.ApiException as error:
            # Not there yet, or its storage is still being set up.
            if error.status not in {404, 429} or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture(scope="module")
def stand(rollouts: Rollouts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """An API server behind the interference."""
    from tests.contract.stand import standing  # whose fixtures' types are from here

    with standing(rollouts, tmp_path_factory.mktemp("stand")) as made:
        yield made
