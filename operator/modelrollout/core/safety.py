"""What may always be done, whatever cannot be read: take an aborted canary out of the traffic.

For objects whose `spec` or `status` this operator does not understand (docs/design.md, "Safety rules"). It needs the
route and nothing else.
"""

from collections.abc import Iterable
from typing import Any

from modelrollout.core import names
from modelrollout.core.actions import Apply
from modelrollout.core.manifests import Owner
from modelrollout.core.names import Track, child
from modelrollout.core.route import canary_weight
from modelrollout.core.status import Stage
from modelrollout.core.values import JSON


def lower_only(rollout: JSON, objects: Iterable[JSON]) -> Apply | None:
    """The write of weight 0 when an abort is on record, in the route or in `status`, and the canary has weight left."""
    metadata = rollout["metadata"]
    name, uid = metadata["name"], metadata["uid"]
    route = next((item for item in objects if _is_route(item, name, uid)), None)
    if route is None or canary_weight(name, route) == 0:
        return None
    mark = route["metadata"].get("annotations", {}).get(names.ANNOTATION_ABORT, "")
    stage = rollout.get("status", {}).get("rollout", {}).get("stage")
    if not mark and stage != Stage.ROLLING_BACK:
        return None
    return Apply(_without_canary(Owner(name, metadata["namespace"], uid), route), "abort on record", urgent=True)


def _is_route(item: JSON, name: str, uid: str) -> bool:
    owners = item["metadata"].get("ownerReferences", ())
    ours = any(owner.get("controller") and owner["uid"] == uid for owner in owners)
    return item["kind"] == "HTTPRoute" and item["metadata"]["name"] == name and ours


def _without_canary(owner: Owner, route: JSON) -> dict[str, Any]:
    """The route as it stands, with everything to the stable side."""
    metadata = owner.metadata(owner.name, annotations=dict(route["metadata"].get("annotations", {})))
    metadata["labels"] = {**route["metadata"].get("labels", {}), **metadata["labels"]}
    rules = [{**rule, "backendRefs": _to_stable(owner.name, rule["backendRefs"])} for rule in route["spec"]["rules"]]
    return {
        "apiVersion": route["apiVersion"],
        "kind": "HTTPRoute",
        "metadata": metadata,
        "spec": {**route["spec"], "rules": rules},
    }


def _to_stable(rollout: str, backends: list[dict[str, Any]]) -> list[dict[str, Any]]:
    if len(backends) == 1:
        return backends  # the canary's own address, to try it by hand
    canary = child(rollout, Track.CANARY)
    return [{**backend, "weight": 0 if backend["name"] == canary else 100} for backend in backends]
