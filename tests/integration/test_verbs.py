"""People hold a rollout, let it go on, and go back: each way once on the real parts, with users all the while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.cli import request
from tests.situations import (
    NEXT,
    STABLE,
    ask,
    containers,
    ended,
    failures,
    half_promoted,
    history,
    live,
    more_answers,
    over_at,
    promote,
    quick,
    settled,
    start,
    versions_since,
    wait_for_answers,
    weights,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene

ASKER = "somebody-at-night at 2"
"""How status names who asked in these tests, as far as it does not depend on the time."""


def _paused(reason: str) -> Callable[[Object], bool]:
    return lambda status: any(
        item["type"] == "Paused" and item["status"] == "True" and item["reason"] == reason
        for item in status.get("conditions", ())
    )


def test_gate_pause_and_promotion_at_once(scene: Callable[[str], Scene]) -> None:
    """A step waits for approval, the next is paused, then promoted at once: history names whoever asked, each time."""
    here = scene("verbs-gate")
    start(here)
    steps = [{"weight": 20, "duration": "1s", "approval": "Manual"}, {"weight": 50, "duration": "10m"}]
    with here.traffic() as traffic, weights(here) as seen:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, steps=[*steps, {"weight": 90, "duration": "10m"}]))
        status = here.wait("the gate", _paused("WaitingForApproval"))
        assert f"kubectl modelrollout promote {here.name} -n default goes on" in status["message"]
        more_answers(traffic)
        assert here.weight() == 20
        ask(here, "promote")
        here.wait("step 2", live(50))
        ask(here, "pause")
        status = here.wait("the pause", _paused("PauseRequested"))
        assert ASKER in status["rollout"]["pausedBy"]
        assert ask(here, "skip", "")["lastRequest"]["answer"] == "skip: done"
        here.wait("step 3", live(90))
        ask(here, "promote-full")
        status = here.wait("the end", ended(NEXT), 120)
    assert history(status) == [(NEXT, "Promoted"), (STABLE, "Promoted")]
    said = status["history"][0]["requestedBy"].split("; ")
    assert [words.split(" by ")[0] for words in said] == ["promote", "pause", "skip", "promote-full"]
    assert all(ASKER in words for words in said)
    assert seen == [0, 20, 50, 90, 0]
    assert not failures(traffic.answers())


@pytest.mark.parametrize("method", ["Reload", pytest.param("Roll", marks=pytest.mark.long)])
def test_spec_paused_while_promoting(scene: Callable[[str], Scene], method: str) -> None:
    """With spec.paused no further stable pod gets the version, for as long as it is set; then the others do."""
    here = scene(f"held-{method.lower()}")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"load_seconds": 2}}})
    manifest = quick(here, NEXT, 3, promotion={"method": method})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(manifest)
        here.wait("a first pod promoted", half_promoted, 120)
        manifest["spec"]["paused"] = True
        here.kube.apply(manifest)
        here.wait("the pause", _paused("SpecPaused"))
        more_answers(traffic, 150)
        progress = here.status()["progress"]
        more_answers(traffic, 150)
        assert here.status()["progress"] == progress
        assert not progress.startswith("3 of 3")
        assert "spec.paused is true" in ask(here, "resume")["lastRequest"]["answer"]
        manifest["spec"]["paused"] = False
        here.kube.apply(manifest)
        status = here.wait("the end", ended(NEXT), 120)
    assert history(status) == [(NEXT, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())


def test_undo_leaves_spec_and_rejects_what_it_asks_for(scene: Callable[[str], Scene]) -> None:
    """The version before comes back at once, restarts nothing, and what Git asks for is rejected until Git changes."""
    here = scene("undo-asked")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        promote(here, NEXT)
        before = containers(here)
        target = request.undo_target(here.rollout(), "")
        with weights(here) as seen:
            ask(here, "undo", target)
            status = here.wait("the end", lambda s: "rollout" not in s and s["stable"]["version"] == STABLE)
        more_answers(traffic)
        assert (status["rejected"]["version"], status["rejected"]["reason"]) == (NEXT, "Undone")
        assert ASKER in status["history"][0]["requestedBy"]
        assert here.rollout()["spec"]["model"]["version"] == NEXT
        settled(here, "RolledBack")
        here.kube.apply(quick(here, STABLE))
        settled(here)
    assert seen == [0]
    assert containers(here) == before
    assert versions_since(traffic, over_at(status, STABLE)) == {STABLE}
    assert not failures(traffic.answers())


def test_flux_asks_for_a_fresh_look(scene: Callable[[str], Scene]) -> None:
    """`reconcile.fluxcd.io/requestedAt` is answered in status with its value, once it was granted."""
    here = scene("fresh-look")
    start(here)
    patch: dict[str, Any] = {"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now, please"}}}
    url = f"{here.kube.url}/apis/modelrollout.io/v1alpha1/namespaces/default/modelrollouts/{here.name}"
    headers = {"Content-Type": "application/merge-patch+json"}
    here.kube.session.patch(url, json=patch, headers=headers, timeout=10).raise_for_status()
    here.wait("the answer", lambda s: s.get("lastHandledReconcileAt") == "now, please")
    settled(here)
