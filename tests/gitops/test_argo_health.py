"""Health of a ModelRollout in Argo CD, in real Lua 5.1 on manifests that a real API server gave in each phase."""

from __future__ import annotations

import pytest
import yaml

from tests.gitops import argo

UNDER_WAY = [name for name in argo.phases() if any(word in name for word in ("preparing", "progressing", "promoting"))]
PAUSED = {"type": "Paused", "status": "True", "reason": "WaitingForApproval", "message": "step 2 waits for approval"}


def _condition(obj: argo.Object, kind: str) -> argo.Object:
    return next(item for item in obj["status"]["conditions"] if item["type"] == kind)


@pytest.mark.parametrize("name", [*UNDER_WAY, "good-baking", "good-initializing", "bad-rollingback"])
def test_what_goes_on_by_itself_is_progressing(name: str) -> None:
    """Timed steps and the way back need nobody: Suspended is kept for when somebody does."""
    assert argo.health(argo.phase(name))["status"] == "Progressing"


@pytest.mark.parametrize("name", ["good-healthy", "cancelled-healthy"])
def test_what_serves_as_asked_is_healthy(name: str) -> None:
    """After a promotion and after a change of mind the wish is fulfilled."""
    assert argo.health(argo.phase(name)) == {"status": "Healthy", "message": argo.phase(name)["status"]["message"]}


def test_a_version_that_was_taken_back_is_degraded_and_users_are_fine() -> None:
    """The message begins with what users get, and says which version that is and why the other is gone."""
    found = argo.health(argo.phase("bad-rolledback"))
    assert found["status"] == "Degraded"
    assert found["message"].startswith("users are fine, version 101 serves. version 102 was rejected (AnalysisFailed")


def test_a_conflict_is_degraded_and_tells_whether_anything_serves() -> None:
    """Before the first version has served, nobody is fine."""
    serving, nothing = (argo.health(argo.phase(f"stuck-{name}-stalled")) for name in ("degraded", "initializing"))
    assert (serving["status"], nothing["status"]) == ("Degraded", "Degraded")
    assert serving["message"].startswith("users are fine, version 101 serves.")
    assert nothing["message"].startswith("NOTHING SERVES.")


@pytest.mark.parametrize("name", ["good-new", "good-unseen"])
def test_what_the_operator_has_not_seen_is_progressing(name: str) -> None:
    """Right after a sync the status speaks of the generation before: no sync wave may take it for an answer."""
    assert argo.health(argo.phase(name))["status"] == "Progressing"


@pytest.mark.parametrize("name", ["good-progressing-step-1-live", "good-healthy"])
def test_a_gate_for_people_is_suspended(name: str) -> None:
    """Notifications on Suspended reach somebody who has to decide."""
    obj = argo.phase(name)
    _condition(obj, "Paused").update(PAUSED)
    found = argo.health(obj)
    assert found["status"] == "Suspended"
    assert found["message"].startswith("WaitingForApproval: ")


def test_a_gate_does_not_hide_that_somebody_must_repair_something() -> None:
    """Degraded comes before Suspended."""
    obj = argo.phase("bad-rolledback")
    _condition(obj, "Paused").update(PAUSED)
    assert argo.health(obj)["status"] == "Degraded"


def test_missing_pods_of_a_settled_rollout_are_progressing() -> None:
    """They are being replaced; nobody has to do anything yet, as with a Deployment."""
    obj = argo.phase("good-healthy")
    _condition(obj, "Ready").update(status="False", reason="Degraded")
    assert argo.health(obj)["status"] == "Progressing"


@pytest.mark.parametrize("name", argo.phases())
def test_argo_cds_own_test_file_agrees(name: str) -> None:
    """The file that Argo CD's harness reads says for each phase what the script says."""
    tests = yaml.safe_load((argo.CUSTOMIZATION / "health_test.yaml").read_text())["tests"]
    expected = {test["inputPath"]: test["healthStatus"] for test in tests}
    assert expected[f"testdata/{name}.yaml"] == argo.health(argo.phase(name))
    assert len(expected) == len(argo.phases())
