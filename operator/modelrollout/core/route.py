"""The HTTPRoute: one object whose rules for REST and gRPC share one weight, so that one write moves both protocols.

Rules are told apart by their position and backends, never by `name`, which older CRDs prune
(docs/design.md, "The route").
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from modelrollout.core import names
from modelrollout.core.manifests import Owner
from modelrollout.core.names import GRPC_PORT, REST_PORT, Track
from modelrollout.core.snapshot import RouteParent
from modelrollout.core.spec import Traffic
from modelrollout.core.values import JSON

_VERBS = ("predict", "classify", "regress")
_WANTED = ("Accepted", "ResolvedRefs")
_GRPC_SERVICE = "/tensorflow.serving.PredictionService/"


def http_route(owner: Owner, traffic: Traffic, model: str, weight: int, abort: str) -> dict[str, Any]:
    """The whole route. `weight` is the canary's share in percent; `abort` the marker of an abort, empty for none."""
    metadata = owner.metadata(owner.name)
    metadata["labels"] = {**traffic.labels, **metadata["labels"]}
    metadata["annotations"] = {
        **traffic.annotations,
        names.ANNOTATION_ROUTE: _content_hash(owner.name, traffic, model),
        **({names.ANNOTATION_ABORT: abort} if abort else {}),
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {
            "parentRefs": [dict(parent) for parent in traffic.parent_refs],
            **({"hostnames": list(traffic.hostnames)} if traffic.hostnames else {}),
            "rules": _rules(owner.name, traffic, model, weight),
        },
    }


def reweighted(owner: Owner, raw: JSON, weight: int, abort: str) -> dict[str, Any]:
    """The route as it stands, whoever wrote what in it, with another weight for the canary."""
    annotations = {**raw["metadata"].get("annotations", {}), **({names.ANNOTATION_ABORT: abort} if abort else {})}
    metadata = owner.metadata(owner.name, annotations=annotations)
    metadata["labels"] = {**raw["metadata"].get("labels", {}), **metadata["labels"]}
    shares = {names.child(owner.name, Track.STABLE): 100 - weight, names.child(owner.name, Track.CANARY): weight}
    rules = [{**rule, "backendRefs": _reweighted(rule["backendRefs"], shares)} for rule in raw["spec"]["rules"]]
    return {
        "apiVersion": raw["apiVersion"],
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {**raw["spec"], "rules": rules},
    }


def _reweighted(backends: list[dict[str, Any]], shares: Mapping[str, int]) -> list[dict[str, Any]]:
    if len(backends) == 1:
        return backends  # one track's own address
    return [{**backend, "weight": shares.get(backend["name"], 0)} for backend in backends]


def _content_hash(rollout: str, traffic: Traffic, model: str) -> str:
    """Changes with all but the weight: what was taken out of spec would not be missed in a comparison."""
    wish = (asdict(traffic), _rules(rollout, traffic, model, 0))
    return hashlib.sha256(json.dumps(wish, sort_keys=True).encode()).hexdigest()[:10]


def _rules(rollout: str, traffic: Traffic, model: str, weight: int) -> list[dict[str, Any]]:
    extras: dict[str, Any] = {}
    if traffic.timeouts:
        extras["timeouts"] = dict(traffic.timeouts)
    if traffic.filters:
        extras["filters"] = [dict(item) for item in traffic.filters]
    rules = []
    if "REST" in traffic.protocols:
        verbs = [_path("Exact", f"/v1/models/{model}:{verb}") for verb in _VERBS]
        rules.append({"matches": verbs, "backendRefs": _both(rollout, REST_PORT, weight), **extras})
    if "GRPC" in traffic.protocols:
        match = _path("PathPrefix", _GRPC_SERVICE)
        if traffic.grpc_headers:
            match["headers"] = [{"type": "Exact", **header} for header in traffic.grpc_headers]
        rules.append({"matches": [match], "backendRefs": _both(rollout, GRPC_PORT, weight), **extras})
    if "REST" in traffic.protocols:
        pinned = [_path("Exact", f"/v1/models/{model}/labels/canary:{verb}") for verb in _VERBS]
        rules.append({"matches": pinned, "backendRefs": [_backend(rollout, Track.CANARY, REST_PORT, 1)], **extras})
        info = [_path("PathPrefix", f"/v1/models/{model}")]
        rules.append({"matches": info, "backendRefs": [_backend(rollout, Track.STABLE, REST_PORT, 1)], **extras})
    return rules


