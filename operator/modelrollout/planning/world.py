"""A cluster in memory that does at once what the operator decides. Called by `simulate`; virtual time, no I/O.

Gateways, controllers and model servers are perfect here: what goes wrong is what the versions do, as the scenario says.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from modelrollout.core import names
from modelrollout.core.actions import Action, Annotate, Apply, Delete, Emit, Reload
from modelrollout.core.analysis import Analysed
from modelrollout.core.judge.memory import Memory
from modelrollout.core.names import Track
from modelrollout.core.pods import counts_as_new
from modelrollout.core.revisions import Revision, revision_of
from modelrollout.core.route import canary_weight
from modelrollout.core.snapshot import Capacity, Child, Pod, Route, RouteParent, Snapshot
from modelrollout.core.spec import MetricKind, Spec
from modelrollout.core.spec_json import parse_spec
from modelrollout.core.status import Status
from modelrollout.core.values import JSON
from modelrollout.planning.pods import SimulatedPod, configured, mounted, template_of
from modelrollout.planning.scenario import Scenario
from modelrollout.planning.traffic import Answering, Users

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""When the simulated rollout begins."""
LONGEST_LOOK = 10.0
"""Seconds between two samples of Prometheus at most."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that people would have read: seconds since the rollout began, reason and message."""

    at: float
    reason: str
    message: str


