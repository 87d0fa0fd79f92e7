"""Pods and model servers of the simulated world: they do at once what they are told. Called by `world`."""

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from modelrollout.core.counters import Counters, total
from modelrollout.core.model_config import ModelTarget
from modelrollout.core.names import ANNOTATION_TEMPLATE, MODEL_CONFIG_FILE, Track
from modelrollout.core.snapshot import LoadState, Pod, ReloadCall, Server, ServerReport, VersionState
from modelrollout.core.values import JSON

REFUSED = "the simulated model server cannot load it"


@dataclass
class SimulatedPod:
    """A pod, its server and its counters. `number` counts the pods of its track; `unloadable` cannot be loaded.

    `moments` and `samples` are what Prometheus has read of it.
    """

    name: str
    track: Track
    number: int
    template: int
    born: datetime
    unloadable: int | None
    wanted: frozenset[int] = frozenset()
    labels: Mapping[str, int] = field(default_factory=dict)
    changed: datetime | None = None
    call: ReloadCall | None = None
    config_hash: str = ""
    counters: Counters = field(default_factory=Counters)
    moments: list[float] = field(default_factory=list)
    samples: list[Counters] = field(default_factory=list)

    @property
    def versions(self) -> frozenset[int]:
        """Those that answer."""
        return self.wanted - {self.unloadable}

    def load(self, versions: frozenset[int], labels: Mapping[str, int], now: datetime) -> None:
        """Have these versions from now on."""
        if versions != self.wanted:
            self.changed = now
        self.wanted, self.labels = versions, dict(labels)

    def reload(self, target: ModelTarget, now: datetime) -> None:
        """A reload call, answered at once."""
        over = self.call.over if self.call and self.call.target == target else None
        self.call = ReloadCall(target, now, now, over=over or now)
        self.load(frozenset(target.versions), dict(target.labels), now)

    def answered(self, counts: Counters, at: float) -> None:
        """Count answers, and have Prometheus read that at a moment (POSIX seconds)."""
        self.counters = replace(total((self.counters, counts)), scraped=at, gauges=counts.gauges)
        self.moments.append(at)
        self.samples.append(self.counters)

    def read_at(self, at: float) -> Counters | None:
        """What Prometheus knows of it at a moment, None before it has read it."""
        index = bisect_right(self.moments, at)
        return self.samples[index - 1] if index else None

    def seen(self) -> Pod:
        """As the operator sees it."""
        states = tuple(
            VersionState(version, LoadState.AVAILABLE)
            if version in self.versions
            else VersionState(version, LoadState.END, REFUSED)
            for version in sorted(self.wanted)
        )
        labels = {name: version for name, version in self.labels.items() if version in self.versions}
        report = ServerReport(states, labels, self.versions)
        return Pod(
            name=self.name,
            uid=self.name,
            track=self.track,
            ip=self.name,
            ready=bool(self.versions),
            scheduled=self.born,
            started=self.born,
            config_hash=self.config_hash,
            template=self.template,
            server=Server(report, changed=self.changed, reload=self.call),
        )


def template_of(deployment: JSON) -> int:
    """The attempt whose roll a Deployment's pods are of, 0 for none."""
    return int(deployment["spec"]["template"]["metadata"].get("annotations", {}).get(ANNOTATION_TEMPLATE, 0))


def mounted(deployment: JSON) -> str:
    """Name of the ConfigMap that its pods start with."""
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    return next(str(volume["configMap"]["name"]) for volume in volumes if volume["name"] == "config")


def configured(config: JSON) -> tuple[frozenset[int], dict[str, int]]:
    """Versions and labels that a server which starts with this ConfigMap has."""
    text = config["data"][MODEL_CONFIG_FILE]
    labels = re.findall(r'key: "([^"]+)" value: (\d+)', text)
    return frozenset(map(int, re.findall(r"versions: (\d+)", text))), {key: int(value) for key, value in labels}
