"""The API server is away for everybody: users notice nothing, and rollouts go on where they were."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from playground import control
from tests.situations import NEXT, ended, live, outcome, quick, stage, start, wait_for_answers
from tests.witness import Witness, now

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

STEPS = [20, 50]
FAILING = {"versions": {str(NEXT): {"error_rate": 0.6, "error_code": "INTERNAL"}}}


@pytest.mark.parametrize(
    ("phase", "seconds"),
    [
        pytest.param("step 1", 10.0, id="step 1 for 10 s", marks=pytest.mark.long),
        pytest.param("Promoting", 10.0, id="Promoting for 10 s", marks=pytest.mark.long),
        pytest.param("Preparing", 60.0, id="Preparing for a minute", marks=pytest.mark.long),
        pytest.param("step 1", 60.0, id="step 1 for a minute", marks=pytest.mark.long),
        pytest.param("Promoting", 60.0, id="Promoting for a minute", marks=pytest.mark.long),
        pytest.param("Baking", 60.0, id="Baking for a minute", marks=pytest.mark.long),
    ],
)
def test_good_version_outlasts_an_api_server_that_is_away(
    scene: Callable[[str], Scene], phase: str, seconds: float
) -> None:
    """While the API server is away users notice nothing; when it is back the rollout goes on where it was."""
    here = scene(f"api-{phase.lower().replace(' ', '-')}-{seconds:.0f}")
    start(here)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        manifest = here.manifest(NEXT)
        # It ends while the API server is away, or right after that: no pod is late before it can be seen again.
        manifest["spec"]["strategy"]["canaryReadyDeadline"] = "45s"
        # The gateway has missed as much as the operator, and takes its time to catch up; that is what drains are for.
        manifest["spec"]["strategy"]["drainDuration"] = "6s"
        here.kube.apply(manifest)
        here.wait(phase, live(20) if phase == "step 1" else stage(phase))
        control.ask(here.state, "stop", name="kube-apiserver")
        time.sleep(seconds)
        control.ask(here.state, "start", name="kube-apiserver")
        status = here.wait("the end", ended(NEXT), 200)
    assert outcome(status, NEXT) == "Promoted", status
    assert status["history"][0]["attempt"] == 2
    witness.assert_promoted(traffic.answers(), STEPS, since)


@pytest.mark.parametrize("seconds", [10.0, pytest.param(60.0, id="a minute", marks=pytest.mark.long)])
def test_version_that_goes_bad_meanwhile_is_taken_back_when_the_api_server_is_back(
    scene: Callable[[str], Scene], seconds: float
) -> None:
    """Without an API server nobody can lower a weight; the proof is not forgotten, and no further step is taken."""
    here = scene(f"api-bad-{seconds:.0f}")
    start(here)
    with Witness(here) as witness, here.traffic() as traffic:
        wait_for_answers(traffic)
        since = now()
        manifest = quick(here, NEXT)
        manifest["spec"]["strategy"]["steps"][0]["duration"] = "6s"
        manifest["spec"]["strategy"]["drainDuration"] = "6s"
        here.kube.apply(manifest)
        here.wait("the first step", live(20))
        control.ask(here.state, "stop", name="kube-apiserver")
        here.misbehave(FAILING)
        time.sleep(seconds)
        control.ask(here.state, "start", name="kube-apiserver")
        status = here.wait("the end", ended(NEXT), 150)
        wait_for_answers(traffic, len(traffic.answers()) + 50)
    assert outcome(status, NEXT) == "RolledBack", status
    witness.assert_taken_back(traffic.answers(), STEPS[:1], NEXT, since)
