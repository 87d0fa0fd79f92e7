"""decide(): what people ask for, a row per request and situation (docs/design.md, "Requests", "Held by people")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.actions import Emit, Reload
from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.readings import readings_wanted
from modelrollout.core.requests import Verb
from modelrollout.core.status import (
    Approval,
    End,
    HistoryEntry,
    LastRequest,
    Outcome,
    Rejected,
    Rollout,
    Stage,
    Status,
)
from tests.builders import (
    NEW,
    NOW,
    OLD,
    WITH_CANARY,
    analysed,
    canary_pod,
    progressing,
    raw_spec,
    report,
    revision,
    rollout,
    route,
    snapshot,
    stable_pods,
    version,
)
from tests.deciding import BAKING, HALF, decided, in_phase, weight_first

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


@pytest.mark.parametrize("verb", Verb)
def test_a_token_is_handled_once(verb: Verb) -> None:
    """A token that is on record as handled changes nothing, whatever it asks for."""
    for given in (EARLY, PASSED, BEFORE, READY):
        request = asked(given, verb)
        seen = replace(request, status=replace(given.status, last_request=LastRequest(request.request, "x: done")))
        assert decide(seen).status.rollout == decide(given).status.rollout


def test_undo_never_writes_spec_and_rejects_what_it_asks_for() -> None:
    """What serves is left, by a rollout of the other one; at its end spec's revision is rejected with Undone."""
    begun = decide(asked(BEFORE, "undo")).status
    assert begun.rollout is not None
    assert begun.rollout.target == version(EARLIER)
    assert begun.rollout.undoes == version(OLD)
    assert begun.rollout.requested == f"undo by {WHO}"
    loaded = stable_pods(report(EARLIER, stable=EARLIER), report(EARLIER, stable=EARLIER))
    baking = replace(begun, rollout=replace(begun.rollout, stage=Stage.BAKING, since=NOW - LONG))
    ended = decide(replace(BEFORE, status=baking, pods=loaded, children={}))
    assert ended.status.rollout is None
    assert ended.status.stable == version(EARLIER)
    assert ended.status.rejected is not None
    assert (ended.status.rejected.target, ended.status.rejected.reason) == (version(OLD), "Undone")
    assert ended.status.history[0].requested == f"undo by {WHO}"
    after = decide(replace(BEFORE, status=ended.status, pods=loaded, children={})).status
    assert after.rollout is None
    assert after.story.phase == "RolledBack"


def test_undo_is_pursued_as_if_spec_asked_for_it() -> None:
    """Servers are told the version that is gone back to, and a spec that is as it was does not end it."""
    begun = decide(asked(BEFORE, "undo")).status
    given = replace(BEFORE, status=begun)
    decision = decide(given)
    assert decision.status.rollout == begun.rollout
    calls = [action.target.versions for action in decision.then if isinstance(action, Reload)]
    assert calls == [(EARLIER, OLD), (EARLIER, OLD)]
    assert readings_wanted(given).servers is not None


@pytest.mark.parametrize(("wish", "reason"), [(NEW, "NewRevision"), (EARLIER, "")])
def test_spec_changes_while_an_undo_is_under_way(wish: int, reason: str) -> None:
    """Another wish supersedes it; one for the same version makes it a rollout like any other."""
    begun = decide(asked(BEFORE, "undo")).status
    changed = snapshot(spec=raw_spec(wish))
    status = decide(replace(BEFORE, status=begun, spec=changed.spec, target=changed.target)).status
    assert status.rollout is not None
    assert (status.rollout.end.reason if status.rollout.end else "") == reason
    assert status.rollout.undoes == (begun.rollout.undoes if reason and begun.rollout else None)


def test_undo_that_fails_leaves_what_was_rejected() -> None:
    """102 was rejected while 101 served; 100 does not come back either: 101 serves on, 102 stays rejected."""
    rejected = Rejected(version(NEW), "AnalysisFailed", "bad")
    given = serving(raw_spec(NEW), promoted(3, OLD), promoted(2, EARLIER), rejected=rejected)
    begun = decide(asked(given, "undo")).status
    assert begun.rollout is not None
    assert begun.rejected == rejected
    end = End(Outcome.ROLLED_BACK, "PromotionLoadFailed", "no such op")
    going = replace(begun.rollout, stage=Stage.ROLLING_BACK, since=NOW - LONG, end=end, steps=(), step=1)
    status = decide(replace(given, status=replace(begun, rollout=going), children={})).status
    assert status.rollout is None
    assert status.rejected == rejected
    assert decide(replace(given, status=status)).status.rollout is None


