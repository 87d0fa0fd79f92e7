"""A route that others edit or delete, that no gateway accepts, or that overlaps with somebody's: what users get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from playground.kube import PREFIXES
from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    healthy,
    last_version,
    live,
    more_answers,
    outcome,
    quick,
    settled,
    stage,
    start,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene, Traffic

_PATIENT = [{"weight": 20, "duration": "10s"}]
_BAD = {str(NEXT): {"error_rate": 1.0}}
_NOWHERE = {"name": "nowhere", "namespace": "default"}


def _edit(scene: Scene, weight: int) -> None:
    """Somebody gives the canary this share, as kubectl edit does it."""
    route = scene.kube.get("HTTPRoute", scene.name)
    assert route is not None
    for rule in route["spec"]["rules"][:2]:
        rule["backendRefs"][0]["weight"], rule["backendRefs"][1]["weight"] = 100 - weight, weight
    _patch(scene, {"spec": {"rules": route["spec"]["rules"]}})


def _patch(scene: Scene, change: dict[str, Any]) -> None:
    url = f"{scene.kube.url}/{PREFIXES['HTTPRoute']}/namespaces/default/httproutes/{scene.name}"
    headers = {"Content-Type": "application/merge-patch+json"}
    scene.kube.session.patch(url, json=change, headers=headers, timeout=10).raise_for_status()


def _also_to(scene: Scene, version: int, *parents: dict[str, str], **strategy: Any) -> dict[str, Any]:
    """A quick manifest whose route has these parents beside the playground's gateway."""
    fields = quick(scene, version, **strategy)
    fields["spec"]["traffic"]["gatewayAPI"]["parentRefs"].extend(parents)
    return fields


def _events(scene: Scene, reason: str) -> list[dict[str, Any]]:
    """Events about the rollout with this reason."""
    own = {"fieldSelector": f"involvedObject.name={scene.name},reason={reason}"}
    return scene.kube.list("Event", **own)


def _answered_well(traffic: Traffic) -> bool:
    """Whether none of the next hundred answers is a failure."""
    before = more_answers(traffic)
    return not failures(traffic.answers()[before:])


def test_edited_route_is_repaired_while_nothing_happens(scene: Callable[[str], Scene]) -> None:
    """Traffic that somebody sends to a canary that is not there is with the stable pods again, and that is reported."""
    here = scene("route-edited-idle")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        _edit(here, 50)
        here.wait("the repair", lambda _: here.weight() == 0)
        # A proxy takes the repair in when it is told of it.
        here.wait("nobody sent to the canary", lambda _: _answered_well(traffic))
    assert settled(here)["phase"] == "Healthy"
    assert len(_events(here, "RouteOverwritten")) == 1


@pytest.mark.parametrize("weight", [100, pytest.param(0, marks=pytest.mark.long)])
def test_edited_route_is_repaired_in_a_step(scene: Callable[[str], Scene], weight: int) -> None:
    """A weight that somebody sets in a step is set back, the step is entered again, and the rollout ends well."""
    here = scene(f"route-edited-{weight}")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=_PATIENT))
        before = here.wait("the step", _started)["rollout"]["stepStarted"]
        _edit(here, weight)
        again = here.wait("the step again", lambda s: _started(s) and s["rollout"]["stepStarted"] != before)
        status = here.wait("the end", ended(NEXT), 120)
    assert again["rollout"]["step"] == 1
    assert outcome(status, NEXT) == "Promoted", status
    assert set(seen) <= {0, 20, weight}
    assert seen[-1] == 0
    assert not failures(traffic.answers())


def _started(status: dict[str, Any]) -> bool:
    """The step's weight is live, and its clock runs."""
    return "stepStarted" in status.get("rollout", {})


def test_deleted_route_comes_back(scene: Callable[[str], Scene]) -> None:
    """A route that is deleted in a step is made again; users miss it for that moment, the rollout goes on."""
    here = scene("route-deleted")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=_PATIENT))
        started = here.wait("the step", _started)["rollout"]["stepStarted"]
        before = here.kube.get("HTTPRoute", here.name)
        here.kube.delete("HTTPRoute", here.name)
        here.wait("another route", lambda _: _uid(here) not in {None, _uid_of(before)})
        here.wait("the step again", lambda s: _started(s) and s["rollout"]["stepStarted"] != started)
        back = more_answers(traffic)
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers()[back:])
    assert last_version(here) == NEXT


def _uid(scene: Scene) -> str | None:
    return _uid_of(scene.kube.get("HTTPRoute", scene.name))


def _uid_of(found: dict[str, Any] | None) -> str | None:
    return str(found["metadata"]["uid"]) if found else None


@pytest.mark.long  # a fight is over after a minute of peace
def test_contested_route_ends_in_a_truce(scene: Callable[[str], Scene]) -> None:
    """Somebody who edits the route again and again is named as the reason, and the operator stops fighting."""
    here = scene("route-contested")
    start(here)
    status = _fight(here, 50)
    assert f"HTTPRoute {here.name}" in status["message"]
    here.wait("peace", lambda s: healthy(s) and _stalled(s) is None, 150)
    assert here.weight() == 0


