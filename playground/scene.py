"""One ModelRollout in a playground, with its models and its users: what the demo shows and the tests check."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests

from playground import box, gateway, lifecycle
from playground.box import API_ADDRESS
from playground.kube import Kube, Object
from playground.load.records import Answer, read_records
from playground.models.publish import make_version
from playground.supervisor import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playground.state import State

_POLL_SECONDS = 0.1
_KNOCK = """
import sys, time, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
request = urllib.request.Request(sys.argv[1], headers={"Host": sys.argv[2]})
good, until = 0, time.monotonic() + 20
while good < 3 and time.monotonic() < until:
    try:
        with direct.open(request, timeout=2):
            good += 1
    except OSError:
        good = 0
    time.sleep(0.05)
"""
"""Asks for the model's status through the gateway until it is told three times in a row, for 20 s at most."""
_ASK = """
import json, sys, urllib.error, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
headers = {"Host": sys.argv[2], "Content-Type": "application/json"}
request = urllib.request.Request(sys.argv[1], b'{"instances": [1.0]}', headers)
try:
    with direct.open(request, timeout=10) as response:
        print(json.load(response)["predictions"][0]["version"])
except urllib.error.HTTPError as error:
    print(error)
"""
"""Asks for one prediction; prints the version that answered, or what the gateway said instead."""
_GATEWAY = {"name": "inference", "namespace": "default"}


class NeverHappenedError(AssertionError):
    """What was waited for did not come about; the message shows how things stand."""


@dataclass
class Traffic:
    """Users at work; `answers` can be read at any time."""

    records: Path

    def answers(self) -> list[Answer]:
        """Every answer so far."""
        return read_records(self.records) if self.records.exists() else []


