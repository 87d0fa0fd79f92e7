"""The simulated cluster: objects, pods, gateway, users and Prometheus, in virtual time.

It also keeps the safety rules of docs/design.md: every write is checked when it happens.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import ceil, inf
from typing import TYPE_CHECKING, Any

from modelrollout.core.counters import Counters
from modelrollout.core.names import ANNOTATION_ABORT, LABEL_TRACK, Track
from modelrollout.core.route import canary_weight
from modelrollout.core.snapshot import Capacity
from modelrollout.errors import MetricsUnavailable
from tests.simulation.servers import SimServer

if TYPE_CHECKING:
    from modelrollout.core.values import JSON
    from modelrollout.ports import MetricSource

START = datetime(2026, 1, 1, tzinfo=UTC)
NAME = "recsys"
_RATE = 200.0

Object = dict[str, Any]


class BrokenRuleError(AssertionError):
    """A safety rule did not hold."""


@dataclass
class SimPod:
    """A pod and its server."""

    name: str
    uid: str
    track: Track
    born: float
    server: SimServer
    up: bool = False
    exited: float | None = None
    samples: list[tuple[float, Counters]] = field(default_factory=list)

    def ready(self) -> bool:
        """Up, and something is servable."""
        return self.up and bool(self.server.available)


@dataclass
class World:
    """All of it. `seconds` is virtual time; `bad` versions fail every second request."""

    spec: Object
    seconds: float = 0.0
    published: set[int] = field(default_factory=lambda: {101, 102, 103, 104})
    bad: set[int] = field(default_factory=set)
    prometheus: bool = True
    gateway_delay: float = 0.2
    objects: dict[tuple[str, str], Object] = field(default_factory=dict)
    pods: dict[str, SimPod] = field(default_factory=dict)
    status: Object = field(default_factory=dict)
    generation: int = 1
    accepted: tuple[int, float] = (0, 0.0)
    counter: int = 0
    aborted: set[int] = field(default_factory=set)
    steps: list[tuple[int, int]] = field(default_factory=list)
    answered: Counter[int | None] = field(default_factory=Counter)

    def now(self) -> datetime:
        """The clock."""
        return START + timedelta(seconds=self.seconds)

    # What the operator sees

    def rollout(self) -> Object:
        """The ModelRollout."""
        metadata = {"name": NAME, "namespace": "default", "uid": "u-1", "generation": self.generation}
        return {"metadata": metadata, "spec": self.spec, "status": self.status}

    def seen(self) -> list[Object]:
        """Children and pods."""
        return [*self.objects.values(), *(self._pod_json(pod) for pod in self.pods.values())]

    def capacity(self) -> Capacity:
        """There is always room."""
        return Capacity(8)

    async def counters(
        self, _source: MetricSource, _namespace: str, _model: str, pods: tuple[str, ...], at: datetime
    ) -> dict[str, Counters]:
        """As ports.Metrics."""
        if not self.prometheus:
            raise MetricsUnavailable("no answer")
        moment = (at - START).total_seconds()
        found = {}
        for pod in self.pods.values():
            samples = [counters for taken, counters in pod.samples if taken <= moment]
            if pod.name in pods and samples:
                found[pod.name] = samples[-1]
        return found

    async def query(self, _source: MetricSource, _promql: str, _at: datetime) -> tuple[float, ...]:
        """As ports.Metrics."""
        raise MetricsUnavailable("not simulated")

    # What users do

    def edit(self, version: int) -> None:
        """Change the version in spec."""
        if self.spec["model"]["version"] != version:
            self.generation += 1
            self.spec = {**self.spec, "model": {**self.spec["model"], "version": version}}

    # What the operator writes

    def apply(self, manifest: JSON) -> None:
        """Server-side apply; generation rises when spec or data changes."""
        key = (manifest["kind"], manifest["metadata"]["name"])
        old = self.objects.get(key, {"metadata": {"generation": 0, "uid": self._uid()}})
        content = {k: v for k, v in manifest.items() if k != "metadata"}
        changed = content != {k: v for k, v in old.items() if k not in {"metadata", "status"}}
        metadata = {**manifest["metadata"], "uid": old["metadata"]["uid"]}
        metadata["generation"] = old["metadata"]["generation"] + changed
        new = {**content, "metadata": metadata}
        if manifest["kind"] == "HTTPRoute":
            self._check_route(old, new)
        if key == ("ConfigMap", f"{NAME}-stable"):
            self._check_config(new)
        self.objects[key] = new

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        self.objects.pop((kind, name), None)

    def write_status(self, status: Object) -> None:
        """Replace status."""
        rollout = status.get("rollout")
        if rollout and rollout["stage"] == "RollingBack":
            self._require(self.weight() in {0, None}, "weight 0 comes before the status that announces the rollback")
            self.aborted.add(rollout["attempt"])
        if rollout and rollout["stage"] == "Progressing":
            self._check_step(rollout["attempt"], rollout["step"])
        self.status = status

    def weight(self) -> int | None:
        """The canary's share as the route says it."""
        route = self.objects.get(("HTTPRoute", NAME))
        return canary_weight(NAME, route) if route else None

    # Time

    def advance(self, seconds: float) -> None:
        """Let time pass in small pieces: controllers, servers, gateway, users, scrapes."""
        end = self.seconds + seconds
        while self.seconds < end:
            self.seconds = round(self.seconds + 0.25, 6)
            self._deployments()
            for pod in self.pods.values():
                pod.server.advance(self.seconds)
                if not pod.up and self.seconds >= pod.born + 1:
                    pod.up = True
                    pod.server.start(self.objects[("ConfigMap", f"{NAME}-{pod.track}")]["data"]["models.config"])
            self._gateway()
            self._users(0.25)

    def _deployments(self) -> None:
        for track in Track:
            deployment = self.objects.get(("Deployment", f"{NAME}-{track}"))
            wanted = deployment["spec"]["replicas"] if deployment else 0
            mine = [pod for pod in self.pods.values() if pod.track is track]
            for pod in mine[wanted:]:
                del self.pods[pod.uid]
            for _ in range(wanted - len(mine)):
                uid = self._uid()
                self.pods[uid] = SimPod(f"{NAME}-{track}-{uid}", uid, track, self.seconds, SimServer(self.published))

    def _gateway(self) -> None:
        route = self.objects.get(("HTTPRoute", NAME))
        if route is None:
            return
        generation = route["metadata"]["generation"]
        if self.accepted[0] != generation:
            self.accepted = (generation, self.seconds)
        if self.seconds >= self.accepted[1] + self.gateway_delay:
            conditions = [
                {"type": kind, "status": "True", "observedGeneration": generation}
                for kind in ("Accepted", "ResolvedRefs")
            ]
            parent = {"parentRef": {"name": "inference"}, "conditions": conditions}
            self.objects[("HTTPRoute", NAME)] = {**route, "status": {"parents": [parent]}}

    def _users(self, seconds: float) -> None:
        weight = self.weight() or 0
        for track, share in ((Track.CANARY, weight), (Track.STABLE, 100 - weight)):
            ready = [pod for pod in self.pods.values() if pod.track is track and pod.ready()]
            for pod in ready:
                count = _RATE * seconds * share / 100 / len(ready)
                version = pod.server.answers_with
                self.answered[version] += round(count)
                before = pod.samples[-1][1] if pod.samples else Counters()
                wrong = count / 2 if version in self.bad else 0.0
                good = before.good + count - wrong
                pod.samples.append((self.seconds, Counters(before.bad + wrong, {10_000.0: good, inf: good})))

    # The rules

    def _require(self, holds: bool, rule: str) -> None:
        if not holds:
            raise BrokenRuleError(f"{rule} (at {self.seconds} s, status {self.status.get('rollout')})")

    def _check_route(self, old: Object, new: Object) -> None:
        before, after = canary_weight(NAME, old) or 0, canary_weight(NAME, new) or 0
        if ANNOTATION_ABORT in new["metadata"].get("annotations", {}) and before > 0:
            self.aborted.add(self.status["rollout"]["attempt"])
        if after > before:
            rollout = self.status["rollout"]
            self._require(rollout["attempt"] not in self.aborted, "no weight rises again after an abort lowered it")
            self._require(rollout["stage"] in {"Progressing", "Promoting"}, "weight rises only while progressing")
            version = self.status["canary"]["version"]
            ready = [p for p in self.pods.values() if p.track is Track.CANARY and p.ready()]
            answering = [pod for pod in ready if version in pod.server.available]
            needed = max(1, ceil(self.spec["serving"]["replicas"] * after / 100))
            self._require(len(answering) >= needed, "weight rises only to a canary that answers and is large enough")

    def _check_config(self, new: Object) -> None:
        """The file that a restarted pod comes up with never runs ahead of what every pod has."""
        versions = {int(v) for v in re.findall(r"versions: (\d+)", new["data"]["models.config"])}
        stable = self.status.get("stable", {}).get("version")
        for version in versions - {stable}:
            if stable is not None:
                pods = [pod for pod in self.pods.values() if pod.track is Track.STABLE]
                self._require(all(version in pod.server.available for pod in pods), "the ConfigMap ran ahead")

    def _check_step(self, attempt: int, step: int) -> None:
        mine = [known for tried, known in self.steps if tried == attempt]
        last = mine[-1] if mine else 0
        self._require(step in {last, last + 1}, f"step {last} is followed by itself or the next, not {step}")
        self.steps.append((attempt, step))

    def check_servers(self) -> None:
        """Stable pods always have the stable version until the bake is over; at most one of them changes at a time."""
        stable = self.status.get("stable", {}).get("version")
        rollout = self.status.get("rollout")
        if stable is None or rollout is None:
            return
        pods = [pod for pod in self.pods.values() if pod.track is Track.STABLE and pod.up]
        self._require(all(stable in pod.server.available for pod in pods), "stable pods keep the stable version")
        version = self.status["canary"]["version"]
        if rollout["stage"] == "Promoting":
            changing = [
                pod
                for pod in pods
                if version in pod.server.wanted
                and not (version in pod.server.available and pod.server.labels.get("stable") == version)
            ]
            self._require(len(changing) <= 1, "at most maxParallel pods change at a time")
        if rollout["stage"] in {"Preparing", "Progressing"}:
            self._require(
                all(version not in pod.server.wanted for pod in pods), "no stable pod changes before promotion"
            )

    def _uid(self) -> str:
        self.counter += 1
        return f"{self.counter:04d}"

    def _pod_json(self, pod: SimPod) -> Object:
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": _time(pod.born)},
            {"type": "Ready", "status": "True" if pod.ready() else "False"},
        ]
        container: Object = {"restartCount": 0}
        if pod.exited is not None:
            ended = {"exitCode": 139, "message": "crash", "finishedAt": _time(pod.exited)}
            container["lastState"] = {"terminated": ended}
        return {
            "kind": "Pod",
            "metadata": {"name": pod.name, "uid": pod.uid, "labels": {LABEL_TRACK: str(pod.track)}},
            "status": {"podIP": f"10.0.0.{pod.uid}", "conditions": conditions, "containerStatuses": [container]},
        }


def _time(seconds: float) -> str:
    """A moment of virtual time as the API server writes it: whole seconds."""
    return (START + timedelta(seconds=seconds)).isoformat(timespec="seconds")
