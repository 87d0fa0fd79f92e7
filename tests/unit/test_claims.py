"""Who may have a match on a gateway (docs/design.md, "The route")."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.cache import ObjectCache
from modelrollout.core.claims import conflict
from modelrollout.ports import Key
from modelrollout.resources import ROLLOUTS
from tests.builders import raw_spec


def rollout(name: str, born: int = 0, *, model: str = "recsys", **traffic: Any) -> dict[str, Any]:
    """A ModelRollout made in that second of the hour; keyword arguments go into its traffic."""
    spec = raw_spec(traffic={"gatewayAPI": {"parentRefs": [{"name": "inference"}], **traffic}})
    spec["model"] = {**spec["model"], "name": model}
    created = f"2026-01-01T00:00:{born:02}Z"
    return {
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "resourceVersion": "1",
            "creationTimestamp": created,
        },
        "spec": spec,
    }


A_AND_B = ({"hostnames": ["a.example.com"]}, {"hostnames": ["b.example.com"]})


@pytest.mark.parametrize(
    ("older", "newer", "words"),
    [
        pytest.param({}, {}, "REST requests for model recsys", id="same model on same listener"),
        pytest.param({}, {"model": "other"}, "all gRPC requests", id="gRPC paths do not name the model"),
        pytest.param({"protocols": ["REST"]}, {"model": "other"}, "", id="different models over REST"),
        pytest.param(*A_AND_B, "", id="different host names"),
        pytest.param({"hostnames": ["*.example.com"]}, A_AND_B[0], "at Gateway default/inference", id="wildcard"),
        pytest.param({}, A_AND_B[0], "REST", id="no host name is every host name"),
        pytest.param({"parentRefs": [{"name": "other"}]}, {}, "", id="different gateways"),
        pytest.param(
            {"parentRefs": [{"name": "inference", "sectionName": "a"}]},
            {"parentRefs": [{"name": "inference", "sectionName": "b"}]},
            "",
            id="different listeners",
        ),
        pytest.param(
            {"parentRefs": [{"name": "inference", "sectionName": "a"}]}, {}, "REST", id="one listener and all of them"
        ),
        pytest.param(
            {"grpcHeaders": [{"name": "X-Model", "value": "a"}]},
            {"grpcHeaders": [{"name": "x-model", "value": "b"}], "model": "other"},
            "",
            id="headers tell gRPC requests apart",
        ),
    ],
)
def test_newer_object_gives_way_where_one_request_could_meet_both(
    older: dict[str, Any], newer: dict[str, Any], words: str
) -> None:
    """The older keeps the match and is not disturbed; the newer is told whose it is."""
    first, second = rollout("first", 1, **older), rollout("second", 2, **newer)
    cache = ObjectCache()
    cache.put(ROLLOUTS, first)
    cache.put(ROLLOUTS, second)
    assert conflict(first, cache.rivals(Key("default", "first"))) == ""
    said = conflict(second, cache.rivals(Key("default", "second")))
    assert bool(said) is bool(words)
    assert words in said
    assert not words or "ModelRollout default/first" in said


def test_object_that_goes_gives_its_match_up() -> None:
    """What is being deleted holds nothing."""
    first = rollout("first", 1)
    first["metadata"]["deletionTimestamp"] = "2026-01-01T01:00:00Z"
    assert conflict(rollout("second", 2), [first]) == ""


def test_cache_finds_rivals_without_looking_at_all_objects() -> None:
    """Only objects that may claim the same are compared; one that moves away is found no more."""
    cache = ObjectCache()
    hosts: dict[str, dict[str, Any]] = {n: {"hostnames": [f"{n}.example.com"]} for n in ("first", "elsewhere")}
    others = (rollout("third", 3, model="x", protocols=["REST"]), rollout("fourth", 4, **hosts["elsewhere"]))
    for item in (rollout("first", 1, **hosts["first"]), rollout("second", 2, hostnames=["*.com"]), *others):
        cache.put(ROLLOUTS, item)
    assert _rivals(cache, "first") == {"second"}
    assert _rivals(cache, "second") == {"first", "fourth"}
    moved = rollout("first", 1, parentRefs=[{"name": "other"}])
    moved["metadata"]["resourceVersion"] = "2"
    cache.put(ROLLOUTS, moved)
    assert _rivals(cache, "second") == {"fourth"}


def _rivals(cache: ObjectCache, name: str) -> set[str]:
    return {found["metadata"]["name"] for found in cache.rivals(Key("default", name))}
