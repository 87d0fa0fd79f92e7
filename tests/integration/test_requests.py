"""People ask by annotation: `abort` takes a rollout back, `retry` tries a rejected one again; late ones do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.situations import (
    NEXT,
    PHASES,
    STABLE,
    containers,
    ended,
    failures,
    history,
    over_at,
    promote,
    quick,
    reach,
    settled,
    some_often,
    stage,
    start,
    versions_since,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.kube import Object
    from playground.scene import Scene

UNDER_WAY = tuple(phase for phase in PHASES if not phase.startswith("Roll"))


def _token(verb: str, status: Object) -> str:
    """The request that fits this status."""
    if "rollout" in status:
        revision, rollout = status["canary"]["revision"], status["rollout"]
        return f"{verb}:{revision}.{rollout['attempt']}:{rollout['step']}"
    last = status["history"][0]
    return f"{verb}:{last['revision']}.{last['attempt']}:1"


def _ask(scene: Scene, token: str) -> Object:
    """Annotate the object, and wait until the operator has said what came of it."""
    url = f"{scene.kube.url}/apis/modelrollout.io/v1alpha1/namespaces/default/modelrollouts/{scene.name}"
    patch = {"metadata": {"annotations": {"modelrollout.io/request": token}}}
    headers = {"Content-Type": "application/merge-patch+json"}
    scene.kube.session.patch(url, json=patch, headers=headers, timeout=10).raise_for_status()
    return scene.wait("an answer", lambda s: s.get("lastRequest", {}).get("token") == token)


@pytest.mark.parametrize("phase", some_often(UNDER_WAY, "Promoting half way"))
def test_abort(scene: Callable[[str], Scene], phase: str) -> None:
    """In every phase of a rollout `abort` takes it back at once; the revision is rejected and `spec` stays as it is."""
    here = scene(f"abort-{phase.lower().replace(' ', '-')}")
    start(here)
    before = containers(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, phase)
        _ask(here, _token("abort", here.status()))
        status = here.wait("the end", ended(NEXT), 90)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert history(status) == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert status["rejected"]["version"] == NEXT
    assert status["lastRequest"]["answer"] == "abort: done"
    assert versions_since(traffic, over_at(status, NEXT)) == {STABLE}
    assert not failures(traffic.answers())
    assert containers(here) == before
    settled(here, "RolledBack")
    assert here.rollout()["spec"]["model"]["version"] == NEXT


@pytest.mark.long
def test_retry_of_a_rejected_revision(scene: Callable[[str], Scene]) -> None:
    """A rejected revision is tried again when somebody asks, from step 1, as another attempt; it may be good by now."""
    here = scene("retry")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, "RolledBack")
        here.misbehave({})
        status = _ask(here, _token("retry", here.status()))
        assert "rejected" not in status
        status = here.wait("102 promoted", lambda s: history(s)[:1] == [(NEXT, "Promoted")], 120)
    assert history(status) == [(NEXT, "Promoted"), (NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert [entry["attempt"] for entry in status["history"]] == [3, 2, 1]
    assert not failures(traffic.answers())
    assert settled(here)["lastRequest"]["answer"] == "retry: done"


def test_request_is_handled_once(scene: Callable[[str], Scene]) -> None:
    """The token that was handled stays on the object and does nothing more: a second retry needs another token."""
    here = scene("retry-once")
    start(here)
    _reject(here)
    first = _token("retry", here.status())
    _ask(here, first)
    here.wait("rejected again", lambda s: len(s["history"]) == 3 and "rejected" in s, 120)
    status = settled(here, "RolledBack")
    assert [entry["attempt"] for entry in status["history"]] == [3, 2, 1]
    second = _token("retry", status)
    assert second != first
    _ask(here, second)
    status = here.wait("rejected once more", lambda s: len(s["history"]) == 4 and "rejected" in s, 120)
    assert history(status)[:3] == [(NEXT, "RolledBack")] * 3


def _reject(here: Scene) -> None:
    """102 does not load, and is rejected before it had any traffic."""
    here.misbehave({"versions": {str(NEXT): {"refuse_load": "no such op: Frobnicate"}}})
    here.kube.apply(quick(here, NEXT, canaryReadyDeadline="3s"))
    here.wait("the rejection", lambda s: "rollout" not in s and "rejected" in s)


@pytest.mark.parametrize(
    ("verb", "change", "answer"),
    [
        pytest.param("abort", {"attempt": 1}, "stale", id="abort of an attempt before", marks=pytest.mark.long),
        pytest.param("abort", {"revision": "0123456789"}, "stale", id="abort of another revision"),
        pytest.param("retry", {}, "stale", id="retry of what is under way", marks=pytest.mark.long),
        pytest.param("explode", {}, "not understood", id="a verb that does not exist"),
    ],
)
def test_request_that_does_not_fit(
    scene: Callable[[str], Scene], verb: str, change: dict[str, object], answer: str
) -> None:
    """A stale or unknown request does nothing to the rollout under way, and `status.lastRequest` says why."""
    here = scene(f"misfit-{verb}-{len(str(change))}")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, "step 1")
        status = here.status()
        meant = {"revision": status["canary"]["revision"], "attempt": status["rollout"]["attempt"], **change}
        status = _ask(here, f"{verb}:{meant['revision']}.{meant['attempt']}:1")
        assert answer in status["lastRequest"]["answer"]
        assert stage("Progressing")(status)
        status = here.wait("the end", ended(NEXT), 120)
    assert history(status) == [(NEXT, "Promoted"), (STABLE, "Promoted")]
    assert not failures(traffic.answers())


@pytest.mark.long
def test_abort_after_the_end_is_stale(scene: Callable[[str], Scene]) -> None:
    """An abort that arrives when the version is promoted for good does nothing, and is one write of status."""
    here = scene("abort-late")
    start(here)
    promote(here, NEXT)
    status = settled(here)
    status = _ask(here, _token("abort", status))
    assert "stale" in status["lastRequest"]["answer"]
    assert settled(here)["stable"]["version"] == NEXT
    assert history(here.status()) == [(NEXT, "Promoted"), (STABLE, "Promoted")]


def test_request_that_cannot_be_read(scene: Callable[[str], Scene]) -> None:
    """Something that is no token at all is answered too, with an example of one, and nothing happens."""
    here = scene("gibberish")
    start(here)
    before = containers(here)
    status = _ask(here, "please roll back")
    assert "not understood" in status["lastRequest"]["answer"]
    assert "abort:" in status["lastRequest"]["answer"]
    assert settled(here)["stable"]["version"] == STABLE
    assert containers(here) == before
