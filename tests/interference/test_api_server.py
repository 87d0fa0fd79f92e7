"""The API server refuses, answers late or not at all, and its watches break or lag: rollouts come to the same end."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from playground.interference import WATCHES, Rule
from tests.situations import NEXT, ended, live, outcome, quick, stage, start, wait_for_answers
from tests.witness import Witness, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interference.conftest import Staged

STEPS = [20, 50]
STATUS = r"/modelrollouts/[^/]+/status"
ROUTE = r"/httproutes/"
FAILING = {"versions": {str(NEXT): {"error_rate": 0.6, "error_code": "INTERNAL"}}}
ABORT = Rule(method="PATCH", target=ROUTE, body=r"modelrollout\.io/abort")


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        pytest.param("conflict", Rule(target=STATUS, status=409, skip=2, times=3), id="409"),
        pytest.param(
            "throttled",
            Rule(target=STATUS, status=429, retry_after=1, skip=2, times=3),
            id="429",
            marks=pytest.mark.long,
        ),
        pytest.param("broken", Rule(target=STATUS, status=500, skip=2, times=3), id="500"),
        pytest.param("unheard", Rule(target=STATUS, drop=True, forward=True, skip=2, times=3), id="answer lost"),
    ],
)
def test_good_version_is_promoted_although_status_writes_fail(
    staged: Callable[[str], Staged], name: str, refusal: Rule
) -> None:
    """Status writes that are refused, or whose answer is lost, delay a good version and change nothing else."""
    stage = staged(name)
    here = stage.here
    start(here)
    stage.lane.obey(refusal)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(here.manifest(NEXT))
        status = here.wait("the end", ended(NEXT), 150)
    assert stage.lane.did("dropped" if refusal.drop else "answered")
    assert outcome(status, NEXT) == "Promoted", status
    assert status["history"][0]["attempt"] == 2
    witness.assert_promoted(traffic.answers(), STEPS, since)


def test_each_kind_of_write_may_fail_once(staged: Callable[[str], Staged]) -> None:
    """A 500 to the first write of every kind of object delays a good version and changes nothing else."""
    stand = staged("each-kind")
    here = stand.here
    start(here)
    kinds = ("controllerrevisions", "configmaps", "deployments", "httproutes")
    writes = [Rule(method="PATCH", target=f"/{kind}/", status=500, times=1) for kind in kinds]
    deletes = [Rule(method="DELETE", target=f"/{kind}/", status=500, times=1) for kind in ("deployments", "configmaps")]
    stand.lane.obey(*writes, *deletes)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", ended(NEXT), 200)
    assert len(stand.lane.did("answered")) == len(writes) + len(deletes)
    assert outcome(status, NEXT) == "Promoted", status
    witness.assert_promoted(traffic.answers(), STEPS, since)


@pytest.mark.parametrize(
    ("name", "trouble", "did"),
    [
        pytest.param("zero-409", replace(ABORT, status=409, times=2), "answered", id="409"),
        pytest.param(
            "zero-429", replace(ABORT, status=429, retry_after=1, times=2), "answered", id="429", marks=pytest.mark.long
        ),
        pytest.param("zero-500", replace(ABORT, status=500, times=2), "answered", id="500"),
        pytest.param("zero-unheard", replace(ABORT, drop=True, forward=True, times=2), "dropped", id="answer lost"),
        pytest.param("zero-dropped", replace(ABORT, drop=True, times=2), "dropped", id="connection lost"),
    ],
)
def test_abort_is_written_until_it_is_taken(
    staged: Callable[[str], Staged], name: str, trouble: Rule, did: str
) -> None:
    """The write of weight 0 is sent again when it fails, and the end is the same."""
    stand = staged(name)
    here = stand.here
    start(here)
    here.misbehave(FAILING)
    stand.lane.obey(trouble)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", ended(NEXT), 150)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert stand.lane.did(did)
    assert outcome(status, NEXT) == "RolledBack", status
    witness.assert_taken_back(traffic.answers(), STEPS, NEXT, since)


def test_good_version_is_promoted_although_watches_are_cut(staged: Callable[[str], Staged]) -> None:
    """Watches that break, and stay away for some seconds, delay a good version and change nothing else."""
    stand = staged("watch-cut")
    here = stand.here
    start(here)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(here.manifest(NEXT))
        here.wait("the first step", live(20))
        stand.lane.obey(Rule(target=WATCHES, drop=True))
        time.sleep(6)
        stand.lane.obey()
        here.wait("the promotion", stage("Promoting"), 120)
        stand.lane.obey(Rule(target=WATCHES, drop=True, times=1))
        status = here.wait("the end", ended(NEXT), 150)
    assert stand.lane.did("dropped")
    assert outcome(status, NEXT) == "Promoted", status
    witness.assert_promoted(traffic.answers(), STEPS, since)


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_objects_may_be_seen_late(staged: Callable[[str], Staged], good: bool) -> None:
    """With a cache that is seconds behind, no step is skipped or repeated and no weight rises after an abort."""
    stand = staged(f"late-{'good' if good else 'bad'}")
    here = stand.here
    stand.lane.obey(Rule(target=WATCHES, late=3))
    start(here)
    here.misbehave({} if good else FAILING)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", ended(NEXT), 200)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert [entry["attempt"] for entry in status["history"]] == [2, 1]
    if good:
        witness.assert_promoted(traffic.answers(), STEPS, since)
    else:
        witness.assert_taken_back(traffic.answers(), STEPS, NEXT, since)
