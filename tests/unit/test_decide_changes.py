"""decide(): people change their minds, one row per wish and phase (docs/design.md, "Stages of a rollout")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from modelrollout.core.actions import Apply
from modelrollout.core.decide import decide
from modelrollout.core.revisions import revision_of
from modelrollout.core.snapshot import Capacity, Child, Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import End, HistoryEntry, Outcome, Rejected, Stage, Status
from tests.builders import (
    NEW,
    NOW,
    OLD,
    raw_spec,
    revision,
    snapshot,
    version,
)
from tests.deciding import BAKING, in_phase, weight_first


@dataclass(frozen=True)
class Row:
    """A situation, and the stage and the reason of an end that follow from it."""

    given: Snapshot
    stage: Stage | None
    reason: str = ""


PHASES = [
    pytest.param(Stage.PREPARING, 0, id="Preparing"),
    pytest.param(Stage.PROGRESSING, 1, id="step 1"),
    pytest.param(Stage.PROGRESSING, 2, id="step 2"),
    pytest.param(Stage.PROMOTING, 2, id="Promoting half way"),
    pytest.param(Stage.BAKING, 2, id="Baking"),
]


@pytest.mark.parametrize(("stage", "step"), PHASES)
@pytest.mark.parametrize(("wish", "reason"), [(103, "NewRevision"), (OLD, "SpecReturned")])
def test_another_wish_takes_the_rollout_back(stage: Stage, step: int, wish: int, reason: str) -> None:
    """A third version supersedes, the stable one cancels; whatever weight there is goes first."""
    given = in_phase(stage, raw_spec(wish), step)
    decision = decide(given)
    assert decision.status.rollout is not None
    assert decision.status.rollout.stage is Stage.ROLLING_BACK
    assert decision.status.rollout.end is not None
    assert decision.status.rollout.end.reason == reason
    assert weight_first(decision) == (0 if given.route and given.route.weight else None)


def promoted(attempt: int, number: int, reason: str = "Promoted") -> HistoryEntry:
    """A rollout that ended well."""
    return HistoryEntry(attempt, version(number), End(Outcome.PROMOTED, reason, "good"), NOW, NOW)


def settled(spec: dict[str, Any], **status: Any) -> Snapshot:
    """Nothing under way; 101 serves."""
    return snapshot(spec=spec, status=Status(stable=version(OLD), **status))


LONG_AGO = tuple(promoted(9 - n, number) for n, number in enumerate((OLD, 107, 106, 105, 100)))


NEVER = raw_spec(strategy={**raw_spec()["strategy"], "rollback": {"fastPathRevisions": 0}}, version=100)


AGAIN = f"retry:{revision(NEW).name}.2:0"


LEFT = (promoted(4, OLD, "Undone"), promoted(3, NEW), promoted(2, OLD))


WAS_REJECTED = {
    "rejected": Rejected(version(NEW), "AnalysisFailed", "bad"),
    "history": (HistoryEntry(2, version(NEW), End(Outcome.ROLLED_BACK, "AnalysisFailed", "bad"), NOW, NOW),),
}


ROWS = [
    pytest.param(
        Row(in_phase(Stage.ROLLING_BACK, raw_spec(103)), Stage.ROLLING_BACK, "SpecReturned"),
        id="a rollback is finished whatever spec asks for meanwhile",
    ),
    pytest.param(
        Row(settled(raw_spec(103), **WAS_REJECTED), Stage.PREPARING), id="after a rejection another version starts"
    ),
    pytest.param(
        Row(settled(raw_spec(OLD), **WAS_REJECTED), None), id="after a rejection the stable version ends the story"
    ),
    pytest.param(Row(settled(raw_spec(NEW), **WAS_REJECTED), None), id="a rejected version is not tried again"),
    pytest.param(
        Row(replace(settled(raw_spec(NEW), **WAS_REJECTED), request=AGAIN), Stage.PREPARING),
        id="a rejected version is tried again on request",
    ),
    pytest.param(
        Row(replace(settled(raw_spec(NEW), **WAS_REJECTED), request=AGAIN.replace(".2:", ".1:")), None),
        id="a request for an attempt that is over does nothing",
    ),
    pytest.param(
        Row(
            replace(in_phase(Stage.PROGRESSING, raw_spec(), 1), request=f"abort:{revision(NEW).name}.2:1"),
            Stage.ROLLING_BACK,
            "AbortRequested",
        ),
        id="abort on request",
    ),
    pytest.param(
        Row(
            replace(in_phase(Stage.PROGRESSING, raw_spec(), 1), request=f"abort:{revision(NEW).name}.1:1"),
            Stage.PROGRESSING,
        ),
        id="a stale abort does nothing",
    ),
    pytest.param(
        Row(settled(raw_spec(100), history=(promoted(2, OLD), promoted(1, 100))), Stage.PROMOTING),
        id="back to the version promoted before: the fast path",
    ),
    pytest.param(
        Row(settled(raw_spec(100), history=LONG_AGO), Stage.PREPARING), id="back to one long gone: with steps"
    ),
    pytest.param(
        Row(settled(NEVER, history=(promoted(2, OLD), promoted(1, 100))), Stage.PREPARING),
        id="without a fast path every way back takes the steps",
    ),
    pytest.param(
        Row(settled(raw_spec(NEW), history=LEFT), Stage.PREPARING), id="what was left by the fast path takes its steps"
    ),
    pytest.param(
        Row(replace(settled(raw_spec(NEW)), conflict="REST requests go to another"), None),
        id="nothing starts while somebody else has the match",
    ),
    pytest.param(
        Row(replace(settled(raw_spec(NEW)), invalid="spec cannot be read"), None),
        id="nothing starts on a spec that cannot be read",
    ),
]


def test_retry_that_cannot_start_yet_stays_pending() -> None:
    """While somebody else has the match the request is neither answered nor lost; afterwards it is carried out."""
    asked = replace(settled(raw_spec(NEW), **WAS_REJECTED), request=AGAIN)
    held = decide(replace(asked, conflict="REST requests go to another")).status
    assert (held.rollout, held.last_request) == (None, None)
    begun = decide(asked).status
    assert begun.rollout is not None
    assert begun.last_request is not None
    assert begun.last_request.answer == "retry: done"


@pytest.mark.parametrize("row", ROWS)
def test_wish(row: Row) -> None:
    """The stage that follows, and why."""
    status = decide(row.given).status
    assert (status.rollout.stage if status.rollout else None) is row.stage
    end = status.rollout.end if status.rollout else None
    assert (end.reason if end else "") == row.reason


def changed_serving(**fields: Any) -> dict[str, Any]:
    """A spec that asks for the stable version with other serving fields."""
    return raw_spec(OLD, serving={**raw_spec()["serving"], **fields})


ROLLS = raw_spec(strategy={**raw_spec()["strategy"], "promotion": {"method": "Roll"}})


@pytest.mark.parametrize(
    ("spec", "method"),
    [
        pytest.param(raw_spec(), Method.RELOAD, id="version only"),
        pytest.param(raw_spec(100), Method.RELOAD, id="a lower version"),
        pytest.param(ROLLS, Method.ROLL, id="method: Roll"),
        pytest.param(changed_serving(image="other"), Method.ROLL, id="serving fields only"),
        pytest.param(
            changed_serving(gpu={"resource": "nvidia.com/mig-1g.10gb"}), Method.ROLL, id="GPU resource changed"
        ),
        pytest.param(
            {**changed_serving(image="x"), "model": raw_spec()["model"]}, Method.ROLL, id="version and serving"
        ),
        pytest.param(
            raw_spec(model={"basePath": "/models/other", "version": OLD}), Method.ROLL, id="base path changed"
        ),
    ],
)
def test_how_stable_pods_will_get_the_revision(spec: dict[str, Any], method: Method) -> None:
    """A reload changes the version and nothing else; whatever shapes pods is rolled."""
    status = decide(settled(spec)).status
    assert status.rollout is not None
    assert status.rollout.method is method


def test_steps_are_frozen_with_the_first_and_the_rest_applies_at_once() -> None:
    """Edited steps are for the next attempt; an edited duration of the bake counts now."""
    edited = {**raw_spec()["strategy"], "steps": [{"weight": 90, "duration": "1s"}], "bake": {"duration": "1s"}}
    climbing = decide(in_phase(Stage.PROGRESSING, raw_spec(strategy=edited), 1)).status.rollout
    assert climbing is not None
    assert [step.weight for step in climbing.steps] == [10, 50]
    baking = in_phase(Stage.BAKING, raw_spec(strategy={**edited, "drainDuration": "1s"}), 2)
    over = replace(baking, children={}, pods=BAKING)
    assert decide(over).status.rollout is None


@pytest.mark.parametrize(("stage", "step"), PHASES)
@pytest.mark.parametrize("replicas", [1, 5])
def test_replicas_follow_spec_in_every_phase(stage: Stage, step: int, replicas: int) -> None:
    """An autoscaler is not held up by a rollout, and its change is not another revision."""
    decision = decide(in_phase(stage, raw_spec(serving={**raw_spec()["serving"], "replicas": replicas}), step))
    written = [a.manifest for a in decision.then if isinstance(a, Apply) and a.manifest["kind"] == "Deployment"]
    stable = next(manifest for manifest in written if manifest["metadata"]["name"] == "recsys-stable")
    assert stable["spec"]["replicas"] == replicas
    assert decision.status.rollout is not None
    assert decision.status.rollout.stage is not Stage.ROLLING_BACK


def test_promotion_waits_for_pods_that_an_autoscaler_added() -> None:
    """Half of the pods is not all of them: the bake starts when each one serves the new version."""
    spec = raw_spec(serving={**raw_spec()["serving"], "replicas": 3})
    given = replace(in_phase(Stage.PROMOTING, spec, 2), pods=BAKING)
    assert decide(given).status.rollout == given.status.rollout


def test_revision_names_differ_where_pods_would() -> None:
    """Replicas and strategy are no part of a revision; image and base path are."""
    assert revision_of(raw_spec(serving={**raw_spec()["serving"], "replicas": 9})) == revision_of(raw_spec())
    assert revision_of(changed_serving(image="other")).name != revision_of(raw_spec(OLD)).name


def test_roll_waits_for_room_for_one_more_pod() -> None:
    """The new template is not written before a pod of it could start; then the old pods go one by one."""
    spec = changed_serving(gpu={"resource": "nvidia.com/gpu"})
    base = in_phase(Stage.PROMOTING, spec, 2)
    assert base.status.rollout is not None
    under_way = replace(
        base.status.rollout, target=replace(version(OLD), revision=base.target.name), method=Method.ROLL
    )
    made = Child(
        {
            "kind": "Deployment",
            "metadata": {"name": "recsys-stable", "uid": "u"},
            "spec": {"template": {"metadata": {}}},
        },
        owned=True,
    )
    given = replace(
        base,
        status=replace(base.status, rollout=under_way),
        children={**base.children, ("Deployment", "recsys-stable"): made},
        revisions={**base.revisions, base.target.name: base.target},
        now=NOW + timedelta(seconds=1),
    )

    def template(slots: int) -> Any:
        decision = decide(replace(given, capacity=Capacity(slots)))
        found = [a.manifest for a in decision.then if isinstance(a, Apply) and a.manifest["kind"] == "Deployment"]
        stable = next(manifest for manifest in found if manifest["metadata"]["name"] == "recsys-stable")
        return stable["spec"]["template"]["metadata"].get("annotations", {}).get("modelrollout.io/template")

    assert template(0) is None
    assert template(1) == "2"
    full = replace(given, capacity=Capacity(0, "too few are free"))
    assert "InsufficientGPU: no room for one more stable pod" in decide(full).status.story.message
