"""What people read: conditions, what comes next, events. One row per situation (docs/design.md, "Status")."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

import modelrollout
from modelrollout.core.actions import Emit
from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.reasons import Phase, Reason
from modelrollout.core.snapshot import Capacity, Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import HistoryEntry, Rejected, Stage, Status
from modelrollout.core.status_json import status_to_json
from modelrollout.core.story import stalled_alone
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
    rollout,
    route,
    snapshot,
    stable_pods,
    version,
)
from tests.deciding import BAKING, CANCELLED, HALF
from tests.wishes import LAST, asked

SOON, STEP = timedelta(seconds=20), timedelta(seconds=60)
ALWAYS = {"AnalysisSucceeded", "Available", "Paused", "Progressing", "Ready"}
REJECTED = Status(stable=version(OLD), rejected=Rejected(version(NEW), Reason.ANALYSIS_FAILED, "bad"))
GPU = raw_spec(serving={**raw_spec()["serving"], "gpu": {"resource": "nvidia.com/gpu", "count": 1}})
UNLOADED = canary_pod(report(failed=NEW))
BAKES, PROMOTES = rollout(Stage.BAKING, step=2), rollout(Stage.PROMOTING, step=2)
TAKEN_BACK = rollout(Stage.ROLLING_BACK, step=1, end=CANCELLED)


@dataclass(frozen=True)
class Row:
    """A situation; the conditions that are True in it, why it goes on or not, and what comes next."""

    given: Snapshot
    true: set[str]
    progressing: str
    following: str


ROWS = {
    "settled": Row(snapshot(spec=raw_spec(OLD)), {"Available", "Ready"}, "Healthy", "when spec.model.version changes"),
    "rejected": Row(
        snapshot(status=REJECTED),
        {"Available", "Stalled"},
        "RolledBack",
        "when spec.model.version changes, or when retry is asked for",
    ),
    "pods are missing": Row(
        snapshot(spec=raw_spec(OLD), pods=stable_pods(report(OLD, stable=OLD))),
        {"Available"},
        "Degraded",
        "when spec.model.version changes",
    ),
    "nothing serves yet": Row(
        snapshot(status=Status(), pods=()),
        {"Progressing", "Reconciling"},
        "Initializing",
        "Healthy when 2 pods answer with version 102",
    ),
    "no room for the canary": Row(
        replace(
            snapshot(rollout(Stage.PREPARING), children={}, capacity=Capacity(0, "0 of 4 free")),
            spec=snapshot(spec=GPU).spec,
        ),
        {"Available", "Progressing", "Reconciling"},
        "InsufficientGPU",
        "the canary starts when a node has room for it",
    ),
    "the canary cannot load": Row(
        snapshot(rollout(Stage.PREPARING), pods=(*WITH_CANARY[:2], UNLOADED)),
        {"Available", "Progressing", "Reconciling"},
        "ModelLoadFailed",
        "rejected at 2026-01-01T12:05:00Z unless the canary answers before",
    ),
    "the step is judged": Row(
        progressing(Verdict.PASS, SOON),
        {"AnalysisSucceeded", "Available", "Progressing", "Reconciling"},
        "Progressing",
        "step 2 at 2026-01-01T12:00:40Z unless a verdict stands against it",
    ),
    "the last step is judged": Row(
        progressing(Verdict.PASS, SOON, step=2),
        {"AnalysisSucceeded", "Available", "Progressing", "Reconciling"},
        "Progressing",
        "promotion at 2026-01-01T12:00:40Z unless a verdict stands against it",
    ),
    "a metric is silent": Row(
        progressing(Verdict.NO_DATA, STEP),
        {"Available", "Progressing", "Reconciling"},
        "Progressing",
        "step 2 when a verdict allows it: NoData: errors said so",
    ),
    "promotion": Row(
        snapshot(PROMOTES, pods=HALF, route=route(50), analysed=analysed(PROMOTES, Verdict.PASS)),
        {"AnalysisSucceeded", "Available", "Progressing", "Reconciling"},
        "Promoting",
        "the bake begins when all 2 stable pods have version 102",
    ),
    "bake": Row(
        snapshot(BAKES, pods=BAKING, analysed=analysed(BAKES, Verdict.PASS)),
        {"AnalysisSucceeded", "Available", "Progressing", "Reconciling"},
        "Baking",
        "promoted at 2026-01-01T12:00:55Z unless it is proven bad before",
    ),
    "taken back": Row(
        snapshot(TAKEN_BACK, pods=WITH_CANARY, spec=raw_spec(OLD)),
        {"Available", "Progressing", "Reconciling"},
        "RollingBack",
        "over when weight 0 is live and drained, the canary is gone and every stable pod has version 101 alone",
    ),
    "spec cannot be read": Row(
        snapshot(spec=raw_spec(OLD), invalid="spec.x: no"),
        {"Available", "Stalled"},
        "Degraded",
        "when spec is corrected",
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_conditions_and_what_comes_next(row: Row) -> None:
    """Each situation's conditions, of this generation, each with a reason and a line; and the next decision."""
    story = decide(row.given).status.story
    found = {item.type: item for item in story.conditions}
    assert {kind for kind, item in found.items() if item.status == "True"} == row.true
    assert set(found) == ALWAYS | (row.true & {"Reconciling", "Stalled"})
    assert found["Progressing"].reason == row.progressing
    assert story.next_decision == row.following
    assert all(item.message and item.reason and item.generation == 1 for item in found.values())


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_nothing_that_people_read_changes_with_time_alone(row: Row) -> None:
    """The status of a situation is written once: two seconds later the same situation says the very same."""
    first = decide(row.given).status
    later = replace(row.given, now=NOW + timedelta(seconds=2), status=first)
    assert status_to_json(decide(later).status) == status_to_json(first)


