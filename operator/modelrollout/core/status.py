"""`status` of a ModelRollout: the whole state of a rollout, so that the operator may be killed at any write."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from modelrollout.core.spec import Method, Step

SCHEMA_VERSION = 1
"""Rises when `status` changes its meaning. An operator that meets a higher one only ever lowers weight."""


class Stage(StrEnum):
    """Where a rollout is. The state machine's state; `phase` is only its shadow for people."""

    INITIALIZING = "Initializing"
    PREPARING = "Preparing"
    PROGRESSING = "Progressing"
    PROMOTING = "Promoting"
    BAKING = "Baking"
    ROLLING_BACK = "RollingBack"


class Approval(StrEnum):
    """What somebody has let a step off: what is left of its wait, or its evidence as well and all steps after it."""

    STEP = "Step"
    FULL = "Full"


class Outcome(StrEnum):
    """How a rollout ended."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    CANCELLED = "Cancelled"
    SUPERSEDED = "Superseded"


@dataclass(frozen=True, slots=True)
class Version:
    """A revision and the model version it serves.

    `template` is the attempt whose roll made the stable pods, 0 while none has: pods of one template mount the same
    ConfigMap. It says something of the stable version alone.
    """

    revision: str
    version: int
    template: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """Why a rollout is being taken back: decided once, carried to the history unchanged."""

    outcome: Outcome
    reason: str
    message: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Baseline:
    """A metric's stable value from enough requests, kept at the end of a step for when the stable side has too few."""

    name: str
    value: float
    requests: float


@dataclass(frozen=True, slots=True)
class Rollout:
    """An attempt under way. Times are absolute, so an outage only makes a step due.

    `step` counts from 1, 0 before the first. `step_started` is when the step's weight was live, None until then. `live`
    is the weight that was live last, this step's or the one's before, and `live_since` since when, None for 0.
    `carriers` is how many canary pods were ready then; `lost_since` is since when fewer are, and `setbacks` how often
    the weight went to 0 for it. `suspected` is when metric `suspect` last suspected the canary, None when that is over,
    and `suspicions` how often that was. `odd` are canary pods that were bad alone, `odd_stable` stable
    ones. `since` is when the stage was entered. `method` is frozen once the steps begin. `paused` is since when a
    request holds it, and `paused_by` whose; `waiting` since when the step is passed but for somebody's word, and
    `approved` what that word was. `undoes` is what `spec` asks for while this goes back from it. `requested` says who
    asked for what on the way.
    Without `steps` it is a way back by the fast path.
    """

    attempt: int
    stage: Stage
    target: Version
    started: datetime
    since: datetime
    steps: tuple[Step, ...] = ()
    step: int = 0
    step_started: datetime | None = None
    live: int = 0
    live_since: datetime | None = None
    method: Method = Method.RELOAD
    carriers: int = 0
    lost_since: datetime | None = None
    setbacks: int = 0
    suspected: datetime | None = None
    suspect: str = ""
    suspicions: int = 0
    odd: tuple[str, ...] = ()
    odd_stable: tuple[str, ...] = ()
    fits: bool = False
    paused: datetime | None = None
    paused_by: str = ""
    waiting: datetime | None = None
    approved: Approval | None = None
    undoes: Version | None = None
    requested: str = ""
    baseline: tuple[Baseline, ...] = ()
    end: End | None = None

    @property
    def current_step(self) -> Step | None:
        """The step that the world is to look like, None before the first."""
        return self.steps[self.step - 1] if 0 < self.step <= len(self.steps) else None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The revision that was taken back and is not tried again while `spec` keeps it."""

    target: Version
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class LastRequest:
    """The last request (an annotation) that was handled, whose it was, and what came of it. A token is handled once."""

    token: str
    answer: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One ended rollout. `requested` says who asked for what on the way, empty when nobody did."""

    attempt: int
    target: Version
    end: End
    started: datetime
    ended: datetime
    requested: str = ""

    @property
    def took(self) -> timedelta:
        """How long it was under way, in whole seconds."""
        return timedelta(seconds=(self.ended - self.started) // timedelta(seconds=1))


@dataclass(frozen=True, slots=True)
class Judged:
    """The last verdict of one metric that differed from the one before, with its evidence at that moment.

    `silent_since` is since when there has been no verdict on the canary, None while there is one.
    """

    name: str
    kind: str
    test: str
    verdict: str
    detail: str
    silent_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """A metav1 condition; `since` moves only when `status` flips."""

    type: str
    status: str
    reason: str
    message: str
    since: datetime
    generation: int


@dataclass(frozen=True, slots=True)
class Story:
    """The part of status for people: derived anew in every pass, nothing branches on it."""

    phase: str = ""
    message: str = ""
    progress: str = ""
    next_decision: str = ""
    last_verdict: str = ""
    current_step: str = ""
    weight_set: int = 0
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """All of `status`. `reconcile_handled` is the last wish for a fresh look that was granted."""

    schema_version: int = SCHEMA_VERSION
    observed_generation: int = 0
    stable: Version | None = None
    rollout: Rollout | None = None
    rejected: Rejected | None = None
    analysis: tuple[Judged, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    replicas: int = 0
    selector: str = ""
    last_request: LastRequest | None = None
    reconcile_handled: str = ""
    story: Story = field(default_factory=Story)

    @property
    def next_attempt(self) -> int:
        """Number of the next rollout: one more than any that is remembered."""
        return 1 + max((entry.attempt for entry in self.history), default=0)

    def with_rollout(self, **changes: Any) -> "Status":
        """A copy whose rollout under way has these fields changed."""
        assert self.rollout is not None
        return replace(self, rollout=replace(self.rollout, **changes))