def test_contested_route_takes_an_abort(scene: Callable[[str], Scene]) -> None:
    """While the operator has stopped fighting over a route, the weight 0 of an abort is written all the same."""
    here = scene("route-contested-abort")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "60s"}]))
        here.wait("the step", live(20))
        _fight(here, 10)
        _edit(here, 50)
        here.kube.apply(quick(here, STABLE))
        here.wait("leaving the traffic", lambda _: here.weight() == 0)
        status = here.wait("the end", ended(NEXT), 120)
        end = more_answers(traffic)
    assert outcome(status, NEXT) == "Cancelled"
    assert {answer.version for answer in traffic.answers()[end:]} == {STABLE}


def _fight(scene: Scene, weight: int) -> dict[str, Any]:
    """Write this weight whenever the operator has written its own, until it gives in; its status then."""

    def gives_in(status: dict[str, Any]) -> bool:
        if scene.weight() != weight:
            _edit(scene, weight)
        return _stalled(status) == "RouteContested"

    return scene.wait("giving in", gives_in)


def _stalled(status: dict[str, Any]) -> str | None:
    conditions = status.get("conditions", ())
    return next((c["reason"] for c in conditions if c["type"] == "Stalled" and c["status"] == "True"), None)


@pytest.mark.long
def test_gateway_that_does_not_exist_starts_no_clock(scene: Callable[[str], Scene]) -> None:
    """A parent that has not accepted the route means that the weight is not live: the step waits, and says for whom."""
    here = scene("route-nowhere")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_also_to(here, NEXT, _NOWHERE))
        here.wait(
            "a step that waits", lambda s: stage("Progressing")(s) and "nowhere: has not answered" in s["message"]
        )
        more_answers(traffic, 300)
        status = here.status()
        assert status["rollout"]["step"] == 1
        assert not _started(status)
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())


def test_going_back_does_not_wait_for_a_gateway_that_never_answered(scene: Callable[[str], Scene]) -> None:
    """A parent that never had the route has no traffic to drain: going back ends, and the canary's place is free."""
    here = scene("route-nowhere-back")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_also_to(here, NEXT, _NOWHERE))
        here.wait("a step that waits", lambda s: stage("Progressing")(s) and "nowhere" in s["message"])
        here.kube.apply(_also_to(here, STABLE, _NOWHERE))
        status = here.wait("the end", ended(NEXT))
        here.wait("no canary pods", lambda _: not here.pods("canary"))
    assert outcome(status, NEXT) == "Cancelled"
    assert here.weight() == 0
    assert not failures(traffic.answers())


@pytest.mark.long
def test_overlap_before_a_step_starts_no_clock(scene: Callable[[str], Scene]) -> None:
    """While another route takes the same requests no weight is live, and status names that route."""
    here = scene("route-overlap-before")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        _overlap(here, "create")
        try:
            here.kube.apply(quick(here, NEXT))
            overlap = (
                f"RouteRulesOverlap: Overlapping match conditions with route(s): GRPCRoute default/{here.name}-other"
            )
            here.wait("a step that waits", lambda s: stage("Progressing")(s) and overlap in s["message"])
            more_answers(traffic, 300)
            assert not _started(here.status())
        finally:
            _overlap(here, "delete")
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())


def test_overlap_in_a_step_holds_it_and_no_way_back(scene: Callable[[str], Scene]) -> None:
    """A route that somebody lays over ours in a step stops its clock; going back still takes the weight away."""
    here = scene("route-overlap")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "60s"}]))
        here.wait("the step", _started)
        _overlap(here, "create")
        try:
            here.wait("saying so", lambda s: "RouteRulesOverlap" in s["message"])
            assert stage("Progressing")(here.status())
            assert not _started(here.status())
            here.kube.apply(quick(here, STABLE))
            here.wait("leaving the traffic", lambda _: here.weight() == 0)
        finally:
            _overlap(here, "delete")
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "Cancelled"
    assert seen == [0, 20, 0]


def _overlap(scene: Scene, verb: str) -> None:
    """Make or delete a GRPCRoute beside the rollout's route, for the same host and the same gateway."""
    kube = scene.kube
    url = f"{kube.url}/apis/gateway.networking.k8s.io/v1/namespaces/default/grpcroutes"
    if verb == "delete":
        kube.session.delete(f"{url}/{scene.name}-other", timeout=10).raise_for_status()
        return
    rule = {
        "matches": [{"method": {"service": "tensorflow.serving.PredictionService"}}],
        "backendRefs": [{"name": f"{scene.name}-stable", "port": 8500}],
    }
    other = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GRPCRoute",
        "metadata": {"name": f"{scene.name}-other"},
        "spec": {
            "parentRefs": [{"name": "inference", "namespace": "default"}],
            "hostnames": [scene.host],
            "rules": [rule],
        },
    }
    kube.session.post(url, json=other, timeout=10).raise_for_status()
