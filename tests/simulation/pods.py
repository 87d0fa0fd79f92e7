"""Simulated pods, and the controllers that make, place, start and end them. `world` lets them act in each tick."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelrollout.core.counters import Counters
from modelrollout.core.names import ANNOTATION_TEMPLATE, Track
from tests.simulation.clock import stamp
from tests.simulation.servers import SimServer

if TYPE_CHECKING:
    from modelrollout.core.values import JSON
    from tests.simulation.servers import Disk

STARTS_IN = 0.5
"""Seconds from a container's start to its server's."""
ENDS_IN = 6.0
"""Seconds that a pod is listed after it was told to end: it lingers, then its server ends."""
REFRESH_SECONDS = 60.0
"""How old a node's copy of a ConfigMap may get."""


@dataclass
class SimPod:
    """A pod, its container and its server. `config` is its node's copy of the ConfigMap that it mounts."""

    name: str
    uid: str
    track: Track
    template: JSON
    server: SimServer
    placed: float | None = None
    starts_at: float | None = None
    up: bool = False
    up_since: float = 0.0
    exits: int = 0
    exited: float | None = None
    ends_at: float | None = None
    silent: bool = False
    sick: bool = False
    config: str = ""
    config_read: float = 0.0
    annotations: dict[str, str] = field(default_factory=dict)
    samples: list[tuple[float, Counters]] = field(default_factory=list)
    answered_at: dict[int, float] = field(default_factory=dict)

    @property
    def mounts(self) -> str:
        """Name of the ConfigMap."""
        volumes: dict[str, JSON] = {volume["name"]: volume for volume in self.template["spec"]["volumes"]}
        return str(volumes["config"]["configMap"]["name"])

    @property
    def made_in(self) -> int:
        """The attempt whose roll made the pod, 0 for none."""
        return int(self.template["metadata"].get("annotations", {}).get(ANNOTATION_TEMPLATE, 0))

    @property
    def ready(self) -> bool:
        """Gets requests: up, well, and something is servable."""
        return self.up and not self.sick and self.ends_at is None and bool(self.server.available)

    def crash(self, now: float) -> None:
        """The container exits, and is started again with the node's copy of the ConfigMap; its counters are lost."""
        if self.up:
            self.up, self.exited, self.starts_at = False, now, now + STARTS_IN
            self.exits += 1
            self.server = SimServer(self.server.disk)
            self.samples.append((now, Counters()))

    def advance(self, now: float, config: str | None) -> None:
        """Let time take effect; `config` is what the mounted ConfigMap says, None while there is none."""
        if config is not None and (not self.config or now - self.config_read >= REFRESH_SECONDS):
            self.config, self.config_read = config, now
        if self.placed is None or not self.config:
            return
        if self.starts_at is None:
            self.starts_at = now + STARTS_IN
        if not self.up and now >= self.starts_at:
            self.up, self.up_since = True, now
            self.server.start(self.config, now)
        if self.up:
            self.server.advance(now)
        for version in self.server.available if self.ready else ():
            self.answered_at[version] = now

    def raw(self) -> JSON:
        """The pod as the API server shows it."""
        placed = self.placed is not None
        scheduled = {"type": "PodScheduled", "status": str(placed), "message": "" if placed else "Insufficient gpu"}
        if self.placed is not None:
            scheduled["lastTransitionTime"] = stamp(self.placed)
        container: dict[str, Any] = {"restartCount": self.exits}
        if self.exited is not None:
            ended = {"exitCode": 139, "message": "crash", "finishedAt": stamp(self.exited)}
            container["lastState"] = {"terminated": ended}
        conditions = [scheduled, {"type": "Ready", "status": str(self.ready)}]
        marks = {**self.template["metadata"].get("annotations", {}), **self.annotations}
        metadata = {
            "name": self.name,
            "uid": self.uid,
            "labels": self.template["metadata"]["labels"],
            "annotations": marks,
        }
        if self.ends_at is not None:
            metadata["deletionTimestamp"] = stamp(self.ends_at)
        status = {"conditions": conditions, "containerStatuses": [container]}
        return {"metadata": metadata, "status": {**status, "podIP": self.address} if self.up else status}

    @property
    def address(self) -> str:
        """Its IP address."""
        return f"10.0.0.{self.uid}"


@dataclass
class Pods:
    """All pods, and the part of the control plane that minds them. `slots` is how many fit on the nodes, None any."""

    disk: Disk
    slots: int | None = None
    all: dict[str, SimPod] = field(default_factory=dict)
    made: int = 0

    def of(self, track: Track) -> list[SimPod]:
        """Pods of one track that are not on their way out."""
        return [pod for pod in self.all.values() if pod.track is track and pod.ends_at is None]

    @property
    def free(self) -> int | None:
        """Room for further pods."""
        return None if self.slots is None else max(0, self.slots - len(self.all))

    def follow(self, track: Track, deployment: JSON | None, now: float) -> None:
        """Make and end pods as the Deployment says: one more than wanted during a roll, never fewer that are ready."""
        if deployment is None:
            for pod in self.of(track):
                pod.ends_at = now + ENDS_IN
            return
        template, wanted = deployment["spec"]["template"], deployment["spec"]["replicas"]
        if deployment["spec"].get("paused"):
            return
        new = [pod for pod in self.of(track) if pod.template == template]
        old = [pod for pod in self.of(track) if pod.template != template]
        for _ in range(min(wanted - len(new), wanted + bool(old) - len(new) - len(old))):
            self._make(deployment["metadata"]["name"], track, template)
        idle = sum(not pod.ready for pod in new)
        for pod in new[wanted:]:
            pod.ends_at = now + ENDS_IN
        unready = [pod for pod in old if not pod.ready]
        for pod in unready[: max(0, len(new) + len(old) - wanted - idle)]:
            pod.ends_at = now + ENDS_IN
        ready = [pod for pod in old if pod.ready]
        for pod in ready[: max(0, sum(pod.ready for pod in self.of(track)) - wanted)]:
            pod.ends_at = now + ENDS_IN

    def _make(self, deployment: str, track: Track, template: JSON) -> None:
        self.made += 1
        uid = f"{self.made:04d}"
        self.all[uid] = SimPod(f"{deployment}-{uid}", uid, track, template, SimServer(self.disk))

    def advance(self, now: float, configs: dict[str, str]) -> None:
        """Place, start and end pods; `configs` are the ConfigMaps' texts by name."""
        for uid in [uid for uid, pod in self.all.items() if pod.ends_at is not None and now >= pod.ends_at]:
            del self.all[uid]
        placed = sum(pod.placed is not None for pod in self.all.values())
        for pod in self.all.values():
            if pod.placed is None and (self.slots is None or placed < self.slots):
                pod.placed = now
                placed += 1
            pod.advance(now, configs.get(pod.mounts))
