"""The words that the node agent's parts share: what the agent was told, and what a container is doing right
now.

Plain frozen values without behaviour; imported by every other module of the package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from pathlib import Path

JsonObject = dict[str, Any]
"""An object of the Kubernetes API, as JSON gives it."""


@dataclass(frozen=True)
class NodeSpec:
    """One node to play: its name, its extended resources and what it can hold."""

    name: str
    host_ip: str
    pod_network: str
    """First three octets of its pods' addresses, for example ``10.244.1``."""
    resources: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    pods: int = 60


@dataclass(frozen=True)
class Settings:
    """What the agent was told on its command line; all times in seconds."""

    state: Path
    configmap_lag: float = 5.0
    restart_backoff: float = 2.0
    offline_grace: float = 5.0
    nodes: tuple[NodeSpec, ...] = ()


@dataclass(frozen=True)
class Waiting:
    """The container has no process; `reason` is one of the kubelet's words, such as ``CrashLoopBackOff``."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class Running:
    """The container's process runs since `started_at`."""

    started_at: datetime


@dataclass(frozen=True)
class Terminated:
    """The container's process ended; `signal` is 0 unless a signal ended it, and then `exit_code` is 128 +
    signal.
    """

    exit_code: int
    reason: str
    message: str
    started_at: datetime
    finished_at: datetime
    container_id: str = ""
    signal: int = 0


State = Waiting | Running | Terminated


@dataclass(frozen=True)
class ContainerView:
    """Everything that the pod's status says about one container."""

    name: str
    image: str
    state: State
    last: Terminated | None = None
    restarts: int = 0
    started: bool = False
    ready: bool = False
    container_id: str = ""
