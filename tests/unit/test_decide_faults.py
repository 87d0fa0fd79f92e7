"""decide(): things break, one row per fault (docs/design.md, "Safety rules")."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.actions import Apply, Reload
from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.snapshot import Child, LoadState, Route, RouteParent, ServerReport, Snapshot, VersionState
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
    silent,
    snapshot,
    stable_pods,
    told,
)
from tests.deciding import climbing, decided, quiet_server

if TYPE_CHECKING:
    from modelrollout.core.snapshot import Pod


SECOND = timedelta(seconds=1)


LONG = timedelta(minutes=30)


STABLE = WITH_CANARY[:2]


END = End(Outcome.ROLLED_BACK, "AnalysisFailed", "bad")


BOTH = report(OLD, NEW, stable=NEW)


CONDITION = {"type": "ReplicaFailure", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"}


def test_no_step_ends_on_an_open_breach() -> None:
    """The next measurement tells whether it is a failure, however late it is."""
    under_way = rollout(Stage.PROGRESSING, step=1, since=LONG)
    measured = analysed(under_way, Verdict.INCONCLUSIVE, breaches=1)
    assert decided(snapshot(under_way, pods=WITH_CANARY, route=route(10), analysed=measured)).step == 1


def proved(*canary: Pod) -> Snapshot:
    """The canary has shown that both versions fit in one server, and is to have the new one alone again."""
    return snapshot(rollout(Stage.PREPARING, since=LONG, fits=True), pods=(*STABLE, *canary))


def preparing(*canary: Pod, **fields: Any) -> Snapshot:
    """A canary that is being started."""
    return snapshot(rollout(Stage.PREPARING, since=LONG), pods=(*STABLE, *canary), **fields)


def asked(pod: Pod, ago: timedelta = LONG) -> Pod:
    """A pod that has had its place for long, and was told so long ago to load both versions."""
    return told(replace(pod, **LATE), OLD, NEW, stable=NEW, ago=ago)


LATE: dict[str, Any] = {"scheduled": NOW - LONG}
EARLY: dict[str, Any] = {"scheduled": NOW - SECOND}
UNJUDGED = {key: value for key, value in raw_spec().items() if key != "analysis"}


REFUSED = Child(
    {"kind": "Deployment", "metadata": {"name": "recsys-canary", "uid": "u"}, "status": {"conditions": [CONDITION]}},
    owned=True,
)


@pytest.mark.parametrize(
    ("given", "rejected"),
    [
        pytest.param(preparing(canary_pod(ready=False, **LATE)), "never opened its ports", id="directory missing"),
        pytest.param(preparing(canary_pod(ready=False, **EARLY)), "", id="directory that may still appear"),
        pytest.param(
            preparing(canary_pod(report(loading=NEW), ready=False, **EARLY)), "", id="slow load within its deadline"
        ),
        pytest.param(preparing(canary_pod(report(failed=NEW), ready=False, **LATE)), "refused", id="refuses to load"),
        pytest.param(
            preparing(quiet_server(canary_pod(**LATE), LONG)), "does not answer over gRPC", id="no gRPC port at all"
        ),
        pytest.param(preparing(asked(canary_pod())), "was told what to load", id="proof that does not come about"),
        pytest.param(preparing(canary_pod(**LATE)), "", id="proof that nobody has asked for: the operator was away"),
        pytest.param(preparing(asked(canary_pod(), ago=SECOND)), "", id="proof that was asked for just now, if late"),
        pytest.param(proved(asked(canary_pod(BOTH))), "", id="proof that is there, if late"),
        pytest.param(
            proved(told(canary_pod(BOTH, **LATE), NEW, stable=NEW, ago=LONG)), "told what to load", id="proof for good"
        ),
        pytest.param(
            preparing(asked(canary_pod(report(NEW, failed=OLD)))), "do not fit in one server", id="two do not fit"
        ),
        pytest.param(
            preparing(canary_pod(ready=False, **LATE), replace(canary_pod(ready=False, **EARLY), name="canary-b")),
            "",
            id="the last pod got its GPU just now",
        ),
        pytest.param(preparing(canary_pod(ready=False, scheduled=None)), "", id="no GPU free"),
        pytest.param(preparing(), "", id="its pod is gone for a moment"),
        pytest.param(
            preparing(children={("Deployment", "recsys-canary"): REFUSED}), "no pod was made", id="a quota refuses pods"
        ),
    ],
)
def test_canary_that_does_not_come_up(given: Snapshot, rejected: str) -> None:
    """Rejected at the deadline in the words of whoever knows best; never for want of a GPU."""
    after = decided(given)
    assert (after.stage is Stage.ROLLING_BACK) is bool(rejected)
    assert rejected in (after.end.message if after.end else "")


@pytest.mark.parametrize(
    ("pod", "back"),
    [
        pytest.param(told(stable_pods(report(OLD, stable=OLD))[0], OLD, stable=OLD), True, id="called, and as before"),
        pytest.param(
            told(stable_pods(report(OLD, stable=OLD))[0], OLD, NEW, stable=OLD),
            False,
            id="called to load, shows nothing yet",
        ),
        pytest.param(
            told(stable_pods(report(OLD, stable=OLD))[0], OLD, stable=OLD, ago=SECOND), False, id="called back just now"
        ),
        pytest.param(stable_pods(report(OLD, stable=OLD))[0], False, id="after a restart nobody knows"),
        pytest.param(
            told(stable_pods(report(OLD, loading=NEW, stable=OLD))[0], OLD, stable=OLD), False, id="still loading"
        ),
        pytest.param(told(stable_pods(None)[0], OLD, stable=OLD), False, id="wedged"),
    ],
)
def test_rollback_is_over_when_no_stable_pod_can_come_up_with_the_new_version(pod: Pod, back: bool) -> None:
    """What a server was told before shows a poll and a tick later, so reports alone are no proof."""
    given = snapshot(rollout(Stage.ROLLING_BACK, step=2, live=0, end=END, since=LONG), pods=(pod,))
    assert (decide(given).status.rollout is None) is back


def test_abort_calls_every_stable_pod_beside_the_write_of_weight_0() -> None:
    """Neither waits for the other; a pod that shows nothing of the new version is called too."""
    promoting = rollout(Stage.PROMOTING, step=2)
    measured = analysed(promoting, Verdict.FAIL)
    given = snapshot(
        promoting, pods=(*stable_pods(BOTH, report(OLD)), canary_pod()), route=route(50), analysed=measured
    )
    first = decide(given).first
    assert {a.pod: a.target.versions for a in first if isinstance(a, Reload)} == {
        "stable-a": (OLD,),
        "stable-b": (OLD,),
    }
    assert [a.urgent for a in first if isinstance(a, Apply)] == [True]


def test_drain_counts_from_weight_0_being_live() -> None:
    """A gateway that took long to follow has sent requests to the canary until then."""
    going = rollout(Stage.ROLLING_BACK, step=1, live=0, end=END, since=LONG)
    just_now = snapshot(going, pods=WITH_CANARY, route=route(0, seen=5 * SECOND))
    assert not [a for a in decide(just_now).then if getattr(a, "why", "") == "no canary wanted"]
    long_ago = replace(just_now, route=route(0, seen=11 * SECOND))
    assert [a for a in decide(long_ago).then if getattr(a, "why", "") == "no canary wanted"]


def test_gateway_that_never_answered_holds_up_no_drain() -> None:
    """It never had the route, so it sends nothing by it."""
    never = Route(
        0, 3, NOW - LONG, "", (RouteParent("inference"), RouteParent("typo", "has not answered", answered=False))
    )
    given = snapshot(rollout(Stage.ROLLING_BACK, step=1, live=0, end=END, since=LONG), pods=WITH_CANARY, route=never)
    assert [a for a in decide(given).then if getattr(a, "why", "") == "no canary wanted"]


def test_bake_does_not_end_before_every_ready_pod_is_verified() -> None:
    """A pod that came up on an old ConfigMap would keep the old version for good."""
    late = stable_pods(BOTH, report(OLD, stable=OLD))
    baking = snapshot(rollout(Stage.BAKING, step=2, live=0, since=LONG), pods=late, spec=UNJUDGED)
    assert decide(baking).status.rollout is not None


def test_pod_that_has_only_the_old_version_gets_both_before_the_label_moves() -> None:
    """Healthy on 102, a pod comes up with 101: TensorFlow Serving refuses a label on a version that does not answer."""
    spec = raw_spec(OLD)
    pod = stable_pods(report(100, stable=100))[0]
    calls = [a.target for a in decide(snapshot(spec=spec, pods=(pod,))).then if isinstance(a, Reload)]
    assert [(target.versions, dict(target.labels)) for target in calls] == [((100, OLD), {"stable": 100})]


def test_version_that_failed_to_load_is_tried_again_after_a_configuration_without_it() -> None:
    """TensorFlow Serving never retries a failed version under the same configuration."""
    failed = ServerReport(
        (VersionState(100, LoadState.AVAILABLE), VersionState(OLD, LoadState.END, "no memory")),
        {"stable": 100},
        frozenset({100}),
    )
    pod = stable_pods(failed)[0]

    def calls(last: Pod) -> list[tuple[int, ...]]:
        then = decide(snapshot(spec=raw_spec(OLD), pods=(last,))).then
        return [a.target.versions for a in then if isinstance(a, Reload)]

    assert calls(told(pod, 100, OLD, stable=100)) == [(100,)]
    assert calls(told(pod, 100, stable=100, ago=SECOND)) == []
    assert calls(told(pod, 100, stable=100)) == [(100, OLD)]


def test_silence_of_one_metric_does_not_use_up_anothers_deadline() -> None:
    """Each metric is patient for itself, and one silent round right after a start proves nothing."""
    metric = {"kind": "ErrorRate", "test": "Limits", "limits": {"max": "0.1"}}
    metrics = [{"name": "errors", **metric, "deadline": "5m"}, {"name": "other", **metric}]
    spec = raw_spec(analysis={"prometheus": {"address": "http://prometheus"}, "metrics": metrics})
    given = replace(progressing(Verdict.NO_DATA, LONG), spec=snapshot(spec=spec).spec)
    assert decided(silent(given, Verdict.NO_DATA, NOW - SECOND)).stage is Stage.PROGRESSING
    assert decided(silent(given, Verdict.NO_DATA, NOW - LONG)).stage is Stage.ROLLING_BACK
    assert given.analysed is not None
    once = {name: replace(state, silent=1) for name, state in given.analysed.metrics.items()}
    restarted = replace(given, analysed=replace(given.analysed, metrics=once))
    assert decided(silent(restarted, Verdict.NO_DATA, NOW - LONG)).stage is Stage.PROGRESSING


def test_contested_route_is_told() -> None:
    """Somebody who changes it again and again is named by what they change."""
    conditions = decide(replace(climbing(canary_pod()), contested="HTTPRoute recsys")).status.story.conditions
    assert [c.reason for c in conditions if c.type == "Stalled"] == ["RouteContested"]


def test_no_step_ends_on_an_old_measurement() -> None:
    """A process that stood still wakes up with a verdict of before; the step ends on the next one."""
    given = progressing(Verdict.PASS, LONG)
    assert given.analysed is not None
    old = replace(given, analysed=replace(given.analysed, at=NOW - 20 * SECOND))
    assert decided(old).step == 1
    assert decided(given).step == 2
