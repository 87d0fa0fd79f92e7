"""decide(): things break, one row per fault (docs/design.md, "Safety rules")."""

from __future__ import annotations

from dataclasses import dataclass, replace
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

if TYPE_CHECKING:
    from modelrollout.core.snapshot import Pod
    from modelrollout.core.status import Rollout

SECOND = timedelta(seconds=1)
LONG = timedelta(minutes=30)
STABLE = WITH_CANARY[:2]
END = End(Outcome.ROLLED_BACK, "AnalysisFailed", "bad")
BOTH = report(OLD, NEW, stable=NEW)
CONDITION = {"type": "ReplicaFailure", "status": "True", "lastTransitionTime": "2026-01-01T11:00:00Z"}


def quiet_server(pod: Pod, since: timedelta, words: str = "UNAVAILABLE: refused") -> Pod:
    """The pod with a model server that has not answered for so long."""
    return replace(pod, server=replace(pod.server, report=None, error=words, silent_since=NOW - since))


def climbing(*canary: Pod, step: int = 1, **fields: Any) -> Snapshot:
    """In a step with these canary pods, which one pod carried when its weight became live."""
    return replace(progressing(Verdict.PASS, 20 * SECOND, step=step, **fields), pods=(*STABLE, *canary))


def decided(given: Snapshot) -> Rollout:
    """The rollout after the pass; it must not be over."""
    after = decide(given).status.rollout
    assert after is not None
    return after


@dataclass(frozen=True)
class Lost:
    """Canary pods that may have gone; what is left of the step, and how many setbacks there have been."""

    given: Snapshot
    live: int
    setbacks: int


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(Lost(climbing(canary_pod()), 10, 0), id="a canary that answers carries its weight"),
        pytest.param(Lost(climbing(), 0, 1), id="all canary pods gone"),
        pytest.param(Lost(climbing(canary_pod(ready=False)), 0, 1), id="all canary pods unready"),
        pytest.param(Lost(climbing(canary_pod(), carriers=2), 10, 0), id="fewer than carried the weight, just now"),
        pytest.param(
            Lost(climbing(canary_pod(), carriers=2, lost_since=NOW - 6 * SECOND), 10, 0),
            id="fewer than carried the weight, but as many as the step asks for",
        ),
        pytest.param(
            Lost(climbing(quiet_server(canary_pod(), 4 * SECOND)), 10, 0), id="a server that is silent for a moment"
        ),
        pytest.param(
            Lost(climbing(quiet_server(canary_pod(), 5 * SECOND)), 0, 1), id="a server that stays silent over gRPC"
        ),
        pytest.param(Lost(climbing(canary_pod(report(OLD, stable=OLD))), 0, 1), id="a server without the version"),
        pytest.param(
            Lost(replace(climbing(step=2, live=10), route=route(10)), 0, 1),
            id="all canary pods gone while the next step is being set up",
        ),
    ],
)
def test_lost_canary_pods_lose_their_traffic(row: Lost) -> None:
    """Rule 5: what does not answer has no weight; the step is entered again when it does."""
    decision = decide(row.given)
    after = decision.status.rollout
    assert after is not None
    assert (after.live, after.setbacks) == (row.live, row.setbacks)
    assert decision.status.story.weight_set == row.live
    assert after.stage is Stage.PROGRESSING


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param(
            climbing(step_started=None, live=0, live_since=None, lost_since=NOW - SECOND, setbacks=3),
            "lost 3 times",
            id="for the third time",
        ),
        pytest.param(
            climbing(
                quiet_server(canary_pod(scheduled=NOW - LONG), LONG),
                step_started=None,
                live=0,
                live_since=None,
                lost_since=NOW - LONG,
            ),
            "does not answer over gRPC: UNAVAILABLE: refused",
            id="not back by the deadline",
        ),
    ],
)
def test_canary_pods_lost_for_good_reject_the_version(given: Snapshot, words: str) -> None:
    """Pods that go away again and again, or do not come back, are the version's doing."""
    end = decided(given).end
    assert end is not None
    assert end.reason == "CanaryUnavailable"
    assert words in end.message


