"""Two ModelRollouts claim one match on one listener: the older keeps it, the newer says why it has no route."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.situations import (
    LATER,
    NEXT,
    STABLE,
    ended,
    failures,
    healthy,
    history,
    promote,
    quick,
    serving,
    settled,
    start,
    versions_since,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene


def _rival(newer: Scene, older: Scene, model: str) -> Object:
    """A manifest with the older object's host name; served as `model`, from a directory of its own."""
    newer.publish(LATER)
    newer.misbehave({})
    manifest = quick(newer, LATER, replicas=1)
    manifest["spec"]["model"]["name"] = model
    manifest["spec"]["traffic"]["gatewayAPI"]["hostnames"] = [older.host]
    return manifest


def _conflict(status: Object) -> str:
    """The message of `Stalled` with reason RouteConflict, empty without it."""
    found = (item for item in status.get("conditions", ()) if item["type"] == "Stalled" and item["status"] == "True")
    return next((item["message"] for item in found if item["reason"] == "RouteConflict"), "")


@pytest.mark.parametrize(
    ("slug", "match"),
    [
        pytest.param("both", "", id="the same model"),
        pytest.param("grpc", "gRPC", id="gRPC alone, as paths of gRPC do not name the model"),
    ],
)
def test_older_object_keeps_its_match(scene: Callable[[str], Scene], slug: str, match: str) -> None:
    """The newer object makes no route and names the older one; its servers run, and take over when the older goes."""
    older, newer = scene(f"older-{slug}"), scene(f"newer-{slug}")
    start(older)
    model = newer.name if match else older.name
    with older.traffic() as traffic:
        wait_for_answers(traffic)
        newer.kube.apply(_rival(newer, older, model))
        status = newer.wait("the stall", _conflict)
        assert f"default/{older.name}" in _conflict(status)
        assert match in _conflict(status)
        newer.wait("its servers", lambda _: len(serving(newer)) == 1)
        promote(older, NEXT)
        assert newer.kube.get("HTTPRoute", newer.name) is None
    assert not failures(traffic.answers())
    assert versions_since(traffic, 0) == {STABLE, NEXT}
    older.kube.delete("ModelRollout", older.name)
    newer.wait("its route", lambda s: not _conflict(s) and newer.kube.get("HTTPRoute", newer.name), 120)
    assert history(settled(newer)) == [(LATER, "Promoted")]


def test_claim_made_by_an_edit(scene: Callable[[str], Scene]) -> None:
    """An object edited into an older one's match does not get it, whoever's route is older; edited back, it goes on."""
    older, newer = scene("older-edit"), scene("newer-edit")
    start(older)
    rival = _rival(newer, older, older.name)
    apart = quick(newer, LATER, replicas=1)
    apart["spec"]["model"]["name"] = older.name
    newer.kube.apply(apart)
    newer.wait("a host name of its own", healthy)
    older.kube.delete("HTTPRoute", older.name)
    older.wait("a younger route", lambda _: older.kube.get("HTTPRoute", older.name) is not None)
    settled(older)
    with older.traffic() as traffic:
        wait_for_answers(traffic)
        newer.kube.apply(rival)
        newer.wait("the stall", _conflict)
        wait_for_answers(traffic, len(traffic.answers()) + 200)
    assert versions_since(traffic, 0) == {STABLE}
    assert not failures(traffic.answers())
    newer.kube.apply(apart)
    newer.wait("its own host name again", lambda s: healthy(s) and not _conflict(s))
    settled(newer)


@pytest.mark.long
def test_conflict_does_not_hold_a_rollout_of_the_older(scene: Callable[[str], Scene]) -> None:
    """A claim made in the middle of a rollout disturbs only the object that made it: a bad version is taken back."""
    older, newer = scene("older-bad"), scene("newer-bad")
    start(older)
    with older.traffic() as traffic:
        wait_for_answers(traffic)
        older.misbehave({"versions": {str(NEXT): {"latency": 0.4}}})
        older.kube.apply(quick(older, NEXT))
        newer.kube.apply(_rival(newer, older, older.name))
        status = older.wait("the end", ended(NEXT), 120)
        newer.wait("the stall", _conflict)
    assert history(status) == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert LATER not in versions_since(traffic, 0)
    assert not failures(traffic.answers())
