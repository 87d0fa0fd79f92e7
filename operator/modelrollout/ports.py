"""What the reconciler needs from the outside, as small protocols: adapters implement them, tests have fakes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Protocol

from modelrollout.core.alerts import Alert
from modelrollout.core.counters import Counters
from modelrollout.core.model_config import ModelTarget
from modelrollout.core.readings import CapacityQuestion
from modelrollout.core.snapshot import Capacity, ServerReport
from modelrollout.core.values import JSON


class Key(NamedTuple):
    """Which ModelRollout."""

    namespace: str
    name: str


class Wake(Protocol):
    """Has a ModelRollout reconciled soon; an urgent one before all others, as its canary was just proved bad."""

    def __call__(self, key: Key, *, urgent: bool = False) -> None:
        """Nothing happens yet."""
        ...


@dataclass(frozen=True, slots=True)
class MetricSource:
    """A Prometheus and how long one query may take."""

    address: str
    timeout: timedelta


class Clock(Protocol):
    """Wall time."""

    def now(self) -> datetime:
        """The time in UTC."""
        ...


class Fence(Protocol):
    """Whether this process may act, asked right before each write: a process that stood still asks too late."""

    def permit(self) -> float:
        """Seconds after which a write must be over. Raises ClusterUnavailable when nothing may be begun."""
        ...


class View(Protocol):
    """The cluster as the watches last showed it, own writes included. Never waits."""

    def rollout(self, key: Key) -> JSON | None:
        """The ModelRollout, None when there is none."""
        ...

    def children(self, key: Key) -> Iterable[JSON]:
        """Every object that carries the rollout's labels or one of its names.

        Deployments, ConfigMaps, Services, the HTTPRoute, ControllerRevisions and pods.

        Each has its `kind` set.
        """
        ...

    def rivals(self, key: Key) -> Iterable[JSON]:
        """Other ModelRollouts that claim a match in the same place of a gateway."""
        ...


class Cluster(Protocol):
    """Writes. Every method raises ClusterUnavailable, Conflict or Refused; the view shows a write once it returned."""

    async def apply(self, key: Key, manifest: JSON, create: bool) -> None:
        """Server-side apply with force. With `create`, a stranger's object is not touched, only shown in the view."""
        ...

    async def delete(self, key: Key, kind: str, name: str, uid: str) -> None:
        """Delete in the background, only that very object; one that is gone already is fine."""
        ...

    async def annotate_pod(self, key: Key, pod: str, annotation: str, value: str) -> None:
        """Set one annotation of a pod; a pod that is gone is fine."""
        ...

    async def write_status(self, key: Key, seen: JSON, status: Mapping[str, Any]) -> None:
        """Make `status` exactly this. Conflict unless the object is still at the resourceVersion that was `seen`."""
        ...


class Capacities(Protocol):
    """Room on the nodes."""

    async def read(self, question: CapacityQuestion) -> Capacity:
        """Free slots for such pods; `slots` None without the right to read nodes. Raises ClusterUnavailable."""
        ...


class ModelServers(Protocol):
    """Model servers by address (`ip`), over gRPC. Every call has a deadline of its own."""

    async def report(self, ip: str, model: str) -> ServerReport:
        """Versions, labels `stable` and `canary`, and which versions answer. Raises ServerUnavailable."""
        ...

    async def reload(self, ip: str, target: ModelTarget) -> None:
        """Replace the configuration. OK says that it was taken, not that anything is loaded.

        Raises ServerUnavailable, ReloadRefused.
        """
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """Counters of pods that serve a model, now and at moments before; and the alerts that PromQL `alerts` gives."""

    namespace: str
    model: str
    pods: tuple[str, ...]
    before: frozenset[datetime] = frozenset()
    alerts: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """What Prometheus answers: cumulative counters of the pods that it reads, now and at the moments asked for."""

    now: Mapping[str, Counters]
    before: Mapping[datetime, Mapping[str, Counters]] = field(default_factory=dict)
    firing: tuple[Alert, ...] = ()


class Metrics(Protocol):
    """Prometheus. All methods raise MetricsUnavailable and QueryRefused."""

    async def look(self, source: MetricSource, question: Question, at: datetime) -> Look:
        """All of it in one request if possible: with many rollouts, requests are what a look costs."""
        ...

    async def query(self, source: MetricSource, promql: str, at: datetime) -> tuple[float, ...]:
        """One number per series that the query gives."""
        ...

    async def series(
        self, source: MetricSource, promql: str, at: datetime
    ) -> Sequence[tuple[Mapping[str, str], float]]:
        """Labels and number of every series that the query gives."""
        ...


class Events(Protocol):
    """Kubernetes events for people. Never raises and never delays a pass."""

    def emit(self, rollout: JSON, reason: str, message: str, warning: bool) -> None:
        """Post an event about the object, or count it up when it repeats the last one."""
        ...
