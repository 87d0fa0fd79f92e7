"""What a pass wants done. The reconciler carries actions out in the order given; each is idempotent."""

from dataclasses import dataclass
from datetime import timedelta

from modelrollout.core.model_config import ModelTarget
from modelrollout.core.status import Status
from modelrollout.core.values import JSON


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of one manifest of ours. `create` when no such object was seen: never adopt a stranger's.

    `urgent` takes a version back: it is written however often somebody else undoes it. With `seen`, a resourceVersion,
    it is written only to the object as it was then: a raise that is slow on its way must not undo an abort.
    """

    manifest: JSON
    why: str
    create: bool = False
    urgent: bool = False
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete one object of ours, guarded by its uid."""

    kind: str
    name: str
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class Annotate:
    """Set one annotation of a pod; makes its node fetch a changed ConfigMap now instead of within two minutes."""

    pod: str
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Send a configuration to one model server. Not waited for: the next report shows what became of it."""

    pod: str
    address: str
    target: ModelTarget
    why: str


@dataclass(frozen=True, slots=True)
class Emit:
    """An event for people: past tense, once per change."""

    reason: str
    message: str
    warning: bool = False


Action = Apply | Delete | Annotate | Reload | Emit


@dataclass(frozen=True, slots=True)
class Decision:
    """The end of a pass.

    `first` holds what makes traffic safe: it is written before anything else, `status` included. `then` follows only
    when the status write went through, so that intent is always stored before it is acted on. `requeue` is when
    time alone makes the next pass due, None when only an event can.
    """

    status: Status
    first: tuple[Action, ...] = ()
    then: tuple[Action, ...] = ()
    requeue: timedelta | None = None

    @property
    def aborts(self) -> bool:
        """Whether the canary is taken out of the traffic in this pass."""
        return any(isinstance(action, Apply) and action.urgent for action in self.first)
