"""Models that go wrong in the ways real ones do: what their users notice, and what the object says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from playground.models import break_version
from tests.situations import NEXT, STABLE, ended, failures, healthy, last_version, outcome, quick, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

_NAME = "bad-model"
"""What the names of this module's scenes begin with."""


def _serve(scene: Scene) -> None:
    """Version 101 serves; no other version is there."""
    scene.publish(STABLE)
    scene.kube.apply(quick(scene, STABLE))
    scene.wait("the first version serving", healthy)


def _says(scene: Scene, *words: str) -> Callable[[dict[str, Any]], bool]:
    """The message has all these words, and the rollout is under way without traffic."""

    def condition(status: dict[str, Any]) -> bool:
        return scene.weight() == 0 and all(word in status.get("message", "") for word in words)

    return condition


def _true_condition(status: dict[str, Any], kind: str) -> dict[str, Any] | None:
    return next((c for c in status.get("conditions", ()) if c["type"] == kind and c["status"] == "True"), None)


def test_version_that_appears_late_goes_on_by_itself(scene: Callable[[str], Scene]) -> None:
    """A canary waits for its directory; once it is there, before the deadline, the rollout goes on to its end."""
    here = scene(f"{_NAME}-late")
    _serve(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        here.wait("waiting for the canary", _says(here, "starting canary pods", str(NEXT)))
        before = len(traffic.answers())
        wait_for_answers(traffic, before + 300)
        assert {answer.version for answer in traffic.answers()} == {STABLE}
        here.publish(NEXT)
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())


def test_half_copied_version_goes_on_when_the_rest_arrives(scene: Callable[[str], Scene]) -> None:
    """Without its model a directory ends the server at each start; once whole, before the deadline, all goes on."""
    here = scene(f"{_NAME}-copied")
    _serve(here)
    folder = here.models / str(NEXT)
    folder.mkdir()
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        here.wait("a server that ends", lambda _: any(_restarts(pod) for pod in here.pods("canary")))
        assert here.weight() == 0
        folder.rmdir()
        here.publish(NEXT)
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())


def _restarts(pod: dict[str, Any]) -> int:
    return sum(container["restartCount"] for container in pod["status"].get("containerStatuses", ()))


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        pytest.param("no-pb", "Could not find SavedModel", id="half copied"),
        pytest.param("garbage-pb", "exited with code 255", id="garbage"),
        pytest.param("no-shard", "variables.data-00000-of-00001", id="weights missing", marks=pytest.mark.long),
    ],
)
def test_broken_model_is_rejected_in_the_servers_words(
    scene: Callable[[str], Scene], breakage: str, words: str
) -> None:
    """A SavedModel that does not load crash-loops the canary and is rejected at the deadline, before any traffic."""
    here = scene(f"{_NAME}-{breakage}")
    _serve(here)
    break_version(here.models, NEXT, breakage)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, canaryReadyDeadline="8s"))
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert words in status["rejected"]["message"]
    assert "exited with code 255" in status["rejected"]["message"]
    assert not failures(traffic.answers())
    assert {answer.version for answer in traffic.answers()} == {STABLE}


