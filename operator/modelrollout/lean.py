"""Objects without what nobody here reads: what stays of them in memory, for hundreds of ModelRollouts.

Used by the cache, and by whatever reads listings: whole listings of whole objects would be most of the memory that the
process ever takes, and a process gives little of that back.
"""

import sys
from typing import Any

from modelrollout.core.names import manages_request
from modelrollout.core.values import JSON
from modelrollout.resources import HTTP_ROUTES, NAMESPACES, PODS, WATCHED, Resource

_BULKY = "kubectl.kubernetes.io/last-applied-configuration"
_SHORT = 80
_LISTS = {f"{resource.kind}List": resource for resource in WATCHED}
_NAMESPACES = f"{NAMESPACES.kind}List"


def lean(resource: Resource, obj: JSON) -> JSON:
    """Without what nobody reads and much memory holds; with `kind`, which listings leave out.

    Of `managedFields` only who wrote a request is kept.
    """
    metadata: dict[str, Any] = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    if asked := [entry for entry in obj["metadata"].get("managedFields", ()) if manages_request(entry)]:
        metadata["managedFields"] = asked
    if _BULKY in (metadata.get("annotations") or {}):
        metadata["annotations"] = {k: v for k, v in metadata["annotations"].items() if k != _BULKY}
    if resource is HTTP_ROUTES:
        # Who wrote it, for when somebody overwrites a weight; not which fields.
        writers: list[JSON] = obj["metadata"].get("managedFields") or []
        metadata["managedFields"] = [{k: v for k, v in item.items() if k != "fieldsV1"} for item in writers]
    kept = {key: value for key, value in obj.items() if resource is not PODS or key != "spec"}
    made: JSON = _shared({**kept, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata})
    return made


def lean_answer(answer: Any) -> Any:
    """What the API server answers, its objects lean where it is a listing of a kind that is kept in memory."""
    resource = _LISTS.get(_kind(answer))
    if resource is None or not answer.get("items"):
        return answer
    return {**answer, "items": [lean(resource, item) for item in answer["items"]]}


def without_items(answer: Any) -> Any:
    """What the API server answers; of a listing of what is watched only as of when it is, and that nothing follows."""
    if _kind(answer) not in {*_LISTS, _NAMESPACES}:
        return answer
    metadata = {name: value for name, value in (answer.get("metadata") or {}).items() if name == "resourceVersion"}
    return {**answer, "items": [], "metadata": metadata}


def _kind(answer: Any) -> str:
    return str(answer.get("kind")) if isinstance(answer, dict) else ""


def _shared(value: Any) -> Any:
    """The same JSON with equal short strings held once: hundreds of objects say much the same; halves the memory."""
    if isinstance(value, str):
        return sys.intern(value) if len(value) < _SHORT else value
    if isinstance(value, dict):
        return {sys.intern(key): _shared(item) for key, item in value.items()}
    return [_shared(item) for item in value] if isinstance(value, list) else value
