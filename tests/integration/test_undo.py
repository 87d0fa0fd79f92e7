"""`spec` goes back to a version that was promoted before: at once when that was lately, by the steps when long ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.situations import (
    LATER,
    NEXT,
    STABLE,
    attempts,
    containers,
    failures,
    history,
    over_at,
    promote,
    quick,
    settled,
    stage,
    start,
    versions_since,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene


def _last(status: Object) -> tuple[int, str, str]:
    """Version, outcome and reason of the last attempt that is over."""
    entry = status["history"][0]
    return entry["version"], entry["outcome"], entry["reason"]


def test_going_back_to_the_version_before_takes_no_steps(scene: Callable[[str], Scene]) -> None:
    """The version before goes straight into all stable pods: no canary, no weight, no restart, no failed request."""
    here = scene("undo")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        promote(here, NEXT)
        before = containers(here)
        with weights(here) as seen:
            here.kube.apply(quick(here, STABLE))
            status = here.wait("the end", attempts(3))
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert _last(status) == (STABLE, "Promoted", "Undone")
    assert status["stable"]["version"] == STABLE
    assert seen == [0]
    assert versions_since(traffic, over_at(status, STABLE)) == {STABLE}
    assert not failures(traffic.answers())
    assert containers(here) == before
    settled(here)


@pytest.mark.parametrize(
    ("kept", "way"),
    [
        pytest.param(2, "Undone", marks=pytest.mark.long),
        pytest.param(1, "Promoted", marks=pytest.mark.long),
        pytest.param(0, "Promoted", marks=pytest.mark.long),
    ],
)
def test_fast_path_reaches_back_as_far_as_spec_says(scene: Callable[[str], Scene], kept: int, way: str) -> None:
    """101 was promoted two promotions ago: with `fastPathRevisions` of 2 it comes back at once, with less by steps."""
    here = scene(f"undo-{kept}")
    start(here)
    here.publish(LATER)
    one_step: dict[str, Any] = {"steps": [{"weight": 50, "duration": "1s"}], "bake": {"duration": "1s"}}
    rollback = {"fastPathRevisions": kept}
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        for version in (NEXT, LATER):
            promote(here, version, **one_step, rollback=rollback)
        with weights(here) as seen:
            status = promote(here, STABLE, **one_step, rollback=rollback)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert _last(status) == (STABLE, "Promoted", way)
    assert seen == ([0] if way == "Undone" else [0, 50, 0])
    assert versions_since(traffic, over_at(status, STABLE)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here)


def test_going_back_does_not_wait_for_prometheus(scene: Callable[[str], Scene]) -> None:
    """Without Prometheus the version before is brought back as quickly; only the end of its bake waits for it."""
    here = scene("undo-unseen")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        promote(here, NEXT)
        manifest = quick(here, STABLE)
        right = manifest["spec"]["analysis"]["prometheus"]
        manifest["spec"]["analysis"]["prometheus"] = {"address": "http://10.0.0.1:9", "timeout": "1s"}
        here.kube.apply(manifest)
        here.wait("the bake", stage("Baking"))
        back = traffic.answers()[-1].end
        wait_for_answers(traffic, len(traffic.answers()) + 100)
        manifest["spec"]["analysis"]["prometheus"] = right
        here.kube.apply(manifest)
        status = here.wait("the end", attempts(3))
    assert _last(status) == (STABLE, "Promoted", "Undone")
    assert versions_since(traffic, back) == {STABLE}
    assert not failures(traffic.answers())


@pytest.mark.long
def test_version_that_was_left_by_an_undo_takes_its_steps_again(scene: Callable[[str], Scene]) -> None:
    """Somebody went back from 102, so 102 is no safe place: asked for again, it is tried from step 1."""
    here = scene("undo-undone")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        promote(here, NEXT)
        promote(here, STABLE)
        with weights(here) as seen:
            status = promote(here, NEXT)
    assert seen == [0, 20, 50, 0]
    assert _last(status) == (NEXT, "Promoted", "Promoted")
    assert not failures(traffic.answers())


def test_undo_of_an_undo_under_way_is_cancelled(scene: Callable[[str], Scene]) -> None:
    """While 101 is on its way back `spec` may return to 102: it answers on, alone, and nothing is promoted."""
    here = scene("undo-cancelled")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        promote(here, NEXT)
        settled(here)
        here.misbehave({"versions": {str(STABLE): {"load_seconds": 3}}})
        here.kube.apply(quick(here, STABLE))
        here.wait("101 being loaded", stage("Promoting"))
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", attempts(3))
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(STABLE, "Cancelled"), (NEXT, "Promoted"), (STABLE, "Promoted")]
    assert versions_since(traffic, over_at(status, NEXT)) == {NEXT}
    assert not failures(traffic.answers())
    assert settled(here)["stable"]["version"] == NEXT


@pytest.mark.long
def test_new_revision_while_going_back(scene: Callable[[str], Scene]) -> None:
    """A third version supersedes an undo under way, and is tried by steps against the version that serves."""
    here = scene("undo-superseded")
    start(here)
    here.publish(LATER)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        promote(here, NEXT)
        settled(here)
        here.misbehave({"versions": {str(STABLE): {"load_seconds": 3}}})
        here.kube.apply(quick(here, STABLE))
        here.wait("101 being loaded", stage("Promoting"))
        with weights(here) as seen:
            status = promote(here, LATER)
    assert history(status)[:2] == [(LATER, "Promoted"), (STABLE, "Superseded")]
    assert seen == [0, 20, 50, 0]
    assert not failures(traffic.answers())


def test_version_before_that_does_not_load_any_more(scene: Callable[[str], Scene]) -> None:
    """When the version to go back to cannot be loaded it is rejected in the server's words; users notice nothing."""
    here = scene("undo-broken")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        promote(here, NEXT)
        settled(here)
        here.misbehave({"versions": {str(STABLE): {"refuse_load": "no such op: Frobnicate"}}})
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the end", attempts(3))
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert _last(status) == (STABLE, "RolledBack", "PromotionLoadFailed")
    assert "Frobnicate" in status["rejected"]["message"]
    assert versions_since(traffic, over_at(status, NEXT)) == {NEXT}
    assert not failures(traffic.answers())
    settled(here, "RolledBack")


def test_going_back_while_the_new_version_bakes_is_one_call(scene: Callable[[str], Scene]) -> None:
    """Until the bake is over the old version stays loaded: it answers alone again though it could not be loaded now."""
    here = scene("undo-bake")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, bake={"duration": "1h"}))
        here.wait("the bake", stage("Baking"), 120)
        here.misbehave({"versions": {str(STABLE): {"refuse_load": "the directory is gone"}}})
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the end", attempts(2))
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert _last(status) == (NEXT, "Cancelled", "SpecReturned")
    assert versions_since(traffic, over_at(status, NEXT)) == {STABLE}
    assert not failures(traffic.answers())
    settled(here)
