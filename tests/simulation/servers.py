"""Simulated model servers: what a reload does, and when (docs/design.md, "Configuration of a pod").

Labels are checked before anything is loaded, loading starts at the next disk poll, a failed load is not tried again
by the same configuration, and a version that was once listed is listed for ever.
"""

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
class Disk:
    """The model volume: which versions are published, which of them cannot be loaded, how long a load takes."""

    published: set[int] = field(default_factory=lambda: {100, 101, 102, 103, 104})
    broken: set[int] = field(default_factory=set)
    load_seconds: float = 0.5


@dataclass
class SimServer:
    """One server process: what it was told, what it has applied, what it has loaded. Times in virtual seconds."""

    disk: Disk
    base_path: str = ""
    told: set[int] = field(default_factory=set)
    applied: set[int] = field(default_factory=set)
    labels: dict[str, int] = field(default_factory=dict)
    states: dict[int, LoadState] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    loaded_at: dict[int, float] = field(default_factory=dict)
    acts_at: float | None = None

    def start(self, config: str, now: float) -> None:
        """Come up with a configuration file."""
        self.told = self.applied = {int(version) for version in re.findall(r"versions: (\d+)", config)}
        self.labels = {key: int(v) for key, v in re.findall(r'version_labels { key: "(\w+)" value: (\d+) }', config)}
        self.base_path = re.findall(r'base_path: "([^"]*)"', config)[0]
        self.advance(now)

    def reload(self, target: ModelTarget, now: float) -> None:
        """Take a configuration. Raises ReloadRefused, with nothing changed, when a label names what is not there."""
        for label, version in target.labels:
            if self.labels.get(label) not in {None, version} and version not in self.available:
                raise ReloadRefused(f"Request to assign label to version {version}, which is not currently available")
        self.labels = dict(target.labels)
        self.told = set(target.versions)
        self.acts_at = now + ACTS_AFTER

    def advance(self, now: float) -> None:
        """Let time take effect: first the configuration, then loads, then unloads."""
        if self.acts_at is not None and now >= self.acts_at:
            self.acts_at = None
            # What the configuration leaves out may be tried again once it comes back.
            self.failed &= self.told
            self.applied = self.told
        for version in self.applied & self.disk.published:
            self._load(version, now)
        if self.applied & self.available or not self.applied:
            self._unload()

    def _load(self, version: int, now: float) -> None:
        state = self.states.get(version)
        if state is LoadState.LOADING and now >= self.loaded_at[version]:
            if version in self.disk.broken:
                self.failed.add(version)
            self.states[version] = LoadState.END if version in self.failed else LoadState.AVAILABLE
        elif state in {None, LoadState.END} and version not in self.failed:
            self.states[version] = LoadState.LOADING
            self.loaded_at[version] = now + self.disk.load_seconds

    def _unload(self) -> None:
        """The last version that answers stays until another one does; whoever leaves is seen leaving."""
        for version in self.states.keys() - self.applied:
            leaving = self.states[version] is LoadState.AVAILABLE
            self.states[version] = LoadState.UNLOADING if leaving else LoadState.END

    @property
    def available(self) -> set[int]:
        """Versions that answer."""
        return {version for version in self.states if self.states[version] is LoadState.AVAILABLE}

    @property
    def answers_with(self) -> int | None:
        """Who answers a request without a label: the highest version that is available."""
        return max(self.available, default=None)

    def report(self) -> ServerReport:
        """What the probes see. An entry of an earlier failure keeps its words, as in the real server."""
        labels = {label: version for label, version in self.labels.items() if version in self.available}
        states = tuple(self._state(version) for version in sorted(self.states))
        return ServerReport(states, labels, frozenset(self.available))

    def _state(self, version: int) -> VersionState:
        state = self.states[version]
        failed = version in self.disk.broken and state is LoadState.END
        return VersionState(version, state, f"cannot load version {version}" if failed else "")
