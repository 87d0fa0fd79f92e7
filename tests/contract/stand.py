"""Operators on a bare API server, each behind a lane of the interference: what they see and do when that misbehaves.

Nothing runs pods here and no gateway accepts routes; ModelRollouts stay in their first phase. That an operator sees and
acts is known by a request for a fresh look, which it answers in the status.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import yaml

from modelrollout.core.names import ANNOTATION_RECONCILE
from playground.interference import Lane
from playground.kube import Kube
from playground.paths import PYTHONPATH
from tests.golden.kubectl import kubeconfig_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.contract.conftest import Rollouts

NEVER = 45.0
"""Seconds after which nothing comes any more, on however busy a machine."""
_START_SECONDS = 240.0
"""The same for one that has to start first."""
_POLL_SECONDS = 0.1
_APPLY = {"fieldManager": "test", "force": "true"}
_HTTP_ROUTES: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {
        "name": "httproutes.gateway.networking.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in of tests"},
    },
    "spec": {
        "group": "gateway.networking.k8s.io",
        "scope": "Namespaced",
        "names": {"kind": "HTTPRoute", "plural": "httproutes", "singular": "httproute", "listKind": "HTTPRouteList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }
        ],
    },
}


@dataclass(frozen=True)
class Stand:
    """The API server as an administrator sees it, and the interference before it."""

    kube: Kube
    folder: Path
    kubeconfig: dict[str, Any]
    address: str

    def lane(self, name: str) -> Lane:
        """A way through, with a kubeconfig that leads there."""
        made = Lane(name, self.folder, f"{self.address}/api/{name}", f"{self.address}/prometheus/{name}")
        reached = [{"name": "test", "cluster": {"server": made.api}}]
        made.kubeconfig.write_text(yaml.safe_dump({**self.kubeconfig, "clusters": reached}))
        return made

    def make_namespace(self, name: str, **labels: str) -> None:
        """One more, or other labels for one that is there."""
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.patch(f"api/v1/namespaces/{name}", body)

    def make_rollout(self, name: str, namespace: str) -> None:
        """A ModelRollout that waits for its first pods for ever."""
        self.kube.apply(
            {
                "apiVersion": "modelrollout.io/v1alpha1",
                "kind": "ModelRollout",
                "metadata": {"name": name, "namespace": namespace},
                "spec": {
                    "model": {"basePath": f"/models/{name}", "version": 1},
                    "serving": {
                        "image": "tensorflow/serving:2.20.0",
                        "replicas": 1,
                        "storage": {"hostPath": {"path": "/models", "type": "Directory"}},
                    },
                    "traffic": {
                        "gatewayAPI": {"parentRefs": [{"name": "inference"}], "hostnames": [f"{name}.{namespace}.test"]}
                    },
                    "strategy": {"steps": [{"weight": 50, "duration": "10m"}]},
                },
            }
        )

    def wish(self, name: str, namespace: str, token: str) -> None:
        """Ask for a fresh look."""
        body = {"apiVersion": "modelrollout.io/v1alpha1", "kind": "ModelRollout"}
        metadata = {"name": name, "namespace": namespace, "annotations": {ANNOTATION_RECONCILE: token}}
        self.patch(
            f"apis/modelrollout.io/v1alpha1/namespaces/{namespace}/modelrollouts/{name}", {**body, "metadata": metadata}
        )

    def wait_until_granted(self, name: str, namespace: str, token: str, never: float = NEVER) -> float:
        """Seconds that it took."""
        since = time.monotonic()
        while self.granted(name, namespace) != token:
            assert time.monotonic() - since < never, f"{token!r} was never seen"
            time.sleep(_POLL_SECONDS)
        return time.monotonic() - since

    def granted(self, name: str, namespace: str) -> str:
        """The last wish that was granted, empty when none was."""
        found = self.kube.get("ModelRollout", name, namespace) or {}
        return str(found.get("status", {}).get("lastHandledReconcileAt", ""))

    def patch(self, path: str, body: dict[str, Any]) -> None:
        """Server-side apply of a test's own."""
        headers = {"Content-Type": "application/apply-patch+yaml"}
        answer = self.kube.session.patch(
            f"{self.kube.url}/{path}", json=body, params=_APPLY, headers=headers, timeout=10
        )
        answer.raise_for_status()


@contextmanager
def standing(rollouts: Rollouts, folder: Path) -> Iterator[Stand]:
    """The interference before the API server of these tests, until the block ends."""
    kubeconfig = kubeconfig_of(rollouts)
    host = kubeconfig["clusters"][0]["cluster"]
    admin = folder / "admin.kubeconfig"
    admin.write_text(yaml.safe_dump(kubeconfig))
    argv = [sys.executable, "-m", "playground.interference", "--dir", str(folder)]
    argv += ["--upstream", f"api={host['server']}", "--ca", host["certificate-authority"]]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={"PYTHONPATH": PYTHONPATH}) as running:
        while not (folder / "port").exists():
            assert running.poll() is None
            time.sleep(_POLL_SECONDS)
        address = f"http://127.0.0.1:{(folder / 'port').read_text()}"
        made = Stand(Kube.connect(admin), folder, kubeconfig, address)
        made.patch(
            "apis/apiextensions.k8s.io/v1/customresourcedefinitions/" + _HTTP_ROUTES["metadata"]["name"], _HTTP_ROUTES
        )
        yield made
        made.kube.session.close()
        assert running.stdin is not None
        running.stdin.close()
        running.wait(20)


@dataclass
class Process:
    """An operator, and where it serves its health."""

    running: subprocess.Popen[bytes]
    log: Path
    health: str

    def told(self, path: str) -> tuple[int, str]:
        """What it answers there; 0 when nobody listens."""
        try:
            answer = requests.get(f"{self.health}{path}", timeout=10)
        except requests.ConnectionError:
            return 0, ""
        return answer.status_code, answer.text


@contextmanager
def operating(lane: Lane, *flags: str) -> Iterator[Process]:
    """An operator behind the lane, killed at the end of the block if it still runs."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{made.getsockname()[1]}"
    argv = [sys.executable, "-m", "modelrollout", "run", "--kubeconfig", str(lane.kubeconfig)]
    argv += ["--health-address", address, *flags]
    with lane.log.open("ab") as log:
        running = subprocess.Popen(argv, env={"PYTHONPATH": PYTHONPATH}, stdin=subprocess.DEVNULL, stderr=log)
        try:
            yield Process(running, lane.log, f"http://{address}")
        finally:
            running.kill()
            running.wait()


@dataclass(frozen=True)
class Subject:
    """An operator that works, and its only ModelRollout, which is called as its namespace and its lane are."""

    stand: Stand
    lane: Lane
    process: Process
    name: str

    def change(self, token: str) -> float:
        """Change the object; seconds until the operator has acted on it."""
        self.stand.wish(self.name, self.name, token)
        return self.stand.wait_until_granted(self.name, self.name, token)

    def granted(self) -> str:
        """The last wish that was granted."""
        return self.stand.granted(self.name, self.name)


@contextmanager
def operating_alone(stand: Stand, name: str) -> Iterator[Subject]:
    """An operator with a namespace of its own, named after a test. It has acted once."""
    name = "b" + "".join(letter for letter in name.lower() if letter.isalnum())[-40:]
    stand.make_namespace(name)
    stand.make_rollout(name, name)
    lane = stand.lane(name)
    with operating(lane, "--namespace", name, "--lease-namespace", name) as process:
        made = Subject(stand, lane, process, name)
        stand.wish(name, name, "at the start")
        stand.wait_until_granted(name, name, "at the start", _START_SECONDS)
        yield made