def _path(kind: str, value: str) -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}}


def _both(rollout: str, port: int, weight: int) -> list[dict[str, Any]]:
    # Both are always listed: adding and removing a backend makes gateways answer 500 for a moment.
    return [
        _backend(rollout, Track.STABLE, port, 100 - weight),
        _backend(rollout, Track.CANARY, port, weight),
    ]


def _backend(rollout: str, track: Track, port: int, weight: int) -> dict[str, Any]:
    return {"name": names.child(rollout, track), "port": port, "weight": weight}


def canary_weight(rollout: str, raw: JSON) -> int | None:
    """The canary's share that a route gives, None when its rules disagree or a split rule lost a backend."""
    canary = names.child(rollout, Track.CANARY)
    shares = set()
    for rule in raw.get("spec", {}).get("rules", ()):
        weights = {backend["name"]: backend.get("weight", 1) for backend in rule.get("backendRefs", ())}
        if len(weights) != 1:
            shares.add(_share(weights, canary))
    return shares.pop() if len(shares) == 1 else None


def _share(weights: Mapping[str, int], canary: str) -> int | None:
    whole = sum(weights.values())
    return round(100 * weights[canary] / whole) if whole and canary in weights else None


def parents(traffic: Traffic, raw: JSON, namespace: str) -> tuple[RouteParent, ...]:
    """What each wanted parent says of exactly this generation of the route."""
    statuses = raw.get("status", {}).get("parents", ())
    generation = raw["metadata"].get("generation", 0)
    return tuple(
        RouteParent(ref["name"], _parent_problem(found, generation), found is not None, _is_late(found, generation))
        for ref in traffic.parent_refs
        for found in [_status_of(ref, statuses, namespace)]
    )


def acceptance(raw: JSON) -> tuple[object, ...]:
    """Which generation of which route this is, and what gateways say of it, without times and messages."""
    said = (
        (str(parent["parentRef"]), condition["type"], condition["status"], condition.get("observedGeneration"))
        for parent in raw.get("status", {}).get("parents", ())
        for condition in parent.get("conditions", ())
    )
    return raw["metadata"]["uid"], raw["metadata"].get("generation", 0), *said


def _status_of(ref: JSON, statuses: Any, namespace: str) -> JSON | None:
    def identity(parent: JSON) -> tuple[Any, ...]:
        return (parent["name"], parent.get("namespace", namespace), parent.get("sectionName"), parent.get("port"))

    return next((status for status in statuses if identity(status["parentRef"]) == identity(ref)), None)


def _is_late(status: JSON | None, generation: int) -> bool:
    known = {condition["type"]: condition for condition in status.get("conditions", ())} if status else {}
    return any(known.get(kind, {}).get("observedGeneration", 0) < generation for kind in _WANTED)


def _parent_problem(status: JSON | None, generation: int) -> str:
    if status is None:
        return "has not answered; does the Gateway exist, and does its listener allow routes of this namespace?"
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    for wanted in _WANTED:
        condition = conditions.get(wanted)
        if condition is None or condition.get("observedGeneration", 0) < generation:
            return f"{wanted} is not known yet for this generation"
        if condition["status"] != "True":
            return f"{wanted} is {condition['status']}: {condition.get('reason')}: {condition.get('message', '')}"
    for unwanted in ("PartiallyInvalid", "RouteRulesOverlap"):
        condition = conditions.get(unwanted)
        if condition is not None and condition["status"] == "True":
            return f"{unwanted}: {condition.get('message', '')}"
    return ""
