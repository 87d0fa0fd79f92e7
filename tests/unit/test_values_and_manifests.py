"""What is read and what is written: spec, status, durations, configuration, manifests, route."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from modelrollout.core.manifests import Owner, deployment
from modelrollout.core.model_config import render, stable_target
from modelrollout.core.names import Track
from modelrollout.core.revisions import revision_of
from modelrollout.core.route import canary_weight, http_route, parents
from modelrollout.core.spec import InvalidSpec, Method, Traffic
from modelrollout.core.spec_json import parse_spec
from modelrollout.core.status import (
    Baseline,
    Condition,
    End,
    HistoryEntry,
    Judged,
    LastRequest,
    Outcome,
    Rejected,
    Rollout,
    Stage,
    Status,
    Story,
    Version,
)
from modelrollout.core.status_json import status_from_json, status_to_json
from modelrollout.core.values import covers, format_duration, parse_duration
from tests.builders import raw_spec

NOW = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
OWNER = Owner("recsys", "default", "uid")
TRAFFIC = Traffic(({"name": "inference"},))


@pytest.mark.parametrize("text", ["90s", "10m", "1h30m", "1500ms"])
def test_durations_are_read_and_written(text: str) -> None:
    """Gateway API durations mean the same after a round trip."""
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)


@pytest.mark.parametrize("text", ["", "10", "m", "1d", "1.5s", "-3s"])
def test_wrong_durations_are_refused(text: str) -> None:
    """Anything else is a ValueError that shows the right form."""
    with pytest.raises(ValueError, match="such as 90s"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("actual", "wanted", "covered"),
    [
        pytest.param({"a": 1, "default": 2}, {"a": 1}, True, id="further keys are other writers'"),
        pytest.param({"a": 1}, {"a": 2}, False, id="another value"),
        pytest.param({"a": [{"x": 1, "y": 2}]}, {"a": [{"x": 1}]}, True, id="items of lists may have further keys"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, False, id="lists have the same length"),
        pytest.param(None, {"a": 1}, False, id="nothing"),
    ],
)
def test_covers(actual: Any, wanted: Any, covered: bool) -> None:
    """Drift is what we mean to own and an object does not say."""
    assert covers(actual, wanted) is covered


def test_spec_that_cannot_be_read_says_why() -> None:
    """The error names what is wrong; it is no traceback."""
    with pytest.raises(InvalidSpec, match="steps"):
        parse_spec(raw_spec(strategy={}), "recsys")


def test_step_defaults() -> None:
    """MaxDuration is three times duration; canary pods follow the weight, one at least."""
    step = parse_spec(raw_spec(), "recsys").strategy.steps[0]
    assert step.max_duration == 3 * step.duration
    assert [step.canary_replicas(replicas) for replicas in (1, 10, 11)] == [1, 1, 2]


@pytest.mark.parametrize(("value", "pods"), [(2, 2), ("25%", 2), ("1%", 1)])
def test_max_parallel(value: int | str, pods: int) -> None:
    """A number or a percentage of eight pods, one at least."""
    spec = raw_spec()
    spec["strategy"] = {**spec["strategy"], "promotion": {"maxParallel": value}}
    assert parse_spec(spec, "recsys").strategy.parallel(8) == pods


def test_revision_is_about_pods_and_version_only() -> None:
    """Replicas, steps and the order of keys are no part of it; version and image are."""
    spec = raw_spec()
    same = {**dict(reversed(spec.items())), "serving": {**spec["serving"], "replicas": 7}}
    assert revision_of(same).name == revision_of(spec).name
    for other in (raw_spec(103), raw_spec(serving={**spec["serving"], "image": "other"})):
        assert revision_of(other).name != revision_of(spec).name


def test_model_config_is_what_the_server_parses() -> None:
    """The text is a ModelServerConfig with specific versions and labels."""
    target = stable_target('odd"name', "/models/x", {102, 101}, 101)
    config = text_format.Parse(render(target), ModelServerConfig()).model_config_list.config[0]
    assert (config.name, config.base_path, config.model_platform) == ('odd"name', "/models/x", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [101, 102]
    assert dict(config.version_labels) == {"stable": 101}


def test_pod_template_does_not_name_the_version() -> None:
    """Promotion by reload must not change the template, or pods would restart."""
    old, new = (
        deployment(OWNER, Track.STABLE, revision_of(raw_spec(version)), 0, 2, "recsys")["spec"]["template"]
        for version in (101, 102)
    )
    assert old == new


@pytest.mark.parametrize("track", Track)
def test_pod_that_is_to_end_goes_on_answering(track: Track) -> None:
    """Gateways still send it requests; the time comes on top of what the user gives the server for its own end."""
    serving = {**raw_spec()["serving"], "pod": {"terminationGracePeriod": "40s"}}
    made = deployment(OWNER, track, revision_of(raw_spec(serving=serving)), 0, 1, "recsys")
    pod = made["spec"]["template"]["spec"]
    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert pod["terminationGracePeriodSeconds"] == 45


@pytest.mark.parametrize("storage", [{"hostPath": {"path": "/m"}}, {"persistentVolumeClaim": {"claimName": "m"}}, None])
def test_servers_can_write_to_no_volume(storage: dict[str, Any] | None) -> None:
    """Neither models nor configuration can be changed from within a pod, whatever the volume itself allows."""
    serving = {key: value for key, value in raw_spec()["serving"].items() if key != "storage"}
    serving |= {"storage": storage} if storage else {}
    made = deployment(OWNER, Track.STABLE, revision_of(raw_spec(serving=serving)), 0, 1, "recsys")
    pod = made["spec"]["template"]["spec"]
    mounts = [mount for container in pod["containers"] for mount in container["volumeMounts"]]
    assert {mount["name"] for mount in mounts} == {volume["name"] for volume in pod["volumes"]}
    assert all(mount["readOnly"] for mount in mounts)


def test_gpu_is_asked_for_and_tolerated() -> None:
    """Limit and request alike, and a toleration for nodes tainted with the resource's name."""
    serving = {**raw_spec()["serving"], "gpu": {"resource": "nvidia.com/gpu", "count": 2}}
    made = deployment(OWNER, Track.CANARY, revision_of(raw_spec(serving=serving)), 0, 1, "recsys")
    pod = made["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {
        "limits": {"nvidia.com/gpu": "2"},
        "requests": {"nvidia.com/gpu": "2"},
    }
    assert {"key": "nvidia.com/gpu", "operator": "Exists"} in pod["tolerations"]


