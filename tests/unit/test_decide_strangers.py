"""decide(): names and matches that are somebody else's; nothing of that switches an abort off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from modelrollout.core.actions import Apply, Delete
from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.route import canary_weight
from modelrollout.core.snapshot import Capacity, Child
from modelrollout.core.status import Stage, Status
from tests.builders import (
    OLD,
    analysed,
    raw_spec,
    rollout,
    snapshot,
    version,
)
from tests.deciding import in_phase, weight_first


def test_taken_name_blocks_only_that_object() -> None:
    """A stranger's object is left alone, our others are written, and what is under way goes on."""
    stranger = Child({"kind": "Service", "metadata": {"name": "recsys-stable"}}, owned=False)
    given = in_phase(Stage.PROGRESSING, raw_spec(), 1)
    given = replace(given, children={**given.children, ("Service", "recsys-stable"): stranger})
    decision = decide(given)
    written = {(a.manifest["kind"], a.manifest["metadata"]["name"]) for a in decision.then if isinstance(a, Apply)}
    assert ("Service", "recsys-stable") not in written
    assert ("Service", "recsys-canary") in written
    assert any(c.type == "Stalled" and c.reason == "NameTaken" for c in decision.status.story.conditions)


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(
            {"children": {("Service", "recsys-stable"): Child({"kind": "Service"}, owned=False)}}, id="name taken"
        ),
        pytest.param({"revisions": {}}, id="stable revision lost"),
        pytest.param({"invalid": "spec cannot be read"}, id="spec cannot be read"),
        pytest.param({"conflict": "somebody has the match"}, id="match taken"),
        pytest.param({"contested": "HTTPRoute recsys"}, id="route contested"),
        pytest.param({"refused": "quota"}, id="write refused"),
        pytest.param({"capacity": Capacity(0)}, id="no GPU free"),
    ],
)
def test_nothing_that_is_amiss_switches_an_abort_off(broken: dict[str, Any]) -> None:
    """Rule 1: with proof of failure the weight goes to 0, whatever else is wrong with the object."""
    given = in_phase(Stage.PROGRESSING, raw_spec(), 1)
    assert given.status.rollout is not None
    failing = replace(given, analysed=analysed(given.status.rollout, Verdict.FAIL), **broken)
    assert weight_first(decide(failing)) == 0


def test_stranger_under_our_names_is_never_deleted() -> None:
    """Children that an earlier object of the same name left behind are not ours: nothing of them is touched."""
    names = [("Deployment", "recsys-stable"), ("Deployment", "recsys-canary"), ("ConfigMap", "recsys-stable-7")]
    made_from = {"annotations": {"modelrollout.io/revision": "another"}}
    left = {
        (kind, name): Child({"kind": kind, "metadata": {"name": name, "uid": "u", **made_from}}, owned=False)
        for kind, name in names
    }
    for status in (Status(), Status(stable=version(OLD))):
        decision = decide(snapshot(spec=raw_spec(OLD), status=status, children=left))
        assert not [action for action in decision.then if isinstance(action, Delete)]


def test_route_of_an_object_that_has_to_give_way_stays_as_it_is() -> None:
    """What spec asks for is somebody else's match; only a lower weight is written, into the route that is there."""
    mine = {"backendRefs": [{"name": "recsys-stable", "weight": 90}, {"name": "recsys-canary", "weight": 10}]}
    raw = {
        "apiVersion": "v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "recsys"},
        "spec": {"hostnames": ["mine"], "rules": [mine]},
    }
    given = in_phase(Stage.PROGRESSING, raw_spec(), 1)
    given = replace(
        given, conflict="another has it", children={**given.children, ("HTTPRoute", "recsys"): Child(raw, True)}
    )
    assert not [a for a in decide(given).then if isinstance(a, Apply) and a.manifest["kind"] == "HTTPRoute"]
    failing = decide(replace(given, analysed=analysed(rollout(Stage.PROGRESSING, step=1), Verdict.FAIL)))
    written = next(a.manifest for a in failing.first if isinstance(a, Apply))
    assert written["spec"]["hostnames"] == ["mine"]
    assert canary_weight("recsys", written) == 0