@dataclass
class Scene:
    """A named rollout with a directory of models and a host name of its own."""

    state: State
    name: str
    namespace: str = "default"
    kube: Kube = field(init=False)

    def __post_init__(self) -> None:
        """Connect to the playground, which has to be up."""
        self.kube = Kube.connect(self.state.host_kubeconfig)

    @property
    def models(self) -> Path:
        """This rollout's model directory, on the host."""
        return self.state.models / self.name

    @property
    def host(self) -> str:
        """The host name that its requests carry."""
        return f"{self.name}.models.example.com"

    def publish(self, *versions: int) -> None:
        """Make good versions, unless they are there."""
        for version in versions:
            if not (self.models / str(version)).exists():
                make_version(self.models, version)

    def misbehave(self, faults: dict[str, Any]) -> None:
        """Give versions faults (the format is in playground/model_server/faults.py); `{}` heals them."""
        target = self.models / "faults.json"
        scratch = target.with_suffix(".new")
        scratch.write_text(json.dumps(faults))
        scratch.rename(target)

    def rollout(self) -> Object:
        """The object as it stands."""
        found = self.kube.get("ModelRollout", self.name, self.namespace)
        assert found is not None, f"{self.name} is gone"
        return found

    def status(self) -> Object:
        """Its status, empty before the operator has written one."""
        status: Object = self.rollout().get("status", {})
        return status

    def wait(self, what: str, condition: Callable[[Object], Any], seconds: float = 90) -> Object:
        """Poll the status until the condition holds. The limit only ends a wait that would never end."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.status()
            if condition(status):
                return status
            if time.monotonic() > deadline:
                raise NeverHappenedError(f"{self.name}: {what} never happened. Status:\n{json.dumps(status, indent=2)}")
            time.sleep(_POLL_SECONDS)

    def weight(self) -> int | None:
        """The canary's share in the route, None when there is no route."""
        route = self.kube.get("HTTPRoute", self.name, self.namespace)
        if route is None:
            return None
        backends = route["spec"]["rules"][0]["backendRefs"]
        return next(int(item["weight"]) for item in backends if item["name"].endswith("-canary"))

    def pods(self, track: str) -> list[Object]:
        """The pods of one track."""
        selector = f"modelrollout.io/rollout={self.name},modelrollout.io/track={track}"
        return self.kube.list("Pod", self.namespace, labelSelector=selector)

    def scraped(self, track: str) -> bool:
        """Whether Prometheus reads every pod of the track."""
        url = f"{self.state.read_info()['prometheus']}/api/v1/query"
        query = f'up{{namespace="{self.namespace}",pod=~"{self.name}-.*"}} == 1'
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(url, params={"query": query}, timeout=10).json()
        read = {item["metric"]["pod"] for item in answer["data"]["result"]}
        return read >= {pod["metadata"]["name"] for pod in self.pods(track)}

    def ask_by_hand(self, label: str) -> str:
        """The version that answers a request for this label, or the gateway's words if none does."""
        url = f"http://{API_ADDRESS}:{gateway.PORT}/v1/models/{self.name}/labels/{label}:predict"
        argv = [sys.executable, "-c", _ASK, url, self.host]
        return subprocess.run(box.enter(self.state, argv), check=True, capture_output=True, text=True).stdout.strip()

    @contextmanager
    def traffic(self, rate: float = 30) -> Iterator[Traffic]:
        """Users over REST and gRPC, from inside the box, until the block ends; then every answer is in.

        They come once the gateway sends requests to the model at all: on a busy machine its proxies take in a new route
        seconds after it said that it accepted it. One that never does is not waited for without end.
        """
        argv = [sys.executable, "-c", _KNOCK, f"http://{API_ADDRESS}:{gateway.PORT}/v1/models/{self.name}", self.host]
        subprocess.run(box.enter(self.state, argv), check=True)
        records = self.state.dir / f"answers-{self.name}-{time.monotonic_ns()}.ndjson"
        argv = [
            sys.executable, "-m", "playground.load", "--attached", "--host", self.host, "--model", self.name,
            "--rest", f"http://{API_ADDRESS}:{gateway.PORT}", "--grpc", f"{API_ADDRESS}:{gateway.PORT}",
            "--rate", str(rate), "--records", str(records), "--report", "/dev/null",
        ]  # fmt: skip
        env = environment(self.state, lifecycle.binaries())
        with subprocess.Popen(box.enter(self.state, argv), env=env, stdin=subprocess.PIPE) as process:
            try:
                yield Traffic(records)
            finally:
                assert process.stdin is not None
                process.stdin.close()
                process.wait(30)

    def manifest(self, version: int, **spec: Any) -> Object:
        """A ModelRollout with quick steps; keyword arguments replace whole fields of `spec`."""
        fields = {
            "model": {"basePath": f"/models/{self.name}", "version": version},
            "serving": {
                "image": "tensorflow/serving:2.20.0",
                "replicas": 2,
                "storage": {"hostPath": {"path": "/models", "type": "Directory"}},
                # No server is restarted because its machine is busy, or its port closed for a while.
                "pod": {"terminationGracePeriod": "1s", "probes": {"liveness": {"failureThreshold": 30}}},
            },
            "traffic": {"gatewayAPI": {"parentRefs": [_GATEWAY], "hostnames": [self.host]}},
            "strategy": {
                "steps": [{"weight": 20, "duration": "4s"}, {"weight": 50, "duration": "4s"}],
                "canaryReadyDeadline": "60s",
                "drainDuration": "1s",
                "bake": {"duration": "4s"},
            },
            "analysis": {
                "prometheus": {"address": "http://10.0.0.1:9090", "timeout": "2s"},
                "interval": "1s",
                "metrics": [
                    {
                        "name": "error-rate", "kind": "ErrorRate", "window": "5s", "minRequests": 10,
                        "limits": {"maxRatioToStable": "2", "maxIfStableZero": "0.05"},
                    },
                ],
            },
        }  # fmt: skip
        return {
            "apiVersion": "modelrollout.io/v1alpha1",
            "kind": "ModelRollout",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {**fields, **spec},
        }
