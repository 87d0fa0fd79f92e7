"""What may always be done, whatever cannot be read: take an aborted canary out of the traffic.

For objects whose `spec` or `status` this operator does not understand (docs/design.md, "Safety rules"). It needs the
route and nothing else.
"""

from collections.abc import Iterable

from modelrollout.core import names
from modelrollout.core.actions import Apply
from modelrollout.core.manifests import Owner
from modelrollout.core.route import canary_weight, reweighted
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
    return Apply(reweighted(Owner(name, metadata["namespace"], uid), route, 0, mark), "abort on record", urgent=True)


def _is_route(item: JSON, name: str, uid: str) -> bool:
    owners = item["metadata"].get("ownerReferences", ())
    ours = any(owner.get("controller") and owner["uid"] == uid for owner in owners)
    return item["kind"] == "HTTPRoute" and item["metadata"]["name"] == name and ours
