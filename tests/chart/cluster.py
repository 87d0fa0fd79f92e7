"""A real API server for the chart's tests: objects are stored and checked, and nothing acts on them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from tests.chart.helm import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from playground.kube import Kube

_SECONDS = 60  # only ends what never ends: on a busy machine a definition takes its time


@dataclass(frozen=True)
class Cluster:
    """An API server, and a file that leads Helm to it."""

    kube: Kube
    kubeconfig: Path

    def get(self, path: str) -> dict[str, Any] | None:
        """An object by its path, None when there is none."""
        answer = self.kube.session.get(f"{self.kube.url}{path}", timeout=_SECONDS)
        found: dict[str, Any] = answer.json()
        return None if answer.status_code == 404 else found

    def apply(self, obj: dict[str, Any], *, dry_run: bool = True) -> None:
        """Have the server check an object, strictly, and store it only if that is wanted."""
        parameters = {"fieldManager": "test", "force": "true", "fieldValidation": "Strict"}
        answer = self.kube.session.patch(
            f"{self.kube.url}{self.path(obj)}",
            data=yaml.safe_dump(obj),
            params=parameters | ({"dryRun": "All"} if dry_run else {}),
            headers={"Content-Type": "application/apply-patch+yaml"},
            timeout=_SECONDS,
        )
        assert answer.ok, answer.text

    def delete(self, path: str) -> None:
        """Remove an object and wait until it is gone."""
        self.kube.session.delete(f"{self.kube.url}{path}", timeout=_SECONDS)
        while self.get(path) is not None:
            time.sleep(0.05)

    def make_namespaces(self, objects: Iterable[dict[str, Any]]) -> None:
        """Those of these objects: even what is only tried out needs its own."""
        for name in {NAMESPACE} | {obj["metadata"].get("namespace", NAMESPACE) for obj in objects}:
            if self.get(f"/api/v1/namespaces/{name}") is None:
                self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, dry_run=False)

    def path(self, obj: dict[str, Any]) -> str:
        """Where the server says that objects of its kind are."""
        group, _, version = obj["apiVersion"].rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        served = self.get(root)
        assert served is not None, obj["apiVersion"]
        found = [each for each in served["resources"] if each["kind"] == obj["kind"] and "/" not in each["name"]]
        assert found, obj["kind"]
        namespace = obj["metadata"].get("namespace", NAMESPACE)
        place = f"/namespaces/{namespace}" if found[0]["namespaced"] else ""
        return f"{root}{place}/{found[0]['name']}/{obj['metadata']['name']}"
