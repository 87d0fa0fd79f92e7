"""The API server refuses, delays, forgets and goes away between an operator and its writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from playground.interference import Rule
from tests.disruption.witness import Witness, now
from tests.situations import NEXT, ended, outcome, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.disruption.conftest import Staged

STEPS = [20, 50]
STATUS = r"/modelrollouts/[^/]+/status"


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        pytest.param("conflict", Rule(target=STATUS, status=409, skip=2, times=3), id="409"),
        pytest.param("throttled", Rule(target=STATUS, status=429, retry_after=1, skip=2, times=3), id="429"),
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
