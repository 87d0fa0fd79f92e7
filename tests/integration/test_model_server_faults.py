"""Model servers that do not do as they are told: traffic comes first, and status says who is waited for, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    half_promoted,
    healthy,
    last_version,
    live,
    more_answers,
    outcome,
    quick,
    reach,
    stage,
    start,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

_BAD = {str(NEXT): {"error_rate": 1.0}}
_SHORT = [{"weight": 20, "duration": "2s"}]
_PATIENT = [{"weight": 20, "duration": "60s"}]

_REFUSED = pytest.param({"refuse_reload": "no more handles"}, "no more handles", id="refused")
_IGNORED = pytest.param({"ignore_reload": True}, "", id="answered but ignored")
_LATE = pytest.param({"reload_seconds": 12}, "DEADLINE_EXCEEDED", id="timed out")
_WEDGED = pytest.param({"hang_reload": True}, "DEADLINE_EXCEEDED", id="wedged")
_NO_PORT = pytest.param({"close_grpc": True}, "UNAVAILABLE", id="gRPC port dead")


def _seldom(*faults: Any) -> list[Any]:
    """The same, left to `make test-all`: each waits for calls that are never answered."""
    return [pytest.param(*fault.values, id=fault.id, marks=pytest.mark.long) for fault in faults]


def _first_stable(scene: Scene) -> str:
    """The stable pod that is changed first."""
    return min(str(pod["metadata"]["name"]) for pod in scene.pods("stable"))


def _says(name: str, stage_name: str, *words: str) -> Callable[[dict[str, Any]], bool]:
    """The rollout is in this stage, and its message has all these words."""
    return lambda status: stage(stage_name)(status) and all(word in status["message"] for word in (name, *words))


def _heal(scene: Scene, fault: dict[str, Any], pod: str) -> None:
    """End the fault; a wedged server has to be restarted for that."""
    scene.misbehave({})
    if "hang_reload" in fault:
        scene.kube.delete("Pod", pod)


@pytest.mark.parametrize(("fault", "words"), [_WEDGED, *_seldom(_REFUSED, _IGNORED, _LATE, _NO_PORT)])
def test_promotion_waits_for_a_stable_server(
    scene: Callable[[str], Scene], request: pytest.FixtureRequest, fault: dict[str, Any], words: str
) -> None:
    """A stable server that does not load what it is told holds the promotion, is named, and is forgiven once it does.

    No answer is not a bad answer: the version is not rejected for it.
    """
    here = scene(f"server-raise-{_slug(request)}")
    start(here)
    name = _first_stable(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.misbehave({"server": {**fault, "pods": name}})
        here.kube.apply(quick(here, NEXT, steps=_SHORT))
        here.wait("a promotion that waits", _says(name, "Promoting", words), 150)
        if "close_grpc" not in fault:
            assert not failures(traffic.answers())
        _heal(here, fault, name)
        status = here.wait("the end", ended(NEXT), 150)
        more_answers(traffic)
    assert outcome(status, NEXT) == "Promoted", status
    assert status["history"][0]["attempt"] == 2
    assert seen == [0, 20, 0]
    assert last_version(here) == NEXT


@pytest.mark.parametrize(("fault", "words"), _seldom(_WEDGED, _REFUSED, _IGNORED, _LATE, _NO_PORT))
def test_going_back_waits_for_a_stable_server_without_the_weight(
    scene: Callable[[str], Scene], request: pytest.FixtureRequest, fault: dict[str, Any], words: str
) -> None:
    """Going back half way, the weight is 0 at once although a server keeps the version; that server is waited for."""
    here = scene(f"server-lower-{_slug(request)}")
    start(here)
    name = _first_stable(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        reach(here, "Promoting half way")
        here.misbehave({"server": {**fault, "pods": name}})
        here.kube.apply(quick(here, STABLE))
        here.wait("a rollback that waits", _says(name, "RollingBack", words))
        assert here.weight() == 0
        more_answers(traffic)
        assert stage("RollingBack")(here.status()) or "reload_seconds" in fault
        _heal(here, fault, name)
        status = here.wait("the end", ended(NEXT))
        here.wait("health", healthy)
    assert outcome(status, NEXT) == "Cancelled", status
    assert seen == [0, 20, 50, 0]
    assert last_version(here) == STABLE


def test_wedged_server_does_not_keep_the_others_from_going_back(scene: Callable[[str], Scene]) -> None:
    """When a bake is given up, every server but the wedged one is back at once; that one after its restart."""
    here = scene("server-lower-bake")
    start(here)
    name = _first_stable(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, "Baking")
        here.misbehave({"server": {"hang_reload": True, "pods": name}})
        here.kube.apply(quick(here, STABLE))
        other = next(pod["metadata"]["name"] for pod in here.pods("stable") if pod["metadata"]["name"] != name)
        waits = _says(name, "RollingBack")
        here.wait("a rollback that waits for it alone", lambda s: waits(s) and other not in s["message"])
        _heal(here, {"hang_reload": True}, name)
        status = here.wait("the end", ended(NEXT))
        more_answers(traffic)
    assert outcome(status, NEXT) == "Cancelled", status
    assert not failures(traffic.answers())
    assert last_version(here) == STABLE


@pytest.mark.parametrize(("fault", "words"), [_NO_PORT, *_seldom(_WEDGED, _REFUSED, _IGNORED, _LATE)])
def test_abort_needs_no_model_server(
    scene: Callable[[str], Scene], request: pytest.FixtureRequest, fault: dict[str, Any], words: str
) -> None:
    """With every server of both tracks at fault a bad version still loses its traffic, and for the right reason."""
    del words
    here = scene(f"server-abort-{_slug(request)}")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=_PATIENT))
        here.wait("the first step", live(20))
        here.misbehave({"server": fault, "versions": _BAD})
        here.wait("leaving the traffic", lambda _: here.weight() == 0)
        here.misbehave({"versions": _BAD})
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert seen == [0, 20, 0]
    assert last_version(here) == STABLE


@pytest.mark.parametrize(("fault", "words"), [_REFUSED, *_seldom(_WEDGED, _IGNORED)])
def test_proof_that_does_not_come_about_is_a_rejection(
    scene: Callable[[str], Scene], request: pytest.FixtureRequest, fault: dict[str, Any], words: str
) -> None:
    """A canary server that does not load both versions by the deadline has its revision rejected, before traffic."""
    here = scene(f"server-proof-{_slug(request)}")
    start(here)
    here.misbehave({"server": {**fault, "pods": f"{here.name}-canary"}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, canaryReadyDeadline="25s"))
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert f"{here.name}-canary" in status["rejected"]["message"]
    assert words in status["rejected"]["message"]
    assert not failures(traffic.answers())
    assert {answer.version for answer in traffic.answers()} == {STABLE}


def test_canary_without_its_grpc_port_never_has_traffic(scene: Callable[[str], Scene]) -> None:
    """A canary that is ready over REST alone does not count: its revision is rejected for what its server says."""
    here = scene("server-port-canary")
    start(here)
    here.misbehave({"server": {"close_grpc": True, "pods": f"{here.name}-canary"}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, canaryReadyDeadline="15s"))
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert "UNAVAILABLE" in status["rejected"]["message"]
    assert not failures(traffic.answers())
    assert {answer.version for answer in traffic.answers()} == {STABLE}


def test_canary_that_loses_its_grpc_port_loses_its_traffic(scene: Callable[[str], Scene]) -> None:
    """A canary whose gRPC port dies while it has weight counts as gone: weight 0, the step again once it is back."""
    here = scene("server-port-lost")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=[{"weight": 20, "duration": "15s"}]))
        here.wait("the first step", live(20))
        here.misbehave({"server": {"close_grpc": True, "pods": f"{here.name}-canary"}})
        here.wait("leaving the traffic", lambda _: here.weight() == 0)
        assert stage("Progressing")(here.status())
        out = len(traffic.answers())
        more_answers(traffic)
        healed = len(traffic.answers())
        here.misbehave({})
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 20, 0, 20, 0]
    assert not failures(traffic.answers()[out + 30 : healed])


@pytest.mark.long
def test_canary_that_falls_silent_while_promoting_is_not_needed(scene: Callable[[str], Scene]) -> None:
    """When a canary stops answering half way through the promotion, stable pods take its traffic and go on."""
    here = scene("server-port-promoting")
    start(here)
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        here.wait("step 2", live(50), 120)
        slow = {str(NEXT): {"load_seconds": 12}}
        here.misbehave({"versions": slow})
        here.wait("a promoted pod", half_promoted, 120)
        here.misbehave({"server": {"close_grpc": True, "pods": f"{here.name}-canary"}, "versions": slow})
        here.wait("leaving the traffic", lambda s: here.weight() == 0 and stage("Promoting")(s))
        more_answers(traffic)
        out = len(traffic.answers())
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert seen == [0, 20, 50, 0]
    assert not failures(traffic.answers()[out:])
    assert last_version(here) == NEXT


def _slug(request: pytest.FixtureRequest) -> str:
    return str(request.node.callspec.id).lower().replace(" ", "-")