def test_one_write_moves_both_protocols() -> None:
    """REST and gRPC rules carry the same weights, and both backends are always listed."""
    route = http_route(OWNER, TRAFFIC, "recsys", 25, "")
    split = [rule["backendRefs"] for rule in route["spec"]["rules"] if len(rule["backendRefs"]) == 2]
    assert [[backend["weight"] for backend in backends] for backends in split] == [[75, 25], [75, 25]]
    assert canary_weight("recsys", route) == 25


def test_reload_service_is_never_routed() -> None:
    """No rule matches ModelService: outsiders could unload models through it."""
    paths = [
        match["path"]["value"]
        for rule in http_route(OWNER, TRAFFIC, "recsys", 0, "")["spec"]["rules"]
        for match in rule["matches"]
    ]
    assert not any("/tensorflow.serving.ModelService/".startswith(path) for path in paths)


def test_rules_that_disagree_have_no_weight() -> None:
    """A route that somebody edited halfway is not mistaken for one with a weight."""
    route = http_route(OWNER, TRAFFIC, "recsys", 25, "")
    route["spec"]["rules"][0]["backendRefs"][0]["weight"] = 50
    assert canary_weight("recsys", route) is None


@pytest.mark.parametrize(
    ("conditions", "problem"),
    [
        pytest.param([("Accepted", "True", 2), ("ResolvedRefs", "True", 2)], "", id="accepted"),
        pytest.param([("Accepted", "True", 1), ("ResolvedRefs", "True", 2)], "not known yet", id="an older generation"),
        pytest.param([("Accepted", "False", 2), ("ResolvedRefs", "True", 2)], "Accepted is False", id="refused"),
        pytest.param(
            [("Accepted", "True", 2), ("ResolvedRefs", "True", 2), ("PartiallyInvalid", "True", 2)],
            "PartiallyInvalid",
            id="partly invalid",
        ),
        pytest.param([], "has not answered", id="silent"),
    ],
)
def test_parents(conditions: list[tuple[str, str, int]], problem: str) -> None:
    """A weight is accepted when a parent says so of exactly this generation."""
    said = [{"type": kind, "status": value, "observedGeneration": number} for kind, value, number in conditions]
    statuses = [{"parentRef": {"name": "inference", "group": "g"}, "conditions": said}] if said else []
    raw = {"metadata": {"generation": 2}, "status": {"parents": statuses}}
    found = parents(TRAFFIC, raw, "default")[0].problem
    assert problem in found
    assert bool(problem) == bool(found)


def test_status_survives_the_api_server() -> None:
    """Everything that rules need is the same after writing and reading."""
    target = Version("abc", 102)
    end = End(Outcome.ROLLED_BACK, "AnalysisFailed", "bad", "evidence")
    moment = NOW
    whole = NOW.replace(microsecond=0)
    steps = parse_spec(raw_spec(), "recsys").strategy.steps
    rollout = Rollout(
        attempt=3,
        stage=Stage.ROLLING_BACK,
        target=target,
        started=moment,
        since=moment,
        steps=steps,
        step=2,
        step_started=moment,
        method=Method.ROLL,
        carriers=2,
        lost_since=moment,
        setbacks=1,
        fits=True,
        live=50,
        live_since=moment,
        baseline=(Baseline("m", 0.25, 100.0),),
        end=end,
    )
    status = Status(
        observed_generation=4,
        stable=Version("def", 101, template=2),
        rollout=rollout,
        rejected=Rejected(target, "reason", "message"),
        analysis=(Judged("m", "ErrorRate", "Limits", "NoData", "detail", moment),),
        history=(HistoryEntry(2, target, end, moment, moment + timedelta(seconds=5)),),
        replicas=2,
        selector="a=b",
        last_request=LastRequest("abort:0123456789.2:1", "abort: done"),
        story=Story(conditions=(Condition("Ready", "True", "Healthy", "fine", whole, 4),)),
    )
    assert status_from_json(status_to_json(status)) == status
