"""`spec` asks for something else while a rollout is under way: another revision, or what serves already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.situations import (
    LATER,
    NEXT,
    PHASES,
    STABLE,
    containers,
    ended,
    failures,
    history,
    over_at,
    quick,
    reach,
    settled,
    some_often,
    start,
    versions_since,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

OFTEN = ("Preparing", "Promoting half way")
ITS_OWN_END = {"RollingBack", "RolledBack"}
"""In these phases the fate of 102 is sealed, whatever `spec` says now."""


def _slug(phase: str) -> str:
    return phase.lower().replace(" ", "-")


@pytest.mark.parametrize("phase", some_often(PHASES, *OFTEN))
def test_new_revision_starts_over(scene: Callable[[str], Scene], phase: str) -> None:
    """In every phase a new revision first takes back the one under way, then rolls out from step 1."""
    here = scene(f"anew-{_slug(phase)}")
    start(here)
    here.publish(LATER)
    before = containers(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, phase)
        here.kube.apply(quick(here, LATER))
        status = here.wait("the end of 103", ended(LATER), 120)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    outcome = "RolledBack" if phase in ITS_OWN_END else "Superseded"
    assert history(status) == [(LATER, "Promoted"), (NEXT, outcome), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    assert NEXT not in versions_since(traffic, over_at(status, NEXT))
    assert versions_since(traffic, over_at(status, LATER)) == {LATER}
    assert containers(here) == before
    assert "rejected" not in settled(here)


@pytest.mark.parametrize("phase", some_often(PHASES, *OFTEN))
def test_back_to_the_stable_version_cancels(scene: Callable[[str], Scene], phase: str) -> None:
    """In every phase `spec` may go back to what serves: weight 0, the old version alone, Cancelled."""
    here = scene(f"back-{_slug(phase)}")
    start(here)
    before = containers(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, phase)
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the end of 102", lambda s: ended(NEXT)(s) and "rejected" not in s, 90)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    outcome = "RolledBack" if phase in ITS_OWN_END else "Cancelled"
    assert history(status) == [(NEXT, outcome), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    assert versions_since(traffic, over_at(status, NEXT)) == {STABLE}
    assert here.weight() == 0
    assert containers(here) == before
    assert settled(here)["stable"]["version"] == STABLE


def test_rejected_revision_is_tried_again_once_spec_has_left_it(scene: Callable[[str], Scene]) -> None:
    """A rejection lasts while `spec` keeps the revision: 102, 101, 102 tries 102 again, and it may be good by now."""
    here = scene("tried-again")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, "RolledBack", replicas=1)
        here.misbehave({})
        here.kube.apply(quick(here, STABLE, replicas=1))
        here.wait("no rejection", lambda s: "rejected" not in s)
        here.kube.apply(quick(here, NEXT, replicas=1))
        status = here.wait("102 promoted", lambda s: history(s)[:1] == [(NEXT, "Promoted")], 120)
    assert history(status) == [(NEXT, "Promoted"), (NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert [entry["attempt"] for entry in status["history"]] == [3, 2, 1]
    assert not failures(traffic.answers())
