"""A node agent of the tests' own beside the playground's: its nodes, its flags, and a hand to kill it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from playground import box, lifecycle
from playground.kube import Kube, Object
from playground.supervisor import environment

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

    from playground.state import State

FOREVER = "while true; do sleep 0.1; done"
STUBBORN = f"trap '' TERM; {FOREVER}"
_NODES = [
    {"name": name, "hostIP": f"10.0.9.{number}", "podNetwork": f"10.244.{90 + number}"}
    for number, name in enumerate(("lab", "lab-silent", "lab-gone"), 1)
]
_NEVER = "3600"
_LIMIT_SECONDS = 60


class NeverHappenedError(AssertionError):
    """What was waited for did not come about."""


@dataclass
class Lab:
    """Pods on the nodes ``lab``, ``lab-silent`` and ``lab-gone``, which belong to one agent process.

    Its ConfigMap lag is an hour: what arrives earlier was hastened.
    """

    state: State
    directory: Path
    kube: Kube = field(init=False)
    agent: subprocess.Popen[bytes] = field(init=False)

    def start(self) -> None:
        """Start the agent; its nodes are Ready when this returns."""
        self.kube = Kube.connect(self.state.host_kubeconfig)
        self.directory.mkdir(exist_ok=True)
        nodes = self.directory / "nodes.yaml"
        nodes.write_text(yaml.safe_dump(_NODES))
        argv = [
            sys.executable, "-m", "playground.node_agent", "--kubeconfig", str(self.state.kubeconfig("node-agent")),
            "--dir", str(self.directory), "--nodes", str(nodes), "--configmap-lag", _NEVER,
            "--restart-backoff", "0.2", "--offline-grace", "0",
        ]  # fmt: skip
        with (self.directory / "agent.log").open("ab") as log:
            env = environment(self.state, lifecycle.binaries())
            self.agent = subprocess.Popen(box.enter(self.state, argv), env=env, stdout=log, stderr=log)
        self.until("the node is ready", lambda: self.node_condition("lab", "Ready") == "True")

    def kill(self, number: signal.Signals) -> None:
        """Ends the agent itself, not only the program that entered the box for it."""
        inner = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()
        for pid in inner:
            os.kill(int(pid), number)
        self.agent.wait(_LIMIT_SECONDS)

    def until(self, what: str, condition: Callable[[], Any]) -> Any:
        """Poll until `condition` gives something true, and return that."""
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not (found := condition()):
            if time.monotonic() > deadline:
                log = (self.directory / "agent.log").read_text()[-3000:]
                raise NeverHappenedError(f"{what} never happened. The agent's log:\n{log}")
            time.sleep(0.1)
        return found

    def request(self, method: str, path: str, body: Object | None = None, kind: str = "application/json") -> Object:
        """One call to the API server; an object that does not exist is empty."""
        headers = {"Content-Type": kind}
        answer = self.kube.session.request(
            method, f"{self.kube.url}{path}", data=json.dumps(body), headers=headers, timeout=10
        )
        return {} if answer.status_code == 404 else cast("Object", answer.json())

    def merge(self, path: str, body: Object) -> Object:
        """A merge patch."""
        return self.request("PATCH", path, body, "application/merge-patch+json")

    def config_map(self, name: str, **data: str) -> None:
        """Make or change a ConfigMap."""
        self.kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})

    def pod(self, name: str, command: Sequence[str], *, node: str = "lab", **spec: Any) -> None:
        """Make a pod that runs `command`; other keywords are fields of its container or of its spec."""
        container = {key: spec.pop(key) for key in list(spec) if key in _OF_CONTAINER}
        main = {"name": "main", "image": "playground/exec", "command": [*command], **container}
        tolerations = [{"operator": "Exists"}]
        fields = {"nodeName": node, "terminationGracePeriodSeconds": 1, "tolerations": tolerations, **spec}
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name},
                "spec": {"containers": [main], **fields},
            }
        )

    def delete(self, name: str, **options: Any) -> None:
        """Delete a pod."""
        self.request("DELETE", f"/api/v1/namespaces/default/pods/{name}", options)

    def get(self, name: str) -> Object | None:
        """A pod as it is."""
        return self.kube.get("Pod", name)

    def container(self, name: str) -> Object:
        """The status of a pod's container, empty before it has one."""
        pod = self.get(name) or {}
        listed = pod.get("status", {}).get("containerStatuses") or [{}]
        return cast("Object", listed[0])

    def condition(self, name: str, kind: str = "Ready") -> str:
        """The status of a pod's condition, empty before it has one."""
        return _condition(self.get(name) or {}, kind)

    def node_condition(self, name: str, kind: str) -> str:
        """The status of a node's condition."""
        return _condition(self.request("GET", f"/api/v1/nodes/{name}"), kind)

    def running(self, name: str) -> Object | None:
        """A pod's container status if its process runs now."""
        status = self.container(name)
        return status if "running" in status.get("state", {}) else None

    def ready(self, name: str) -> None:
        """Wait until a pod is Ready."""
        self.until(f"{name} is ready", lambda: self.condition(name) == "True")

    def events(self, name: str, reason: str) -> list[str]:
        """The messages of a pod's events with `reason`."""
        found = self.kube.list("Event", fieldSelector=f"involvedObject.name={name},reason={reason}")
        return [event["message"] for event in found]

    def log(self, name: str) -> str:
        """What a pod's container has printed so far."""
        file = self.directory / "pods" / f"default_{name}" / "main.log"
        return file.read_text() if file.exists() else ""


_OF_CONTAINER = (
    "args", "env", "image", "lifecycle", "livenessProbe", "ports", "readinessProbe", "startupProbe",
    "terminationMessagePolicy", "volumeMounts",
)  # fmt: skip


def _condition(found: Object, kind: str) -> str:
    conditions = found.get("status", {}).get("conditions") or []
    return next((condition["status"] for condition in conditions if condition["type"] == kind), "")


def processes(marker: str) -> list[int]:
    """The processes of this machine that have `marker` among their arguments, whichever box they are in."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        if marker.encode() in words:
            found.append(int(entry.parent.name))
    return found


def sh(script: str, marker: str = "unmarked") -> list[str]:
    """A shell that runs `script`, and can be found by `marker`."""
    return ["sh", "-c", script, marker]
