"""Situations in which people ask for something, and how they ask. Used by test_decide_requests.py and _held.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.status import (
    End,
    HistoryEntry,
    Outcome,
    Rollout,
    Stage,
    Status,
)
from tests.builders import (
    NEW,
    NOW,
    OLD,
    WITH_CANARY,
    progressing,
    raw_spec,
    revision,
    rollout,
    snapshot,
    version,
)

if TYPE_CHECKING:
    from modelrollout.core.snapshot import Snapshot

PAUSED = raw_spec(paused=True)
GATED = raw_spec(
    strategy={
        **raw_spec()["strategy"],
        "steps": [{"weight": 10, "duration": "60s", "approval": "Manual"}, {"weight": 50, "duration": "60s"}],
    }
)
EARLIER = 100
LONG = timedelta(hours=1)
WHO = "kubectl-modelrollout at 2026-01-01T11:59:00Z"


def under_way(given: Snapshot) -> Rollout:
    """The rollout before the pass."""
    assert given.status.rollout is not None
    return given.status.rollout


def asked(given: Snapshot, verb: str, *, step: int | None = None, target: str = "") -> Snapshot:
    """Somebody asks for something about the rollout under way, or about what serves."""
    rollout, status = given.status.rollout, given.status
    if rollout is not None:
        meant = f"{rollout.target.revision}.{rollout.attempt}:{rollout.step if step is None else step}"
    else:
        assert status.stable is not None
        meant = f"{status.stable.revision}.{status.history[0].attempt if status.history else 0}:0"
    return replace(given, request=f"{verb}:{meant}" + (f":{target}" if target else ""), asker=WHO)


def with_rollout(given: Snapshot, **changes: Any) -> Snapshot:
    """The same with these fields of the rollout."""
    return replace(given, status=given.status.with_rollout(**changes))


def under_spec(given: Snapshot, spec: dict[str, Any]) -> Snapshot:
    """The same under another spec of the same revision, whose steps it has."""
    parsed = snapshot(spec=spec).spec
    return with_rollout(replace(given, spec=parsed), steps=parsed.strategy.steps)


def answer(given: Snapshot) -> str:
    """What `status.lastRequest` says after the pass."""
    last = decide(given).status.last_request
    assert last is not None
    return last.answer


def promoted(attempt: int, number: int, reason: str = "Promoted") -> HistoryEntry:
    """A rollout that ended well."""
    return HistoryEntry(attempt, version(number), End(Outcome.PROMOTED, reason, "good"), NOW, NOW)


def serving(spec: dict[str, Any], *history: HistoryEntry, **fields: Any) -> Snapshot:
    """101 serves, nothing is under way, and these versions have ended; their revisions are on record."""
    known = {made.name: made for made in map(revision, (EARLIER, OLD, NEW))}
    status = Status(stable=version(OLD), history=history, **fields)
    return snapshot(spec=spec, status=status, revisions=known)


PASSED = progressing(Verdict.PASS, timedelta(seconds=60))
EARLY = progressing(Verdict.PASS, timedelta(seconds=5))
LAST = progressing(Verdict.PASS, timedelta(seconds=5), step=2)
SILENT = progressing(Verdict.NO_DATA, timedelta(seconds=5))
SUSPECTED = with_rollout(progressing(Verdict.PASS, timedelta(seconds=60)), suspected=NOW, suspect="errors")
BEFORE = serving(raw_spec(OLD), promoted(3, OLD), promoted(2, EARLIER))
READY = snapshot(rollout(Stage.PREPARING, fits=True), pods=WITH_CANARY)