@dataclass
class World:
    """Objects, pods and route of one ModelRollout. `seconds` counts from when the new version was asked for."""

    name: str
    raw: JSON
    users: Users
    seconds: float
    spec: Spec = field(init=False)
    target: Revision = field(init=False)
    loads: bool = True
    status: Status = field(default_factory=Status)
    children: dict[tuple[str, str], Child] = field(default_factory=dict)
    pods: list[SimulatedPod] = field(default_factory=list)
    gone: list[SimulatedPod] = field(default_factory=list)
    route: Route | None = None
    analysed: Analysed | None = None
    stored: Memory | None = None
    told: list[Happening] = field(default_factory=list)
    _made: dict[Track, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ask_for(self.raw)

    def ask_for(self, raw: JSON) -> None:
        """Somebody changes `spec`. Whoever has to approve a step does so at once: nobody is simulated who ponders."""
        spec = parse_spec(raw, self.name)
        steps = tuple(replace(step, manual=False) for step in spec.strategy.steps)
        self.spec = replace(spec, paused=False, strategy=replace(spec.strategy, steps=steps))
        self.raw, self.target = raw, revision_of(raw)

    @property
    def now(self) -> datetime:
        """The time there."""
        return EPOCH + timedelta(seconds=self.seconds)

    @property
    def weight(self) -> int:
        """The canary's share in percent."""
        return (self.route.weight or 0) if self.route else 0

    def snapshot(self) -> Snapshot:
        """What the operator sees."""
        revisions = {
            name.removeprefix(f"{self.name}-"): Revision(name.removeprefix(f"{self.name}-"), found.raw["data"])
            for (kind, name), found in self.children.items()
            if kind == "ControllerRevision"
        }
        return Snapshot(
            now=self.now,
            name=self.name,
            namespace="simulated",
            uid=self.name,
            generation=1,
            spec=self.spec,
            target=self.target,
            status=self.status,
            revisions=revisions,
            children=self.children,
            pods=tuple(pod.seen() for pod in self.pods),
            route=self.route,
            capacity=Capacity(None),
            analysed=self.analysed,
            stored=self.stored if self.status.rollout else None,
        )

    def pass_time(self, until: float) -> None:
        """Users send requests until then."""
        while self.seconds < until:
            begins, self.seconds = self.seconds, min(until, self.seconds + LONGEST_LOOK)
            answering = self._answering()
            found = self.users.send(begins, self.seconds, answering)
            for pod in self.pods:
                if pod.name in found:
                    pod.answered(found[pod.name], self.now.timestamp())

    def _answering(self) -> list[Answering]:
        """Who gets requests, and which part of them."""
        snapshot, sizes = self.snapshot(), Counter(pod.track for pod in self.pods)
        found = []
        for pod, seen in zip(self.pods, snapshot.pods, strict=True):
            share = self.weight / 100 if pod.track is Track.CANARY else 1 - self.weight / 100
            new = pod.track is Track.CANARY or _promoted(snapshot, seen)
            found.append(Answering(pod.name, pod.track, pod.number, new, share / sizes[pod.track]))
        return found

    # What the operator does

    def carry_out(self, action: Action) -> None:
        """Do one thing at once."""
        match action:
            case Apply():
                self._apply(action.manifest)
            case Delete():
                self._delete(action.kind, action.name)
            case Annotate() if action.key == names.ANNOTATION_CONFIG:
                self._pod(action.pod).config_hash = action.value
            case Reload():
                self._pod(action.pod).reload(action.target, self.now)
            case Emit():
                self.told.append(Happening(self.seconds, action.reason, action.message))

    def _apply(self, manifest: JSON) -> None:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        raw = {**manifest, "metadata": {**manifest["metadata"], "uid": name, "resourceVersion": "1"}}
        self.children = {**self.children, (kind, name): Child(raw, owned=True)}
        if kind == "Deployment":
            self._staff(raw)
        elif kind == "HTTPRoute":
            abort = manifest["metadata"].get("annotations", {}).get(names.ANNOTATION_ABORT, "")
            generation = self.route.generation + 1 if self.route else 1
            parents = (RouteParent("gateway"),)
            self.route = Route(canary_weight(self.name, manifest), generation, self.now, abort, parents)
        elif name == names.memory(self.name) and self.analysed:
            self.stored = self.analysed.memory

    def _delete(self, kind: str, name: str) -> None:
        self.children = {key: found for key, found in self.children.items() if key != (kind, name)}
        if kind == "Pod":
            self._end([pod for pod in self.pods if pod.name == name])
            for (other, _), found in list(self.children.items()):
                if other == "Deployment":
                    self._staff(found.raw)
        elif kind == "Deployment":
            self._end([pod for pod in self.pods if names.child(self.name, pod.track) == name])

    def _staff(self, deployment: JSON) -> None:
        """As many pods as a Deployment wants, all of its template."""
        track = next(track for track in Track if names.child(self.name, track) == deployment["metadata"]["name"])
        template, wanted = template_of(deployment), deployment["spec"]["replicas"]
        mine = [pod for pod in self.pods if pod.track is track]
        fitting = [pod for pod in mine if pod.template == template]
        self._end([pod for pod in mine if pod not in fitting[:wanted]])
        config = self.children["ConfigMap", mounted(deployment)].raw
        for _ in range(wanted - len(fitting)):
            number = self._made.get(track, 0)
            self._made[track] = number + 1
            self.pods.append(self._start(track, number, template, config))

    def _start(self, track: Track, number: int, template: int, config: JSON) -> SimulatedPod:
        unloadable = None if self.loads else self.target.version
        pod = SimulatedPod(f"{self.name}-{track}-{number}", track, number, template, self.now, unloadable)
        pod.load(*configured(config), self.now)
        pod.answered(pod.counters, self.now.timestamp())
        return pod

    def _end(self, ended: list[SimulatedPod]) -> None:
        self.gone += ended
        self.pods = [pod for pod in self.pods if pod not in ended]

    def _pod(self, name: str) -> SimulatedPod:
        return next(pod for pod in self.pods if pod.name == name)


def _promoted(snapshot: Snapshot, pod: Pod) -> bool:
    """Whether a stable pod answers with the new version."""
    rollout = snapshot.status.rollout
    return rollout is not None and snapshot.status.stable is not None and counts_as_new(snapshot, rollout, pod)


def simulated(raw: JSON, scenario: Scenario) -> tuple[dict[str, Any], tuple[str, ...]]:
    """`spec` with the metrics that can be simulated, and the names of those that cannot.

    The simulated Prometheus knows a query by the name of its metric, if the scenario gives it values.
    """
    known = {
        MetricKind.QUERY: set(scenario.queries),
        MetricKind.GAUGE: set(scenario.queries),
        MetricKind.DISTRIBUTION: set(scenario.predictions),
    }
    spec = dict(raw)
    kept, left = [], []
    for metric in raw.get("analysis", {}).get("metrics", ()):
        if metric["name"] in known.get(MetricKind(metric["kind"]), ()):
            kept.append({**metric, "query": f"{metric['name']} ${{pods}}"})
        elif metric["kind"] in {MetricKind.ERROR_RATE, MetricKind.LATENCY}:
            kept.append(metric)
        else:
            left.append(metric["name"])
    if kept:
        spec["analysis"] = {**raw["analysis"], "metrics": kept}
    elif left:
        del spec["analysis"]
    return spec, tuple(left)


def of_version(raw: JSON, version: int) -> dict[str, Any]:
    """The same `spec` asking for another version."""
    return {**raw, "model": {**raw["model"], "version": version}}