def test_an_unreadable_spec_leaves_all_conditions_in_place() -> None:
    """Before anything was read, Ready is False, Stalled True, and the others are Unknown instead of missing."""
    status = stalled_alone(Status(), 3, NOW, Reason.INVALID_SPEC, "spec.x: no")
    found = {item.type: item.status for item in status.story.conditions}
    assert found == dict.fromkeys(ALWAYS, "Unknown") | {"Ready": "False", "Stalled": "True"}
    assert {item.generation for item in status.story.conditions} == {3}


def test_messages_are_one_line() -> None:
    """What a model server says in several lines does not break the layout of kubectl describe."""
    words = "failed\n  because:\n\tno such op"
    written = status_to_json(stalled_alone(Status(), 1, NOW, Reason.INVALID_SPEC, words))
    assert written["message"] == "failed because: no such op"
    assert {item["message"] for item in written["conditions"]} == {"failed because: no such op"}


def test_history_says_how_long_it_took() -> None:
    """An ended rollout has its length in whole seconds beside its start and end."""
    entry = HistoryEntry(2, version(NEW), CANCELLED, NOW, NOW + timedelta(minutes=5, seconds=3.7))
    (written,) = status_to_json(Status(history=(entry,)))["history"]
    assert (written["started"], written["ended"]) == ("2026-01-01T12:00:00.000Z", "2026-01-01T12:05:03.700Z")
    assert written["took"] == "5m3s"


EVENTS = {
    "a rollout starts": (snapshot(), [Reason.ROLLOUT_STARTED]),
    "the canary is ready": (
        snapshot(rollout(Stage.PREPARING, fits=True, method=Method.RELOAD), pods=WITH_CANARY),
        [Reason.CANARY_READY, Reason.WEIGHT_SET],
    ),
    "a weight is live": (
        replace(progressing(None, SOON, step_started=None, live=0, live_since=None), route=route(10)),
        [Reason.WEIGHT_LIVE],
    ),
    "a step has passed": (progressing(Verdict.PASS, STEP), [Reason.WEIGHT_SET]),
    "the last step has passed": (progressing(Verdict.PASS, STEP, step=2), [Reason.ANALYSIS_PASSED]),
    "the last step is skipped": (asked(LAST, "skip"), [Reason.REQUEST_DONE, Reason.STEPS_PASSED]),
    "a metric fails": (progressing(Verdict.FAIL, SOON), [Reason.ANALYSIS_FAILED]),
    "a metric falls silent": (progressing(Verdict.NO_DATA, SOON), [Reason.ANALYSIS_NO_DATA]),
    "no room": (ROWS["no room for the canary"].given, [Reason.GPU_CAPACITY_INSUFFICIENT]),
    "a model does not load": (ROWS["the canary cannot load"].given, [Reason.MODEL_LOAD_FAILED]),
    "spec becomes unreadable": (ROWS["spec cannot be read"].given, [Reason.INVALID_SPEC]),
    "nothing happens": (ROWS["settled"].given, []),
}


@pytest.mark.parametrize(("given", "reasons"), EVENTS.values(), ids=EVENTS.keys())
def test_events(given: Snapshot, reasons: list[Reason]) -> None:
    """Each change is said once: the pass after it, over the status as it then stands, says nothing more of it."""
    decision = decide(given)
    assert _said(decision.then) == reasons
    later = replace(given, status=decision.status)
    assert not set(_said(decide(later).then)) & set(reasons)


def _said(actions: tuple[object, ...]) -> list[str]:
    return [action.reason for action in actions if isinstance(action, Emit)]


def test_all_reasons_are_in_one_file() -> None:
    """No module but core/reasons.py makes up a word for an event or for the end of a rollout."""
    root = Path(modelrollout.__file__).parent
    words = {
        (file.name, call.lineno, argument.value)
        for file in (*root.glob("*.py"), *(root / "core").rglob("*.py"))
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and _name(call) in {"Emit", "End", "emit", "Rejected"}
        for argument in call.args
        if isinstance(argument, ast.Constant) and re.fullmatch("([A-Z][A-Za-z]+)+", str(argument.value))
    }
    assert words == set()


def test_every_stage_is_a_phase() -> None:
    """What people read of a rollout under way is the stage that it is in."""
    assert {str(stage) for stage in Stage} <= {str(phase) for phase in Phase}


def _name(call: ast.Call) -> str:
    function = call.func
    return (
        function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    )
