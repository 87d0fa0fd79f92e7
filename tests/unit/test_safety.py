"""What is done for an object that cannot be read: an abort on record is carried out, nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.core.manifests import Owner
from modelrollout.core.names import ANNOTATION_ABORT
from modelrollout.core.route import canary_weight, http_route
from modelrollout.core.safety import lower_only
from modelrollout.core.spec_json import parse_spec
from tests.builders import raw_spec

OWNER = Owner("recsys", "default", "uid")


def rollout(**status: Any) -> dict[str, Any]:
    """An object of a newer operator."""
    metadata = {"name": "recsys", "namespace": "default", "uid": "uid"}
    return {"metadata": metadata, "spec": {"new": "shape"}, "status": {"schemaVersion": 2, **status}}


def route(weight: int, abort: str = "") -> dict[str, Any]:
    """The route with this weight."""
    return http_route(OWNER, parse_spec(raw_spec(), "recsys").traffic, "recsys", weight, abort)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param(rollout(rollout={"stage": "RollingBack", "kind": "new"}), route(50), id="by status"),
        pytest.param(rollout(), route(50, abort='{"attempt":2}'), id="by the route's marker"),
        pytest.param(rollout(), {**route(50, abort="x"), "extra": 1}, id="whatever else the route has"),
    ],
)
def test_abort_on_record_is_carried_out(given: dict[str, Any], found: dict[str, Any]) -> None:
    """The canary's weight goes to 0 and everything else of the route stays as it is."""
    action = lower_only(given, [found])
    assert action is not None
    assert canary_weight("recsys", action.manifest) == 0
    assert action.manifest["spec"]["parentRefs"] == found["spec"]["parentRefs"]
    assert action.manifest["spec"]["rules"][2:] == found["spec"]["rules"][2:]
    marker = found["metadata"]["annotations"].get(ANNOTATION_ABORT)
    assert action.manifest["metadata"]["annotations"].get(ANNOTATION_ABORT) == marker


@pytest.mark.parametrize(
    ("given", "found"),
    [
        pytest.param(rollout(rollout={"stage": "Progressing"}), route(50), id="no abort on record"),
        pytest.param(rollout(rollout={"stage": "RollingBack"}), route(0), id="weight 0 already"),
        pytest.param(
            rollout(rollout={"stage": "RollingBack"}),
            {**route(50), "metadata": {**route(50)["metadata"], "ownerReferences": []}},
            id="not our route",
        ),
    ],
)
def test_nothing_else_is_written(given: dict[str, Any], found: dict[str, Any]) -> None:
    """Without a record of an abort, or without weight, or without a route of ours, hands off."""
    assert lower_only(given, [found]) is None