def test_version_that_refuses_to_load_is_rejected(scene: Callable[[str], Scene]) -> None:
    """Whatever the server gives as its reason for not loading a version is in the rejection."""
    here = scene(f"{_NAME}-refused")
    _serve(here)
    here.publish(NEXT)
    here.misbehave({"versions": {str(NEXT): {"refuse_load": "Op type not registered 'NoSuchOp'"}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, canaryReadyDeadline="8s"))
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert "Op type not registered 'NoSuchOp'" in status["rejected"]["message"]
    assert not failures(traffic.answers())
    assert {answer.version for answer in traffic.answers()} == {STABLE}


def test_version_that_stable_pods_cannot_load_is_taken_back(scene: Callable[[str], Scene]) -> None:
    """A load that fails in a stable pod, after all steps passed, takes the version back; no request fails."""
    here = scene(f"{_NAME}-promotion")
    _serve(here)
    here.publish(NEXT)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        here.wait("the last step", lambda s: s.get("rollout", {}).get("weightLive") == 50)
        here.misbehave({"versions": {str(NEXT): {"refuse_load": "out of file handles"}}})
        status = here.wait("the end", ended(NEXT), 120)
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "PromotionLoadFailed"
    assert "out of file handles" in status["rejected"]["message"]
    assert not failures(traffic.answers())
    assert last_version(here) == STABLE


def test_slow_load_within_the_deadline_is_waited_for(scene: Callable[[str], Scene]) -> None:
    """A version that loads slowly is waited for, in the canary and in each stable pod; no request fails."""
    here = scene(f"{_NAME}-slow")
    _serve(here)
    here.publish(NEXT)
    here.misbehave({"versions": {str(NEXT): {"load_seconds": 6}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", ended(NEXT), 150)
    assert outcome(status, NEXT) == "Promoted", status
    assert not failures(traffic.answers())
    assert last_version(here) == NEXT


@pytest.mark.long
def test_slow_load_beyond_the_deadline_is_rejected(scene: Callable[[str], Scene]) -> None:
    """A version that has not loaded at the deadline is rejected; nobody had any of it."""
    here = scene(f"{_NAME}-too-slow")
    _serve(here)
    here.publish(NEXT)
    here.misbehave({"versions": {str(NEXT): {"load_seconds": 600}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT, canaryReadyDeadline="8s"))
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "CanaryNotReady"
    assert not failures(traffic.answers())
    assert {answer.version for answer in traffic.answers()} == {STABLE}


def test_versions_that_do_not_fit_together_stall(scene: Callable[[str], Scene]) -> None:
    """What cannot be promoted by reload stalls before any traffic and names the way out; spec can go back."""
    here = scene(f"{_NAME}-memory")
    _serve(here)
    here.publish(NEXT)
    here.misbehave({"memory_limit": 10, "versions": {str(STABLE): {"memory": 6}, str(NEXT): {"memory": 6}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        status = here.wait("stalling", lambda s: _true_condition(s, "Stalled"))
        stalled = _true_condition(status, "Stalled")
        assert stalled is not None
        assert stalled["reason"] == "NoMemoryForTwoVersions"
        assert "promotion.method: Roll" in stalled["message"]
        assert stalled["message"] in status["message"]
        assert status["rollout"]["stage"] == "Preparing"
        here.kube.apply(quick(here, STABLE))
        status = here.wait("the end", ended(NEXT))
    assert outcome(status, NEXT) == "Cancelled"
    assert not failures(traffic.answers())
    assert {answer.version for answer in traffic.answers()} == {STABLE}


@pytest.mark.parametrize(
    ("breakage", "codes"),
    [
        pytest.param("wrong-signature", {"INVALID_ARGUMENT"}, id="wrong signature"),
        pytest.param(
            "no-variables-index", {"FAILED_PRECONDITION", "HTTP 400"}, id="weights half copied", marks=pytest.mark.long
        ),
    ],
)
def test_model_that_loads_but_cannot_answer_is_caught_as_bad_answers(
    scene: Callable[[str], Scene], breakage: str, codes: set[str]
) -> None:
    """Errors that blame the client count as bad answers: a version that loads and refuses everybody is taken back."""
    here = scene(f"{_NAME}-{breakage}")
    _serve(here)
    break_version(here.models, NEXT, breakage)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", ended(NEXT), 120)
        end = len(traffic.answers())
        wait_for_answers(traffic, end + 100)
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "AnalysisFailed"
    assert "errors" in status["history"][0]["evidence"]
    assert {answer.error for answer in failures(traffic.answers())} == codes
    assert not failures(traffic.answers()[end:])
    assert here.weight() == 0


def test_crash_on_requests_is_caught_without_metrics(scene: Callable[[str], Scene]) -> None:
    """A server that ends at a request takes its version out of the traffic and is rejected, exit code and all."""
    here = scene(f"{_NAME}-crash")
    _serve(here)
    here.publish(NEXT)
    here.misbehave({"versions": {str(NEXT): {"crash_on_request": 20, "exit_code": 134}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(quick(here, NEXT))
        status = here.wait("the end", ended(NEXT), 120)
        end = len(traffic.answers())
        wait_for_answers(traffic, end + 100)
    assert outcome(status, NEXT) == "RolledBack"
    assert status["rejected"]["reason"] == "CanaryUnavailable"
    assert "134" in status["rejected"]["message"]
    assert not failures(traffic.answers()[end:])
    assert {answer.version for answer in traffic.answers()[end:]} == {STABLE}
    assert {pod["status"]["containerStatuses"][0]["restartCount"] for pod in here.pods("stable")} == {0}
