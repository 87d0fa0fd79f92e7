"""decide(): what people ask for, a row per request and situation (docs/design.md, "Requests")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.status import (
    Approval,
    Stage,
    Status,
)
from tests.builders import (
    NEW,
    NOW,
    OLD,
    WITH_CANARY,
    canary_pod,
    progressing,
    raw_spec,
    rollout,
    snapshot,
    version,
)
from tests.deciding import BAKING, in_phase
from tests.wishes import (
    BEFORE,
    EARLIER,
    EARLY,
    GATED,
    LAST,
    LONG,
    PASSED,
    PAUSED,
    READY,
    SILENT,
    SUSPECTED,
    answer,
    asked,
    promoted,
    serving,
    under_spec,
    with_rollout,
)

if TYPE_CHECKING:
    from modelrollout.core.snapshot import Snapshot


@dataclass(frozen=True)
class Row:
    """A situation, and the stage and step that follow, with what is on record about people."""

    given: Snapshot
    stage: Stage | None
    step: int = 0
    approved: Approval | None = None


HELD = [
    pytest.param(Row(under_spec(PASSED, PAUSED), Stage.PROGRESSING, 1), id="spec.paused: no step is left"),
    pytest.param(Row(under_spec(READY, PAUSED), Stage.PREPARING), id="spec.paused: no first step"),
    pytest.param(
        Row(under_spec(in_phase(Stage.BAKING, raw_spec(), 2), PAUSED), Stage.BAKING, 2),
        id="spec.paused: the bake goes on",
    ),
    pytest.param(
        Row(
            under_spec(snapshot(rollout(Stage.PROMOTING, step=2), pods=(*BAKING, canary_pod())), PAUSED),
            Stage.PROMOTING,
            2,
        ),
        id="spec.paused: the bake does not begin",
    ),
    pytest.param(
        Row(under_spec(progressing(Verdict.FAIL, LONG), PAUSED), Stage.ROLLING_BACK, 1), id="spec.paused: Fail aborts"
    ),
    pytest.param(
        Row(asked(under_spec(PASSED, PAUSED), "abort"), Stage.ROLLING_BACK, 1), id="spec.paused: abort is done"
    ),
    pytest.param(Row(snapshot(spec=PAUSED), None), id="spec.paused: nothing starts"),
    pytest.param(
        Row(snapshot(spec=PAUSED, status=Status()), Stage.INITIALIZING), id="spec.paused: the first version ever does"
    ),
    pytest.param(Row(asked(PASSED, "pause"), Stage.PROGRESSING, 1), id="pause: no step is left from now on"),
    pytest.param(Row(with_rollout(PASSED, paused=NOW), Stage.PROGRESSING, 1), id="pause on record: no step is left"),
    pytest.param(Row(asked(with_rollout(PASSED, paused=NOW), "resume"), Stage.PROGRESSING, 2), id="resume: it is"),
    pytest.param(
        Row(asked(under_spec(with_rollout(PASSED, paused=NOW), PAUSED), "resume"), Stage.PROGRESSING, 1),
        id="resume does not lift spec.paused",
    ),
    pytest.param(Row(under_spec(PASSED, GATED), Stage.PROGRESSING, 1), id="approval: the step waits"),
    pytest.param(
        Row(with_rollout(under_spec(progressing(Verdict.PASS, LONG), GATED), waiting=NOW), Stage.PROGRESSING, 1),
        id="approval: however long",
    ),
    pytest.param(
        Row(with_rollout(under_spec(progressing(Verdict.FAIL, LONG), GATED), waiting=NOW), Stage.ROLLING_BACK, 1),
        id="approval: Fail aborts",
    ),
    pytest.param(
        Row(asked(with_rollout(under_spec(PASSED, GATED), waiting=NOW), "promote"), Stage.PROGRESSING, 2),
        id="promote: past the gate",
    ),
]

ONWARD = [
    pytest.param(Row(asked(EARLY, "promote"), Stage.PROGRESSING, 2), id="promote: without the rest of its time"),
    pytest.param(
        Row(asked(SILENT, "promote"), Stage.PROGRESSING, 1, Approval.STEP), id="promote: not without its evidence"
    ),
    pytest.param(Row(asked(LAST, "promote"), Stage.PROMOTING, 2), id="promote: from the last step to promotion"),
    pytest.param(Row(asked(SILENT, "skip"), Stage.PROGRESSING, 2), id="skip: without its evidence"),
    pytest.param(Row(asked(LAST, "skip"), Stage.PROMOTING, 2), id="skip: from the last step to promotion"),
    pytest.param(
        Row(asked(with_rollout(EARLY, paused=NOW), "skip"), Stage.PROGRESSING, 2),
        id="skip: ends a pause that was asked for",
    ),
    pytest.param(
        Row(asked(SILENT, "promote-full"), Stage.PROMOTING, 1, Approval.FULL), id="promote-full: past every step"
    ),
    pytest.param(
        Row(asked(with_rollout(EARLY, step_started=None), "promote-full"), Stage.PROGRESSING, 1, Approval.FULL),
        id="promote-full: only once the weight is live",
    ),
    pytest.param(
        Row(
            asked(snapshot(rollout(Stage.PREPARING), pods=WITH_CANARY), "promote-full"),
            Stage.PREPARING,
            0,
            Approval.FULL,
        ),
        id="promote-full: not before both versions fit in one server",
    ),
    pytest.param(
        Row(asked(READY, "promote-full"), Stage.PROGRESSING, 1, Approval.FULL),
        id="promote-full: through the first step",
    ),
    pytest.param(Row(asked(SUSPECTED, "promote"), Stage.PROGRESSING, 1), id="promote: not while suspected"),
    pytest.param(Row(asked(SUSPECTED, "skip"), Stage.PROGRESSING, 1), id="skip: not while suspected"),
    pytest.param(Row(asked(SUSPECTED, "promote-full"), Stage.PROGRESSING, 1), id="promote-full: not while suspected"),
    pytest.param(Row(asked(EARLY, "skip", step=2), Stage.PROGRESSING, 1), id="skip: only the step that was seen"),
    pytest.param(Row(asked(EARLY, "promote", step=0), Stage.PROGRESSING, 1), id="promote: only the step that was seen"),
]

BACK = [
    pytest.param(Row(asked(EARLY, "undo"), Stage.ROLLING_BACK, 1), id="undo of steps under way takes them back"),
    pytest.param(
        Row(asked(in_phase(Stage.BAKING, raw_spec(), 2), "undo"), Stage.ROLLING_BACK, 2),
        id="undo of a bake goes back at once",
    ),
    pytest.param(
        Row(asked(EARLY, "undo", target=version(OLD).revision), Stage.ROLLING_BACK, 1), id="undo to what serves still"
    ),
    pytest.param(
        Row(asked(EARLY, "undo", target=version(EARLIER).revision), Stage.PROGRESSING, 1),
        id="undo to another one while a rollout is under way does nothing",
    ),
    pytest.param(Row(asked(BEFORE, "undo"), Stage.PROMOTING), id="undo: the version before, by the fast path"),
    pytest.param(
        Row(asked(replace(BEFORE, spec=snapshot(spec=raw_spec(OLD, paused=True)).spec), "undo"), Stage.PROMOTING),
        id="undo: also while spec is paused",
    ),
    pytest.param(
        Row(asked(serving(raw_spec(OLD), promoted(3, OLD, "Undone"), promoted(2, NEW)), "undo"), None),
        id="undo without a target never leads to a version that somebody went back from",
    ),
    pytest.param(
        Row(
            asked(
                serving(raw_spec(OLD), promoted(3, OLD, "Undone"), promoted(2, NEW)),
                "undo",
                target=version(NEW).revision,
            ),
            Stage.PREPARING,
        ),
        id="undo to a version that somebody went back from takes its steps",
    ),
    pytest.param(
        Row(asked(replace(BEFORE, revisions={}), "undo"), None), id="undo to a revision that is not on record any more"
    ),
]


@pytest.mark.parametrize("row", [*HELD, *ONWARD, *BACK])
def test_wish(row: Row) -> None:
    """The stage and the step that follow, and what is let off."""
    after = decide(row.given).status.rollout
    assert (after.stage if after else None) is row.stage
    assert (after.step if after else 0) == row.step
    assert (after.approved if after else None) is row.approved


ANSWERS = [
    pytest.param(asked(EARLY, "pause"), "pause: done", id="pause"),
    pytest.param(
        asked(with_rollout(EARLY, paused=NOW, paused_by="x"), "pause"), "pause: paused already, by x", id="twice"
    ),
    pytest.param(asked(EARLY, "resume"), "resume: it is not paused", id="nothing to resume"),
    pytest.param(
        asked(under_spec(EARLY, PAUSED), "resume"), "resume: nobody asked for a pause; spec.paused", id="spec"
    ),
    pytest.param(
        asked(under_spec(with_rollout(EARLY, paused=NOW), PAUSED), "resume"),
        "resume: done, but spec.paused is true and still holds it",
        id="both",
    ),
    pytest.param(
        asked(with_rollout(under_spec(PASSED, GATED), waiting=NOW), "resume"),
        "resume: it waits for approval; promote goes on",
        id="resume at a gate",
    ),
    pytest.param(asked(SILENT, "promote"), "promote: done; it still waits: NoData", id="promote without evidence"),
    pytest.param(
        asked(with_rollout(SILENT, approved=Approval.STEP), "promote"),
        "promote: asked for already; it still",
        id="again",
    ),
    pytest.param(asked(READY, "skip"), "skip: no step has begun, the canary is being prepared", id="skip too early"),
    pytest.param(
        asked(in_phase(Stage.BAKING, raw_spec(), 2), "promote"),
        "promote: the steps are over, the rollout is Baking",
        id="promote too late",
    ),
    pytest.param(
        asked(under_spec(EARLY, PAUSED), "skip"), "skip: spec.paused is true; set it to false first", id="held"
    ),
    pytest.param(asked(SUSPECTED, "promote-full"), "promote-full: errors suspects the version", id="suspected"),
    pytest.param(
        asked(with_rollout(EARLY, lost_since=NOW), "skip"), "skip: canary pods are missing; ask again", id="pods lost"
    ),
    pytest.param(
        asked(progressing(Verdict.FAIL, LONG), "promote"), "promote: too late, it is being taken back", id="proven bad"
    ),
    pytest.param(asked(EARLY, "skip", step=2), "skip: stale, asked in step 2", id="another step"),
    pytest.param(
        asked(in_phase(Stage.ROLLING_BACK, raw_spec()), "pause"),
        "pause: it is being taken back already",
        id="going back",
    ),
    pytest.param(asked(EARLY, "abort", target="0123456789"), "abort: not understood: only undo", id="four parts"),
    pytest.param(replace(EARLY, request="please go on"), "not understood: a request looks like", id="no token"),
    pytest.param(asked(EARLY, "explode"), "explode: not understood; there are abort, retry, undo", id="no verb"),
    pytest.param(asked(BEFORE, "pause"), "pause: stale, asked for revision", id="nothing under way"),
    pytest.param(asked(BEFORE, "undo", target="0123456789"), "was never promoted here", id="unknown target"),
    pytest.param(asked(BEFORE, "undo", target=version(OLD).revision), "undo: version 101 serves already", id="stable"),
    pytest.param(
        asked(replace(BEFORE, revisions={}), "undo"), "undo: the ControllerRevision of version 100", id="lost"
    ),
    pytest.param(
        asked(EARLY, "undo", target=version(EARLIER).revision),
        "undo: version 102 is under way; undo without a target takes it back, back to version 101",
        id="a target under way",
    ),
]


@pytest.mark.parametrize(("given", "said"), ANSWERS)
def test_answer(given: Snapshot, said: str) -> None:
    """`status.lastRequest` says what came of it, whose it was, and what would work."""
    assert said in answer(given)
    last = decide(given).status.last_request
    assert last is not None
    assert last.token == given.request
    assert last.by == given.asker
