"""Which version to load or unload next: TensorFlow Serving's AvailabilityPreservingPolicy. Pure; used by `manager`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stage(Enum):
    """Where a managed version stands."""

    NEW = "new"
    LOADING = "loading"
    READY = "ready"
    UNLOADING = "unloading"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Managed:
    """What the policy looks at."""

    version: int
    aspired: bool
    stage: Stage


class Verb(Enum):
    """What can be done to a version."""

    UNLOAD = 0
    LOAD = 1


def next_action(versions: Sequence[Managed]) -> tuple[Verb, int] | None:
    """The next step for one model: nothing that serves goes before something aspired serves, one excepted."""
    aspired = [managed for managed in versions if managed.aspired]
    leaving = [managed for managed in versions if not managed.aspired and managed.stage is Stage.READY]
    serving = any(managed.stage is Stage.READY for managed in aspired)
    if leaving and (serving or not aspired or len(leaving) > 1):
        return Verb.UNLOAD, min(managed.version for managed in leaving)
    waiting = [managed.version for managed in aspired if managed.stage is Stage.NEW]
    return (Verb.LOAD, max(waiting)) if waiting else None
