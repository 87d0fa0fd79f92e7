"""The simulated cluster, put together: API server, controllers, nodes, gateway, users and Prometheus in virtual time.

Tests change it as people and bad luck would; `operator` reads and writes it. Its rules are checked all the while.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

from modelrollout.core.alerts import Alert
from modelrollout.core.names import ANNOTATION_REQUEST, Track
from modelrollout.core.route import canary_weight
from modelrollout.core.snapshot import Capacity
from modelrollout.errors import MetricsUnavailable, ServerUnavailable
from modelrollout.ports import Look
from tests.simulation.api import NAME, Api
from tests.simulation.clock import START, moment, stamp
from tests.simulation.pods import Pods
from tests.simulation.rules import TICK, Rules
from tests.simulation.servers import Disk
from tests.simulation.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from modelrollout.core.counters import Counters
    from modelrollout.core.model_config import ModelTarget
    from modelrollout.core.values import JSON
    from modelrollout.ports import MetricSource, Question
    from tests.simulation.api import Object
    from tests.simulation.pods import SimPod


@dataclass
class World:
    """All of it. `lag` is how many seconds late watches show what others did; `paused_since` is for spec.paused."""

    api: Api = field(default_factory=Api)
    disk: Disk = field(default_factory=Disk)
    traffic: Traffic = field(default_factory=Traffic)
    rules: Rules = field(default_factory=Rules)
    seconds: float = 0.0
    lag: float = 0.0
    paused_since: float = inf
    pods: Pods = field(init=False)

    def __post_init__(self) -> None:
        self.pods = Pods(self.disk)

    def fork(self) -> World:
        """The same world once more, for another future. Whoever watches it lists everything anew."""
        events, self.api.events = self.api.events, []
        shared: list[Any] = [*self.api.objects.values(), *(pod.template for pod in self.pods.all.values())]
        twin = deepcopy(self, {id(obj): obj for obj in shared})
        self.api.events = events
        return twin

    @property
    def spec(self) -> JSON:
        """What the user wishes."""
        spec: JSON = self.api.rollout["spec"]
        return spec

    @property
    def status(self) -> JSON:
        """What the operator says."""
        status: JSON = self.api.rollout.get("status", {})
        return status

    @property
    def stage(self) -> str:
        """The rollout's stage, empty when none is under way."""
        return str(self.status.get("rollout", {}).get("stage", ""))

    @property
    def weight(self) -> int | None:
        """The canary's share as the route says it."""
        route = self.api.find("HTTPRoute")
        return canary_weight(NAME, route) if route else None

    def now(self) -> datetime:
        """The clock."""
        return moment(self.seconds)

    # What users do

    def create(self, spec: JSON) -> None:
        """Apply the ModelRollout."""
        self.api.store("ModelRollout", {"metadata": {"name": NAME}, "spec": spec}, self.seconds)

    def edit(self, version: int) -> None:
        """Change the version in spec."""
        self.change("model", version=version)

    def change(self, section: str, **fields: Any) -> None:
        """Change fields in one section of spec."""
        spec = {**self.spec, section: {**self.spec[section], **fields}}
        if spec != self.spec:
            self.api.store("ModelRollout", {**self.api.rollout, "spec": spec}, self.seconds)

    def pause(self, paused: bool) -> None:
        """Set spec.paused."""
        self.paused_since = self.seconds if paused else inf
        self.api.store("ModelRollout", {**self.api.rollout, "spec": {**self.spec, "paused": paused}}, self.seconds)

    def request(self, token: str) -> None:
        """Annotate the ModelRollout with a request."""
        owned: JSON = {"f:metadata": {"f:annotations": {f"f:{ANNOTATION_REQUEST}": {}}}}
        entry = {"manager": "tester", "time": stamp(self.seconds), "fieldsV1": owned}
        metadata = {
            **self.api.rollout["metadata"],
            "annotations": {ANNOTATION_REQUEST: token},
            "managedFields": [entry],
        }
        self.api.store("ModelRollout", {**self.api.rollout, "metadata": metadata}, self.seconds)

    # What happens to pods

    def crash(self, track: Track, which: int = 0) -> None:
        """A container exits and is started again."""
        for pod in self.pods.of(track)[which : which + 1]:
            self.rules.disturbed = True
            pod.crash(self.seconds)

    def lose(self, track: Track, which: int = 0) -> None:
        """A pod is deleted by somebody; its Deployment makes another."""
        for pod in self.pods.of(track)[which : which + 1]:
            self.rules.disturbed = True
            pod.ends_at = self.seconds

    def fetch(self) -> None:
        """Every node takes in its ConfigMaps now, as each does now and then."""
        for pod in self.pods.all.values():
            pod.config_read = -1000.0

    # What the operator does

    def apply(self, manifest: JSON, uid: str | None) -> Object:
        """Server-side apply."""
        name = manifest["metadata"]["name"]
        self.api.check_apply(manifest, uid)
        if manifest["kind"] == "HTTPRoute":
            self.rules.before_route(self, manifest)
        if manifest["kind"] == "ConfigMap":
            self.rules.before_config(self, name, manifest)
        return self.api.apply(manifest, uid, self.seconds)

    def write_status(self, seen: JSON, status: JSON) -> Object:
        """Replace status."""
        self.api.check_status(seen)
        self.rules.before_status(self, status)
        return self.api.write_status(seen, status, self.seconds)

    def annotate(self, name: str, key: str, value: str) -> Object | None:
        """Annotate a pod, which makes its node fetch the ConfigMap now; one that is gone is fine."""
        pod = next((pod for pod in self.pods.all.values() if pod.name == name), None)
        if pod is None:
            return None
        self.api.admit("Pod")
        pod.annotations[key] = value
        pod.config_read = -1000.0
        return self._show(pod)

    def delete(self, kind: str, name: str, uid: str) -> None:
        """Delete that very object."""
        self.rules.before_delete(self, kind, name)
        if kind == "Pod":
            self.pods.all[uid].ends_at = self.seconds
            return
        self.api.delete(kind, name, uid, self.seconds)

    def reload(self, ip: str, target: ModelTarget) -> None:
        """Send a server its configuration. Raises ReloadRefused, and ServerUnavailable for one that is not there."""
        pod = self.at(ip)
        if pod is None or not pod.up or pod.silent:
            raise ServerUnavailable("nobody listens")
        self.rules.before_reload(self, pod, target)
        pod.server.reload(target, self.seconds)

    def at(self, ip: str) -> SimPod | None:
        """The pod with an address."""
        return next((pod for pod in self.pods.all.values() if pod.address == ip), None)

    def capacity(self) -> Capacity:
        """Room on the nodes."""
        return Capacity(self.pods.free, f"{self.pods.free} free")

    async def look(self, _source: MetricSource, question: Question, at: datetime) -> Look:
        """As ports.Metrics."""
        if self.traffic.prometheus == "away":
            raise MetricsUnavailable("no answer")
        firing = tuple(Alert(labels) for labels in self.traffic.firing) if question.alerts else ()
        return Look(self._read(question, at), {past: self._read(question, past) for past in question.before}, firing)

    def _read(self, question: Question, moment: datetime) -> dict[str, Counters]:
        return self.traffic.counters(self.pods, question.pods, (moment - START).total_seconds())

    async def query(self, _source: MetricSource, _promql: str, _at: datetime) -> tuple[float, ...]:
        """As ports.Metrics."""
        raise MetricsUnavailable("not simulated")

    async def series(self, _source: MetricSource, _promql: str, at: datetime) -> list[tuple[Mapping[str, str], float]]:
        """As ports.Metrics: what servers predicted, by class."""
        if self.traffic.prometheus == "away":
            raise MetricsUnavailable("no answer")
        return self.traffic.classes(self.pods, (at - START).total_seconds())

    # Time

    def tick(self) -> None:
        """Let a moment pass: controllers, nodes, gateway, users; then the rules look."""
        self.seconds += TICK
        self._nodes()
        route = self.api.find("HTTPRoute")
        news = self.traffic.accept(route, self.seconds)
        if route is not None and news is not None:
            self.api.store("HTTPRoute", {**route, "status": news}, self.seconds)
        if "stable" in self.status:
            self.traffic.advance(self.pods, TICK, self.seconds)
        self.rules.after_tick(self)

    def _nodes(self) -> None:
        for track in Track:
            self.pods.follow(track, self.api.find("Deployment", f"{NAME}-{track}"), self.seconds)
        objects = self.api.objects.items()
        maps = ((name, o) for (kind, name), o in objects if kind == "ConfigMap" and "models.config" in o["data"])
        before = {pod.name for pod in self.pods.all.values()}
        self.pods.advance(self.seconds, {name: o["data"]["models.config"] for name, o in maps})
        for pod in self.pods.all.values():
            self._show(pod)
        for name in before - {pod.name for pod in self.pods.all.values()}:
            self.api.remove("Pod", name, self.seconds)

    def _show(self, pod: SimPod) -> Object:
        """Keep what the API server says of a pod up to date."""
        raw, known = pod.raw(), self.api.find("Pod", pod.name)
        marks = ("annotations", "deletionTimestamp")
        if known is None or known["status"] != raw["status"]:
            return self.api.store("Pod", raw, self.seconds)
        same = all(raw["metadata"].get(mark) == known["metadata"].get(mark) for mark in marks)
        return known if same else self.api.store("Pod", raw, self.seconds)
