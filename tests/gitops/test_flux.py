"""Health expressions for Flux, evaluated as Flux does on manifests that a real API server gave in each phase."""

from __future__ import annotations

from typing import Any

import cel
import pytest
import yaml

from playground.paths import REPOSITORY
from tests.gitops import argo

PROMOTED, ACCEPTED = "wait-until-promoted", "wait-until-accepted"


def _expressions(name: str) -> dict[str, str]:
    (kustomization,) = yaml.safe_load_all((REPOSITORY / "gitops" / "flux" / f"{name}.yaml").read_text())
    (checks,) = kustomization["spec"]["healthCheckExprs"]
    assert (checks["apiVersion"], checks["kind"]) == ("modelrollout.io/v1alpha1", "ModelRollout")
    return dict(checks)


def _judge(name: str, obj: dict[str, Any]) -> str:
    """Flux's order. An object without status makes the expressions fail to evaluate: Flux waits then."""
    status = obj.get("status")
    if status is None or status["observedGeneration"] != obj["metadata"]["generation"]:
        return "inProgress"
    expressions = _expressions(name)
    for verdict in ("inProgress", "failed", "current"):
        if cel.evaluate(expressions[verdict], obj):
            return verdict
    return "inProgress"


@pytest.mark.parametrize(
    ("phase", "promoted", "accepted"),
    [
        ("good-new", "inProgress", "inProgress"),
        ("good-unseen", "inProgress", "inProgress"),
        ("good-preparing", "inProgress", "current"),
        ("good-progressing-step-1-live", "inProgress", "current"),
        ("good-promoting", "inProgress", "current"),
        ("good-baking", "inProgress", "current"),
        ("good-healthy", "current", "current"),
        ("bad-rollingback", "inProgress", "current"),
        ("bad-rolledback", "failed", "current"),
        ("cancelled-healthy", "current", "current"),
        ("stuck-degraded-stalled", "failed", "failed"),
        ("stuck-initializing-stalled", "inProgress", "failed"),
    ],
)
def test_each_phase(phase: str, promoted: str, accepted: str) -> None:
    """One waits for the version to serve everything, the other only for the operator to take it on."""
    assert (_judge(PROMOTED, argo.phase(phase)), _judge(ACCEPTED, argo.phase(phase))) == (promoted, accepted)


def test_a_status_without_conditions_is_waited_for() -> None:
    """Nothing but a status is needed."""
    obj = {"metadata": {"generation": 1}, "status": {"observedGeneration": 1}}
    assert {_judge(name, obj) for name in (PROMOTED, ACCEPTED)} <= {"inProgress"}