def test_step_goes_on_when_lost_pods_are_back() -> None:
    """First the pods, then the weight, then the clock."""
    waiting = climbing(step_started=None, live=0, live_since=None, lost_since=NOW - SECOND, setbacks=1)
    assert decide(replace(waiting, route=route(0))).status.story.weight_set == 0
    back = replace(waiting, pods=WITH_CANARY, route=route(0))
    assert decided(back).lost_since is None
    ready = climbing(canary_pod(), step_started=None, live=0, live_since=None, setbacks=1)
    assert decide(replace(ready, route=route(0))).status.story.weight_set == 10
    assert decided(replace(ready, route=route(10))).step_started == NOW


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(route(90), id="somebody raised it"),
        pytest.param(route(0), id="somebody lowered it"),
        pytest.param(None, id="somebody deleted it"),
        pytest.param(route(10, problem="RouteRulesOverlap"), id="a gateway does not follow it any more"),
    ],
)
def test_route_that_is_not_as_it_should_be_begins_the_step_again(changed: Route | None) -> None:
    """Rule 4: the clock counts only while the weight is live; the canary is judged on meanwhile."""
    after = decided(replace(climbing(canary_pod()), route=changed))
    assert after.step_started is None
    assert after.live == 10


def test_canary_is_judged_while_the_next_step_waits_for_its_pods() -> None:
    """As long as any weight is live, proof of failure ends it."""
    waiting = climbing(canary_pod(), step=2, step_started=None, live=10)
    failing = replace(waiting, analysed=analysed(waiting.status.rollout, Verdict.FAIL))  # type: ignore[arg-type] # there is one
    assert decided(failing).stage is Stage.ROLLING_BACK


def test_no_step_ends_on_an_open_breach() -> None:
    """The next measurement tells whether it is a failure, however late it is."""
    under_way = rollout(Stage.PROGRESSING, step=1, since=LONG)
    measured = analysed(under_way, Verdict.INCONCLUSIVE, breaches=1)
    assert decided(snapshot(under_way, pods=WITH_CANARY, route=route(10), analysed=measured)).step == 1


def test_step_does_not_end_before_a_restarted_operator_has_asked_the_canary() -> None:
    """A server that was not asked yet proves nothing, for or against."""
    unasked = replace(canary_pod(), server=replace(canary_pod().server, report=None))
    after = decided(replace(progressing(Verdict.PASS, LONG), pods=(*STABLE, unasked)))
    assert (after.step, after.live) == (1, 10)


def preparing(*canary: Pod, **fields: Any) -> Snapshot:
    """A canary that is being started."""
    return snapshot(rollout(Stage.PREPARING, since=LONG), pods=(*STABLE, *canary), **fields)


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
        pytest.param(preparing(canary_pod(**LATE)), "was told what to load", id="proof that does not come about"),
        pytest.param(
            preparing(canary_pod(report(NEW, failed=OLD), **LATE)), "do not fit in one server", id="two do not fit"
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


def test_restarted_operator_keeps_the_weight_until_it_has_asked_the_canary() -> None:
    """Killed between raising the weight and noting it: not knowing yet is no reason to lower it."""
    unasked = replace(canary_pod(), server=replace(canary_pod().server, report=None))
    entering = climbing(unasked, step_started=None, live=0, live_since=None)
    assert decide(replace(entering, route=route(10))).status.story.weight_set == 10
    assert decide(replace(entering, route=route(0))).status.story.weight_set == 0
    asked = replace(unasked, server=replace(unasked.server, silent_since=NOW))
    assert decide(replace(entering, route=route(10), pods=(*STABLE, asked))).status.story.weight_set == 0


def test_canary_that_falls_silent_while_promoting_loses_its_traffic() -> None:
    """Stable pods take over at once: they are being promoted anyway."""
    promoting = rollout(Stage.PROMOTING, step=2)
    half = snapshot(promoting, pods=WITH_CANARY, route=route(50), analysed=analysed(promoting, Verdict.PASS))
    assert decide(half).status.story.weight_set == 50
    quiet = replace(half, pods=(*STABLE, canary_pod(), replace(quiet_server(canary_pod(), LONG), name="canary-b")))
    assert decide(quiet).status.story.weight_set == 0


def test_no_step_ends_on_an_old_measurement() -> None:
    """A process that stood still wakes up with a verdict of before; the step ends on the next one."""
    given = progressing(Verdict.PASS, LONG)
    assert given.analysed is not None
    old = replace(given, analysed=replace(given.analysed, at=NOW - 20 * SECOND))
    assert decided(old).step == 1
    assert decided(given).step == 2
