"""Everything that one pass knows, read before it decides. Built by `observe`, from what watches and probes last saw.

A snapshot never waits: a model server or a Prometheus that does not answer leaves an old or missing reading here, and
the rules say what that means. So nothing can delay a write of weight 0.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from modelrollout.core.alerts import Alert
from modelrollout.core.analysis import Analysed
from modelrollout.core.judge.memory import Memory
from modelrollout.core.model_config import ModelTarget
from modelrollout.core.names import Track, child, is_child
from modelrollout.core.revisions import Revision
from modelrollout.core.spec import Spec
from modelrollout.core.status import Status
from modelrollout.core.values import JSON


class LoadState(StrEnum):
    """States of a version in a model server (`GetModelStatus`)."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class VersionState:
    """One version in one server. `error` is the server's own message; END with an error means that loading failed."""

    version: int
    state: LoadState
    error: str = ""


@dataclass(frozen=True, slots=True)
class ServerReport:
    """What a model server said of its model.

    `answering` are the versions whose metadata it gave; `labels` the version that each label resolved to (only labels
    that resolve are listed).
    """

    versions: tuple[VersionState, ...] = ()
    labels: Mapping[str, int] = field(default_factory=dict)
    answering: frozenset[int] = frozenset()

    def state(self, version: int) -> LoadState | None:
        """State of one version, None when the server does not list it."""
        return next((item.state for item in self.versions if item.version == version), None)

    def failure(self, version: int) -> str:
        """Why a version failed to load, empty when it did not."""
        return next((i.error for i in self.versions if i.version == version and i.state is LoadState.END), "")

    @property
    def active(self) -> frozenset[int]:
        """Versions that serve, are about to, or have not finished leaving: all that are not END."""
        return frozenset(item.version for item in self.versions if item.state is not LoadState.END)

    @property
    def available(self) -> frozenset[int]:
        """Versions that answer requests."""
        return frozenset(item.version for item in self.versions if item.state is LoadState.AVAILABLE)


@dataclass(frozen=True, slots=True)
class ReloadCall:
    """The last reload call to a server. `ended` is None while it is in flight; `error` is empty after an OK.

    `unanswered` says that it ended without a word of the server, which may be busy with it still. `over` is when the
    first of calls in a row for this target had ended.
    """

    target: ModelTarget
    sent: datetime
    ended: datetime | None = None
    error: str = ""
    unanswered: bool = False
    over: datetime | None = None

    def asks_for(self, version: int) -> bool:
        """Whether it wanted this version loaded."""
        return version in self.target.versions


@dataclass(frozen=True, slots=True)
class Server:
    """The last that is known of one pod's model server by this process.

    `report` is None until it first answered and after it stopped answering (`error` says how). `changed` is when the
    set of active versions was first seen as it is now: a pod's counters are never mixed across that moment.
    `silent_since` is since when it has not answered, None while it does and before it was asked.
    """

    report: ServerReport | None = None
    error: str = ""
    changed: datetime | None = None
    reload: ReloadCall | None = None
    silent_since: datetime | None = None

    @property
    def reloading(self) -> bool:
        """Whether a reload call is in flight: one per server at a time, a second would pin one more of its threads."""
        return self.reload is not None and self.reload.ended is None


@dataclass(frozen=True, slots=True)
class ContainerExit:
    """How the model server's container last ended by itself."""

    exit_code: int
    message: str
    finished: datetime


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of one of the two tracks.

    `scheduled` is when it got its node, `started` when its container began to run. `template` is the attempt whose
    roll made it, 0 for none (`status.Version`).
    """

    name: str
    uid: str
    track: Track
    ip: str = ""
    ready: bool = False
    terminating: bool = False
    scheduled: datetime | None = None
    started: datetime | None = None
    unschedulable: str = ""
    waiting: str = ""
    restarts: int = 0
    exit: ContainerExit | None = None
    config_hash: str = ""
    template: int = 0
    server: Server = field(default_factory=Server)

    @property
    def report(self) -> ServerReport | None:
        """Shorthand for the server's last report."""
        return self.server.report


