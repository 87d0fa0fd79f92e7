"""decide(): what is written, in which order (docs/design.md, "One pass")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.actions import Action, Apply, Decision, Delete, Reload
from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.names import ANNOTATION_ABORT
from modelrollout.core.route import canary_weight
from modelrollout.core.snapshot import Capacity, Snapshot
from modelrollout.core.status import End, Outcome, Stage
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
)

if TYPE_CHECKING:
    from collections.abc import Iterable

END = End(Outcome.ROLLED_BACK, "AnalysisFailed", "bad")
LONG = timedelta(minutes=5)
BOTH = report(OLD, NEW, stable=NEW)


def applied(actions: Iterable[Action], kind: str, name: str) -> Any:
    """The manifest of this object that is to be applied, None when it is not."""
    found = (a.manifest for a in actions if isinstance(a, Apply) and a.manifest["kind"] == kind)
    return next((manifest for manifest in found if manifest["metadata"]["name"] == name), None)


def weight_in(actions: Iterable[Action]) -> int | None:
    """The weight that is to be written, None when the route is left alone."""
    manifest = applied(actions, "HTTPRoute", "recsys")
    return canary_weight("recsys", manifest) if manifest else None


def reloads(decision: Decision) -> dict[str, tuple[int, ...]]:
    """Which pod is told to have which versions."""
    every = (*decision.first, *decision.then)
    return {action.pod: action.target.versions for action in every if isinstance(action, Reload)}


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(progressing(Verdict.FAIL, LONG), id="on proof"),
        pytest.param(replace(progressing(Verdict.FAIL, LONG), pods=()), id="with no pod left"),
        pytest.param(
            replace(progressing(Verdict.FAIL, LONG), route=route(10, problem="gateway away")),
            id="with the gateway away",
        ),
        pytest.param(
            replace(progressing(Verdict.FAIL, LONG), pods=(*stable_pods(None, None), canary_pod(ready=False))),
            id="with no model server that reports and no pod ready",
        ),
        pytest.param(
            snapshot(rollout(Stage.ROLLING_BACK, end=END), pods=WITH_CANARY, route=route(50)),
            id="when somebody raised it during the rollback",
        ),
    ],
)
def test_weight_0_is_the_first_write_whatever_else_is_wrong(given: Snapshot) -> None:
    """Rule 1: the abort's write comes before the status, with its reason, and depends on nothing."""
    decision = decide(given)
    assert weight_in(decision.first) == 0
    assert ANNOTATION_ABORT in applied(decision.first, "HTTPRoute", "recsys")["metadata"]["annotations"]
    assert weight_in(decision.then) is None


def test_weight_rises_only_when_the_canary_answers() -> None:
    """Rule 5: with the canary's server silent the weight stays where it is."""
    under_way = rollout(Stage.PROGRESSING, step=2)
    under_way = replace(under_way, step_started=None, live=10)
    silent = canary_pod(None)
    silent = replace(silent, server=replace(silent.server, report=None))
    waiting = snapshot(under_way, pods=(*WITH_CANARY[:2], silent), route=route(10))
    assert weight_in(decide(waiting).then) == 10  # written again only because nothing of the route was seen
    assert weight_in(decide(replace(waiting, pods=WITH_CANARY)).then) == 50


@pytest.mark.parametrize(
    ("seen", "problem", "starts"),
    [
        pytest.param(timedelta(seconds=2), "", True, id="accepted and a moment ago"),
        pytest.param(timedelta(0), "", False, id="accepted this instant"),
        pytest.param(timedelta(minutes=1), "Accepted is not known yet", False, id="not accepted"),
    ],
)
def test_step_clock_starts_when_the_weight_is_live(seen: timedelta, problem: str, starts: bool) -> None:
    """Rule 4: every parent accepted this generation, and the proxies have had a moment."""
    under_way = replace(rollout(Stage.PROGRESSING, step=1), step_started=None)
    given = snapshot(under_way, pods=WITH_CANARY, route=route(10, seen=seen, problem=problem))
    decided = decide(given).status.rollout
    assert decided is not None
    assert (decided.step_started == NOW) is starts


