"""Simulated model servers: a reload acts at the next poll, labels are checked before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from modelrollout.core.snapshot import LoadState, ServerReport, VersionState
from modelrollout.errors import ReloadRefused

if TYPE_CHECKING:
    from modelrollout.core.model_config import ModelTarget

ACTS_AFTER = 1.2
"""Seconds from a reload call to its effect: a disk poll and a manager tick."""


@dataclass
class SimServer:
    """One server: what is loaded, what it was last told, and when that takes effect (seconds of virtual time)."""

    published: set[int]
    loaded: dict[int, LoadState] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    wanted: set[int] = field(default_factory=set)
    acts_at: float | None = None
    requests: float = 0.0

    def start(self, config: str) -> None:
        """Come up with a configuration file: ports are open once a version is there."""
        self.wanted = {int(version) for version in re.findall(r"versions: (\d+)", config)}
        self.labels = {key: int(v) for key, v in re.findall(r'version_labels { key: "(\w+)" value: (\d+) }', config)}
        self._apply()

    def reload(self, target: ModelTarget, now: float) -> None:
        """Take a configuration. Raises ReloadRefused, with nothing loaded, when a label names what is not there."""
        for label, version in target.labels:
            if self.labels.get(label) not in {None, version} and version not in self.available:
                raise ReloadRefused(f"Request to assign label to version {version}, which is not currently available")
        self.labels = dict(target.labels)
        self.wanted = set(target.versions)
        self.acts_at = now + ACTS_AFTER

    def advance(self, now: float) -> None:
        """Let time take effect."""
        if self.acts_at is not None and now >= self.acts_at:
            self.acts_at = None
            self._apply()

    def _apply(self) -> None:
        for version in self.wanted & self.published:
            self.loaded[version] = LoadState.AVAILABLE
        for version in self.loaded.keys() - self.wanted:
            self.loaded[version] = LoadState.END

    @property
    def available(self) -> set[int]:
        """Versions that answer."""
        return {version for version, state in self.loaded.items() if state is LoadState.AVAILABLE}

    @property
    def answers_with(self) -> int | None:
        """Who answers a request without a label: the highest version that is available."""
        return max(self.available, default=None)

    def report(self) -> ServerReport:
        """What the probes see."""
        labels = {label: version for label, version in self.labels.items() if version in self.available}
        states = tuple(VersionState(version, state) for version, state in sorted(self.loaded.items()))
        return ServerReport(states, labels, frozenset(self.available))
