"""A few calls to the playground's API server from the host, for the demo and the tests."""

from __future__ import annotations

import json
import tempfile
from base64 import b64decode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import requests
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Object = dict[str, Any]

PREFIXES = {
    "ModelRollout": "apis/modelrollout.io/v1alpha1",
    "Deployment": "apis/apps/v1",
    "ControllerRevision": "apis/apps/v1",
    "HTTPRoute": "apis/gateway.networking.k8s.io/v1",
    "ConfigMap": "api/v1",
    "Pod": "api/v1",
    "Event": "api/v1",
    "Service": "api/v1",
}


class RefusedError(Exception):
    """The API server refused; the message is its own."""


@dataclass(frozen=True)
class Kube:
    """The API server as the administrator sees it."""

    session: requests.Session
    url: str

    @classmethod
    def connect(cls, kubeconfig: Path) -> Kube:
        """Read address, certificate and token from a kubeconfig."""
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        session = requests.Session()
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {user['token']}"
        session.verify = cluster.get("certificate-authority") or _file(cluster["certificate-authority-data"])
        return cls(session, cluster["server"])

    def get(self, kind: str, name: str, namespace: str = "default") -> Object | None:
        """One object, None when there is none."""
        response = self.session.get(self._path(kind, namespace, name), timeout=10)
        return None if response.status_code == 404 else _content(response)

    def list(self, kind: str, namespace: str = "default", **parameters: str) -> list[Object]:
        """Objects of a namespace; parameters such as labelSelector go to the API server."""
        response = self.session.get(self._path(kind, namespace), params=parameters, timeout=10)
        return cast("list[Object]", _content(response)["items"])

    def watch(self, kind: str, name: str, namespace: str = "default") -> Iterator[Object]:
        """One object as it stands, then again at each change, for ten minutes at most."""
        parameters = {"watch": "1", "fieldSelector": f"metadata.name={name}", "timeoutSeconds": "600"}
        path = self._path(kind, namespace)
        with self.session.get(path, params=parameters, stream=True, timeout=(10, 600)) as response:
            for line in response.iter_lines(chunk_size=None):
                yield json.loads(line)["object"]

    def apply(self, manifest: Object, namespace: str = "default") -> Object:
        """Server-side apply, as kubectl does it; a namespace in the manifest wins. Raises RefusedError."""
        metadata = manifest["metadata"]
        path = self._path(manifest["kind"], metadata.get("namespace", namespace), metadata["name"])
        parameters = {"fieldManager": "kubectl", "force": "true", "fieldValidation": "Strict"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        data = yaml.safe_dump(manifest)
        return _content(self.session.patch(path, data=data, params=parameters, headers=headers, timeout=10))

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """Delete one object in the background; one that is gone is fine."""
        self.session.delete(self._path(kind, namespace, name), params={"propagationPolicy": "Background"}, timeout=10)

    def _path(self, kind: str, namespace: str, name: str = "") -> str:
        plural = f"{kind.lower()}s"
        return f"{self.url}/{PREFIXES[kind]}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def _file(encoded: str) -> str:
    with tempfile.NamedTemporaryFile(suffix=".pem", delete=False) as file:
        file.write(b64decode(encoded))
    return file.name


def _content(response: requests.Response) -> Object:
    content = cast("Object", response.json())
    if response.status_code >= 400:
        raise RefusedError(content.get("message", response.text))
    return content
