"""decide(): what becomes of a request pass by pass: handled once, undone, held (docs/design.md, "Held by people")."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from modelrollout.core.actions import Emit, Reload
from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.readings import readings_wanted
from modelrollout.core.requests import Verb
from modelrollout.core.status import (
    End,
    LastRequest,
    Outcome,
    Rejected,
    Stage,
)
from tests.builders import (
    NEW,
    NOW,
    OLD,
    analysed,
    progressing,
    raw_spec,
    report,
    route,
    snapshot,
    stable_pods,
    version,
)
from tests.deciding import HALF, decided, in_phase, weight_first
from tests.wishes import (
    BEFORE,
    EARLIER,
    EARLY,
    GATED,
    LONG,
    PASSED,
    PAUSED,
    READY,
    WHO,
    answer,
    asked,
    promoted,
    serving,
    under_spec,
    with_rollout,
)

if TYPE_CHECKING:
    from modelrollout.core.snapshot import Snapshot


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