def test_pause_stops_promotion_where_it_is() -> None:
    """The stable pod that has the version keeps it, the next one is not told; the canary keeps its weight."""
    going = in_phase(Stage.PROMOTING, raw_spec(), 2)
    assert [a for a in decide(going).then if isinstance(a, Reload)]
    paused = decide(asked(going, "pause"))
    assert not [a for a in paused.then if isinstance(a, Reload)]
    assert weight_first(paused) is None
    assert paused.status.story.phase == "Paused"


def test_fast_path_is_not_paused() -> None:
    """A way back leads away from what hurts: spec.paused does not hold it, and `pause` says so."""
    back = with_rollout(in_phase(Stage.PROMOTING, PAUSED), steps=(), step=0)
    assert decided(back).stage is Stage.PROMOTING
    assert [a for a in decide(back).then if isinstance(a, Reload)]
    assert "not held up" in answer(asked(back, "pause"))


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        pytest.param(under_spec(PASSED, PAUSED), "SpecPaused", "spec.paused is true; set it to false", id="spec"),
        pytest.param(
            asked(PASSED, "pause"),
            "PauseRequested",
            f"paused by {WHO}; kubectl modelrollout resume recsys -n default goes on",
            id="request",
        ),
        pytest.param(
            under_spec(PASSED, GATED),
            "WaitingForApproval",
            "step 1/2 waits for approval; kubectl modelrollout promote recsys -n default goes on",
            id="gate",
        ),
        pytest.param(snapshot(spec=PAUSED), "SpecPaused", "set it to false to start version 102", id="held back"),
    ],
)
def test_who_is_held_is_told_by_whom_and_what_goes_on(given: Snapshot, reason: str, words: str) -> None:
    """Phase Paused, condition Paused, and a message that says what to type."""
    story = decide(given).status.story
    found = next(item for item in story.conditions if item.type == "Paused")
    assert (story.phase, found.status, found.reason) == ("Paused", "True", reason)
    assert words in story.message
    assert words in found.message
    assert next(item.status for item in story.conditions if item.type == "Ready") == "False"


def test_a_step_that_waits_is_told_once() -> None:
    """An event when the gate is reached, with what to type; none while it waits."""
    reached = decide(under_spec(PASSED, GATED))
    assert "WaitingForApproval" in [a.reason for a in reached.then if isinstance(a, Emit)]
    again = decide(replace(under_spec(PASSED, GATED), status=reached.status))
    assert not [a for a in again.then if isinstance(a, Emit)]


def test_who_asked_is_in_the_event() -> None:
    """What came of a request is an event, with the field manager and the time of whoever asked."""
    said = [a.message for a in decide(asked(PASSED, "pause")).then if isinstance(a, Emit)]
    assert f"pause: done (asked by {WHO})" in said


def test_time_that_people_take_does_not_run_against_a_version() -> None:
    """`onLowTraffic: Abort` ends a step at maxDuration, but not one that is paused or waits for somebody."""
    metric = {**raw_spec()["analysis"]["metrics"][0], "onLowTraffic": "Abort"}
    spec = raw_spec(analysis={**raw_spec()["analysis"], "metrics": [metric]})
    quiet = replace(progressing(Verdict.LOW_TRAFFIC, LONG), spec=snapshot(spec=spec).spec)
    assert decided(quiet).stage is Stage.ROLLING_BACK
    for held in (with_rollout(quiet, paused=NOW), with_rollout(quiet, waiting=NOW)):
        assert decided(held).stage is Stage.PROGRESSING


def test_full_promotion_raises_nobodys_share_before_it() -> None:
    """The steps that are left are gone from the record, so the weight stays what it was when somebody asked."""
    after = decided(asked(EARLY, "promote-full"))
    assert [step.weight for step in after.steps] == [10]
    promoting = snapshot(after, pods=HALF, route=route(10), analysed=analysed(after, Verdict.PASS))
    assert weight_first(decide(promoting)) is None


def test_fresh_look_is_asked_for_and_granted_once() -> None:
    """Flux's annotation is answered in status, and everything is read anew when it changes."""
    wished = replace(EARLY, reconcile_wish="2026-01-01T12:00:00Z")
    status = decide(wished).status
    assert status.reconcile_handled == "2026-01-01T12:00:00Z"
    assert readings_wanted(replace(wished, status=status)).wish != readings_wanted(EARLY).wish
    assert decide(replace(wished, status=status)).status == status