@dataclass(frozen=True, slots=True)
class Child:
    """An object that carries one of our names: what it says, and whether its controller is this rollout."""

    raw: JSON
    owned: bool


@dataclass(frozen=True, slots=True)
class RouteParent:
    """What one gateway says of the route. `problem` is empty when it accepted exactly this generation.

    One that has never `answered` has no traffic of the route. `late` says that it has just not answered yet for this
    generation.
    """

    name: str
    problem: str = ""
    answered: bool = True
    late: bool = False


PROPAGATION = timedelta(seconds=1)
"""From a gateway's word that it accepted a weight to that being so: its proxies may still take it in."""


@dataclass(frozen=True, slots=True)
class Route:
    """The HTTPRoute as it stands. `weight` is the canary's share in percent, None when the rules disagree.

    `seen` is when this process first saw the current generation as gateways have it; the propagation floor and drains
    count from there.
    """

    weight: int | None
    generation: int
    seen: datetime
    abort: str = ""
    parents: tuple[RouteParent, ...] = ()

    @property
    def problem(self) -> str:
        """Why the weights are not live, empty when every parent accepted them."""
        return "; ".join(f"{parent.name}: {parent.problem}" for parent in self.parents if parent.problem)

    @property
    def objection(self) -> bool:
        """Whether a gateway will not follow it, however long one waits."""
        return any(parent.problem and not parent.late for parent in self.parents)

    @property
    def behind(self) -> bool:
        """Whether a gateway may still send requests by an earlier generation."""
        return any(parent.problem for parent in self.parents if parent.answered)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Room for further pods of this kind on the nodes they may use. `slots` is None when it cannot be known."""

    slots: int | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One object and everything it owns, at one moment. `children` by (kind, name); `revisions` by name.

    `refused` is the API server's word about a write of ours that it refused last time, empty when it took them all.
    `contested` names the child that somebody else changes again and again. `invalid` is what is wrong with `spec` as it
    stands, when `spec` here is the last one that could be read. `conflict` says which older object has a match that
    this one claims too. `unheard` is when the API server last did not answer: objects may have changed since. `request`
    is the request annotation, `asker` who wrote it and when as far as the API server tells, `reconcile_wish` the
    annotation that asks for a fresh look. `alerts` are those that Alertmanager called about. `stored` is what the judge
    had remembered when it last was written to the cluster.
    """

    now: datetime
    name: str
    namespace: str
    uid: str
    generation: int
    spec: Spec
    target: Revision
    status: Status
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    children: Mapping[tuple[str, str], Child] = field(default_factory=dict)
    pods: tuple[Pod, ...] = ()
    route: Route | None = None
    capacity: Capacity | None = None
    analysed: Analysed | None = None
    refused: str = ""
    contested: str = ""
    invalid: str = ""
    conflict: str = ""
    unheard: datetime | None = None
    request: str = ""
    asker: str = ""
    reconcile_wish: str = ""
    alerts: tuple[Alert, ...] = ()
    stored: Memory | None = None

    def track(self, track: Track) -> tuple[Pod, ...]:
        """The pods of one track that are not on their way out, by name."""
        return tuple(sorted((p for p in self.pods if p.track is track and not p.terminating), key=lambda pod: pod.name))

    @property
    def taken(self) -> tuple[tuple[str, str], ...]:
        """(kind, name) of objects that have a name of ours and are not ours."""
        return tuple(key for key, found in self.children.items() if not found.owned and is_child(self.name, *key))

    @property
    def canary_left(self) -> bool:
        """Whether there are canary pods, or may be some again."""
        found = self.child("Deployment", child(self.name, Track.CANARY))
        return any(pod.track is Track.CANARY for pod in self.pods) or (found is not None and found.owned)

    @property
    def may_start(self) -> bool:
        """Whether a rollout that begins now could get through. A canary that was kept for a look has to go first."""
        return not (self.taken or self.conflict or self.invalid or self.canary_left)

    def child(self, kind: str, name: str) -> Child | None:
        """An observed child, None when there is none."""
        return self.children.get((kind, name))
