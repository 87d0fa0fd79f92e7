"""From raw objects and the memory of probes to one Snapshot. Pure: the reconciler hands in what it holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modelrollout.core import names
from modelrollout.core.alerts import Alert
from modelrollout.core.analysis import Analysed
from modelrollout.core.judge.memory import Memory as Judged
from modelrollout.core.judge.memory_json import memory_from_text
from modelrollout.core.names import Track
from modelrollout.core.revisions import Revision, revision_of
from modelrollout.core.route import canary_weight, parents
from modelrollout.core.snapshot import Capacity, Child, ContainerExit, Pod, Route, Server, Snapshot
from modelrollout.core.spec import Spec
from modelrollout.core.spec_json import parse_spec
from modelrollout.core.status_json import status_from_json
from modelrollout.core.values import JSON, parse_time


@dataclass(frozen=True, slots=True)
class Memory:
    """What this process has read beside the cluster's objects. Losing it costs time, never safety.

    `servers` by pod uid. `route_seen` is when the route's current generation was first seen. `refused` says which
    write the API server refused last time, and why; `contested` which child somebody else keeps changing; `invalid`
    what is wrong with a `spec` in whose place the last readable one is handed in; `conflict` which older object has a
    match that this one claims too. `unheard` is when the API server last did not answer. `alerts` are those that
    Alertmanager called about.
    """

    servers: Mapping[str, Server] = field(default_factory=dict)
    analysed: Analysed | None = None
    capacity: Capacity | None = None
    route_seen: datetime | None = None
    refused: str = ""
    contested: str = ""
    invalid: str = ""
    conflict: str = ""
    alerts: tuple[Alert, ...] = ()
    unheard: datetime | None = None


def observe(rollout: JSON, objects: Iterable[JSON], memory: Memory, now: datetime) -> Snapshot:
    """The snapshot of one ModelRollout. Raises InvalidSpec."""
    metadata = rollout["metadata"]
    name, namespace, uid = metadata["name"], metadata["namespace"], metadata["uid"]
    spec = parse_spec(rollout["spec"], name)
    seen = list(objects)
    children = {
        (item["kind"], item["metadata"]["name"]): Child(item, _owned(item, uid))
        for item in seen
        if item["kind"] != "Pod"
    }
    return Snapshot(
        now=now,
        name=name,
        namespace=namespace,
        uid=uid,
        generation=metadata.get("generation", 0),
        spec=spec,
        target=revision_of(rollout["spec"]),
        status=status_from_json(rollout.get("status", {})),
        revisions=_revisions(name, children),
        children=children,
        pods=tuple(_pod(item, memory) for item in seen if _is_ours(item, name, children)),
        route=_route(name, namespace, spec, children, memory, now),
        capacity=memory.capacity,
        analysed=memory.analysed,
        refused=memory.refused,
        contested=memory.contested,
        invalid=memory.invalid,
        conflict=memory.conflict,
        alerts=memory.alerts,
        unheard=memory.unheard,
        request=metadata.get("annotations", {}).get(names.ANNOTATION_REQUEST, ""),
        asker=_asker(metadata),
        reconcile_wish=metadata.get("annotations", {}).get(names.ANNOTATION_RECONCILE, ""),
        stored=_stored(name, children) if rollout.get("status", {}).get("rollout") else None,
    )


def _asker(metadata: JSON) -> str:
    """Who wrote the request annotation and when, as far as the API server tells: its field manager, not a name."""
    wrote = [entry for entry in metadata.get("managedFields", ()) if names.manages_request(entry)]
    last = max(wrote, key=lambda entry: entry.get("time", ""), default=None)
    return f"{last.get('manager', 'somebody')} at {last.get('time', 'some time')}" if last else ""


def _stored(name: str, children: Mapping[tuple[str, str], Child]) -> Judged | None:
    """What the judge remembered; only read while there is something to judge."""
    found = children.get(("ConfigMap", names.memory(name)))
    if found is None or not found.owned:
        return None
    return memory_from_text(found.raw.get("data", {}).get(names.MEMORY_KEY, ""))


def _owned(item: JSON, uid: str) -> bool:
    owners = item["metadata"].get("ownerReferences", ())
    return any(owner.get("controller") and owner["uid"] == uid for owner in owners)


def _revisions(name: str, children: Mapping[tuple[str, str], Child]) -> dict[str, Revision]:
    found = {}
    for (kind, child_name), item in children.items():
        if kind == "ControllerRevision" and item.owned:
            revision = child_name.removeprefix(f"{name}-")
            found[revision] = Revision(revision, item.raw["data"])
    return found


def _route(
    name: str, namespace: str, spec: Spec, children: Mapping[tuple[str, str], Child], memory: Memory, now: datetime
) -> Route | None:
    found = children.get(("HTTPRoute", name))
    if found is None or not found.owned:
        return None
    raw = found.raw
    return Route(
        weight=canary_weight(name, raw),
        generation=raw["metadata"].get("generation", 0),
        seen=memory.route_seen or now,
        abort=raw["metadata"].get("annotations", {}).get(names.ANNOTATION_ABORT, ""),
        parents=parents(spec.traffic, raw, namespace),
    )


def _is_ours(item: JSON, name: str, children: Mapping[tuple[str, str], Child]) -> bool:
    """Whether it is a pod of one of our Deployments: those of a stranger's Deployment are left alone with it."""
    track = _track(item) if item["kind"] == "Pod" else None
    found = children.get(("Deployment", names.child(name, track))) if track is not None else None
    return track is not None and (found is None or found.owned)


def _track(item: JSON) -> Track | None:
    label = item["metadata"].get("labels", {}).get(names.LABEL_TRACK)
    return Track(label) if label in set(Track) else None


def _pod(item: JSON, memory: Memory) -> Pod:
    metadata, status = item["metadata"], item.get("status", {})
    conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
    container: JSON = next(iter(status.get("containerStatuses", ())), {})
    scheduled = conditions.get("PodScheduled", {})
    placed = scheduled.get("status") == "True"
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        track=Track(metadata["labels"][names.LABEL_TRACK]),
        ip=status.get("podIP", ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        terminating="deletionTimestamp" in metadata or status.get("phase") in {"Failed", "Succeeded"},
        scheduled=parse_time(scheduled["lastTransitionTime"]) if placed else None,
        started=_started(container),
        unschedulable=scheduled.get("message", "") if scheduled.get("status") == "False" else "",
        waiting=_waiting(container),
        restarts=container.get("restartCount", 0),
        exit=_exit(container),
        template=int(metadata.get("annotations", {}).get(names.ANNOTATION_TEMPLATE, 0)),
        config_hash=metadata.get("annotations", {}).get(names.ANNOTATION_CONFIG, ""),
        server=memory.servers.get(metadata["uid"], Server()),
    )


def _started(container: JSON) -> datetime | None:
    running = container.get("state", {}).get("running", {})
    return parse_time(running["startedAt"]) if running.get("startedAt") else None


def _waiting(container: JSON) -> str:
    waiting = container.get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    return "" if reason in {"", "ContainerCreating"} else f"{reason}: {waiting.get('message', '')}"


def _exit(container: JSON) -> ContainerExit | None:
    """How the container last ended: now, or before its restart."""
    for state in (container.get("state", {}), container.get("lastState", {})):
        ended = state.get("terminated")
        # After a lost node the kubelet reports an end that nobody saw: it says nothing about the server.
        if ended and ended.get("reason") not in {"Unknown", "ContainerStatusUnknown"}:
            finished = parse_time(ended["finishedAt"])
            return ContainerExit(ended.get("exitCode", 0), ended.get("message", ""), finished)
    return None