def test_promotion_changes_one_pod_at_a_time_by_name() -> None:
    """With maxParallel 1 the first pod by name is told to load, the other is left alone."""
    under_way = rollout(Stage.PROMOTING, step=2)
    given = snapshot(under_way, pods=WITH_CANARY, route=route(50), analysed=analysed(under_way, Verdict.PASS))
    assert reloads(decide(given)) == {"stable-a": (OLD, NEW)}


@pytest.mark.parametrize("verdict", [None, Verdict.NO_DATA, Verdict.ERROR])
def test_no_further_pod_is_promoted_without_a_verdict(verdict: Verdict | None) -> None:
    """While the metrics are silent no stable pod that has not begun is told to load."""
    under_way = rollout(Stage.PROMOTING, step=2)
    measured = analysed(under_way, verdict) if verdict else None
    given = snapshot(under_way, pods=WITH_CANARY, route=route(50), analysed=measured)
    assert reloads(decide(given)) == {}


def test_a_server_that_was_not_heard_yet_needs_no_pass() -> None:
    """Its answer will be an event; of thousands that a new process finds, passes in vain would keep it busy."""
    assert decide(snapshot(spec=raw_spec(OLD), pods=stable_pods(None, None))).requeue is None


def test_label_moves_in_a_call_of_its_own() -> None:
    """Load first, then the label: one call with both would never converge."""
    loaded = report(OLD, NEW, stable=OLD)
    given = snapshot(
        rollout(Stage.PROMOTING, step=2), pods=(*stable_pods(loaded, report(OLD, stable=OLD)), canary_pod())
    )
    first = next(action for action in decide(given).then if isinstance(action, Reload))
    assert (first.pod, first.target.label("stable")) == ("stable-a", NEW)


@pytest.mark.parametrize(
    ("reports", "versions"),
    [
        pytest.param(
            (BOTH, report(OLD, stable=OLD)), "versions: 101 }", id="one pod is not through: still the old one"
        ),
        pytest.param((BOTH, BOTH), "versions: 101 versions: 102 }", id="all pods are through: both"),
    ],
)
def test_configmap_never_runs_ahead(reports: tuple[Any, ...], versions: str) -> None:
    """What a restarted pod comes up with is what every pod was verified to have."""
    given = snapshot(rollout(Stage.PROMOTING, step=2), pods=(*stable_pods(*reports), canary_pod()), route=route(50))
    manifest = applied(decide(given).then, "ConfigMap", "recsys-stable")
    assert versions in manifest["data"]["models.config"]


def test_abort_sends_the_old_version_to_every_changed_pod() -> None:
    """Stable pods go back side by side, whatever state they are in."""
    pods = (*stable_pods(BOTH, report(OLD, loading=NEW, stable=OLD)), canary_pod())
    given = snapshot(rollout(Stage.ROLLING_BACK, end=END), pods=pods, route=route(0))
    assert reloads(decide(given)) == {"stable-a": (OLD,), "stable-b": (OLD,)}


def test_canary_goes_only_after_weight_0_has_drained() -> None:
    """The canary's Deployment is deleted when the drain is over, not before."""

    def deleted(since: timedelta) -> list[str]:
        given = snapshot(rollout(Stage.ROLLING_BACK, end=END, since=since), pods=WITH_CANARY, route=route(0))
        return [action.name for action in decide(given).then if isinstance(action, Delete)]

    assert deleted(timedelta(seconds=9)) == []
    assert deleted(timedelta(seconds=10)) == ["recsys-canary"]


def test_no_canary_is_made_without_room() -> None:
    """Rule 7: no free slot, no Deployment; the story says which resource is short."""
    spec = raw_spec()
    spec["serving"] = {**spec["serving"], "gpu": {"resource": "nvidia.com/gpu", "count": 1}}
    given = replace(snapshot(spec=spec), children={}, capacity=Capacity(0, "0 of 4 free"))
    decision = decide(given)
    assert applied(decision.then, "Deployment", "recsys-canary") is None
    assert "InsufficientGPU" in decision.status.story.message
    roomy = decide(replace(given, capacity=Capacity(1)))
    assert applied(roomy.then, "Deployment", "recsys-canary") is not None
