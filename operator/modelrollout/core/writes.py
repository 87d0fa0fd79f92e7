"""The writes that make the world look like the status, in an order that never runs ahead of itself."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from modelrollout.core import manifests, names
from modelrollout.core.actions import Action, Annotate, Apply, Delete, Reload
from modelrollout.core.judge.memory import landmarks
from modelrollout.core.judge.memory_json import memory_to_text
from modelrollout.core.manifests import Owner
from modelrollout.core.model_config import ModelTarget
from modelrollout.core.names import Track, child
from modelrollout.core.pods import called_alone, may_be_changing
from modelrollout.core.route import http_route
from modelrollout.core.snapshot import Pod, Snapshot
from modelrollout.core.status import Stage, Status
from modelrollout.core.targets import in_place
from modelrollout.core.values import JSON, covers
from modelrollout.core.world import Side, World

RESEND = timedelta(seconds=3)
"""A reload acts at the server's next disk poll and tick, about 1.2 s; asking again sooner says nothing new."""
RESEND_UNANSWERED = timedelta(seconds=30)
"""A call that was never answered pins a thread of the server; a few more, and it would answer nothing at all."""


KEEP_EVERY = 60.0
"""Seconds between two writes of what the judge remembers: what a kill loses is read again from Prometheus."""


def writes(s: Snapshot, status: Status, world: World, route_written: bool) -> Iterator[Action]:
    """Everything but what had to come first: objects, reload calls, then what is to go."""
    own = owner(s)
    back = status.rollout is not None and status.rollout.stage is Stage.ROLLING_BACK
    yield from _differing(s, _records(s, status, own))
    yield from _remembered(s, status, own)
    yield from _differing(s, _sides(s, world, own))
    if status.rollout is not None and status.rollout.stage is Stage.INITIALIZING:
        yield from _restart_initial(s, world)
    if not route_written and not s.conflict:
        yield from (_guard_raise(s, action, world.weight) for action in _differing(s, [_route(s, world, own)]))
    if back:
        yield from _hasten(s, world.stable)
    else:
        yield from reloads(s, status, world)
    yield from _replace_odd_pods(s, status)
    if world.canary is None and not world.kept:
        yield from _remove_canary(s)
    if status.rollout is None:
        yield from _prune(s, status)


def owner(s: Snapshot) -> Owner:
    """Whose children they are."""
    return Owner(s.name, s.namespace, s.uid)


def _records(s: Snapshot, status: Status, owner: Owner) -> Iterator[JSON]:
    """Revisions first: a side is never made from a revision that is not on record."""
    wanted = {version.revision for version in (status.stable, status.rollout and status.rollout.target) if version}
    for name in sorted(wanted & s.revisions.keys()):
        yield manifests.controller_revision(owner, s.revisions[name])


def _remembered(s: Snapshot, status: Status, owner: Owner) -> Iterator[Apply]:
    """What the judge remembers: once a minute, and at once when a verdict hangs on it."""
    memory = s.analysed.memory if s.analysed else None
    rollout, found = status.rollout, s.child("ConfigMap", names.memory(s.name))
    if memory is None or rollout is None or memory.attempt != rollout.attempt or not memory.metrics:
        return
    if found is not None and not found.owned:
        return
    stored = s.stored if s.stored and s.stored.attempt == memory.attempt else None
    if stored is None or memory.at - stored.at >= KEEP_EVERY or landmarks(memory) != landmarks(stored):
        yield Apply(manifests.memory(owner, memory_to_text(memory)), "evidence", create=found is None)


def _replace_odd_pods(s: Snapshot, status: Status) -> Iterator[Action]:
    """A canary pod that was bad alone is ended; its Deployment makes another."""
    odd = status.rollout.odd if status.rollout else ()
    for pod in s.track(Track.CANARY):
        if pod.name in odd:
            yield Delete("Pod", pod.name, pod.uid, "worse than all others")


def _sides(s: Snapshot, world: World, owner: Owner) -> Iterator[JSON]:
    yield manifests.service(owner, Track.STABLE)
    yield manifests.service(owner, Track.CANARY)
    yield from _side(s, owner, Track.STABLE, world.stable)
    if world.canary is not None:
        yield from _side(s, owner, Track.CANARY, world.canary)


def _side(s: Snapshot, owner: Owner, track: Track, side: Side) -> Iterator[JSON]:
    for template, target in side.start_targets.items():
        yield manifests.config_map(owner, track, template, target)
    found = s.child("Deployment", child(s.name, track))
    # Said only where it matters: the API server leaves out a false, and would differ from one for ever.
    held = side.paused if side.paused or (found and found.raw.get("spec", {}).get("paused")) else None
    yield manifests.deployment(owner, track, side.revision, side.template, side.replicas, s.spec.model_name, held)


def _route(s: Snapshot, world: World, owner: Owner) -> JSON:
    # The marker of an abort stays while the weight is 0; the write that raises the weight again takes it off.
    mark = s.route.abort if s.route and world.weight == 0 else ""
    return http_route(owner, s.spec.traffic, s.spec.model_name, world.weight, mark)


def _guard_raise(s: Snapshot, action: Apply, weight: int) -> Apply:
    found = s.child("HTTPRoute", s.name)
    if found is None or s.route is None or weight <= (s.route.weight or 0):
        return action
    return replace(action, seen=found.raw["metadata"].get("resourceVersion", ""))


def _differing(s: Snapshot, wanted: Iterable[JSON]) -> Iterator[Apply]:
    for manifest in wanted:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        found = s.child(kind, name)
        if found is None:
            yield Apply(manifest, "missing", create=True)
        elif found.owned and not covers(found.raw, manifest):
            yield Apply(manifest, "differs")


def _restart_initial(s: Snapshot, world: World) -> Iterator[Action]:
    """A first version was replaced before it served: its servers may wait for ever for a directory that never comes."""
    name = child(s.name, Track.STABLE)
    found = s.child("Deployment", name)
    if found is None or not found.owned:
        return
    metadata = found.raw["metadata"]
    made_from = metadata.get("annotations", {}).get(names.ANNOTATION_REVISION)
    if made_from not in {None, world.stable.revision.name}:
        yield Delete("Deployment", name, metadata["uid"], "another first version")


def reloads(s: Snapshot, status: Status, world: World) -> Iterator[Action]:
    """Calls to the model servers that do not have what they should have."""
    for pod in (*s.track(Track.STABLE), *s.track(Track.CANARY)):
        target = world.targets.get(pod.name)
        if target is not None and pod.ip and to_be_called(s, status, pod, target) and _may_call(s, status, pod, target):
            yield Reload(pod.name, pod.ip, target, _difference(pod, target))


def to_be_called(s: Snapshot, status: Status, pod: Pod, target: ModelTarget) -> bool:
    """Whether a server is still to be told.

    On the way back every stable pod is called once, whatever it reports: a call of before that has not shown yet would
    bring the new version up later. And one that could not load what it was told is told when it need not any more.
    """
    rollout, call, report = status.rollout, pod.server.reload, pod.report
    if not in_place(pod, target):
        return True
    if call is not None and call.target != target and report and any(map(report.failure, call.target.versions)):
        return True
    back = rollout is not None and rollout.stage is Stage.ROLLING_BACK and may_be_changing(rollout)
    return back and pod.track is Track.STABLE and not called_alone(s, pod)


def _may_call(s: Snapshot, status: Status, pod: Pod, target: ModelTarget) -> bool:
    """One call per server at a time; a server that does not report is called only to take a version away."""
    last = pod.server.reload
    back = status.rollout is not None and status.rollout.stage is Stage.ROLLING_BACK
    if pod.server.reloading or (pod.report is None and not (back and pod.ready)):
        return False
    if last is None or last.ended is None or last.target != target:
        return True
    return s.now - last.ended >= (RESEND_UNANSWERED if last.unanswered else RESEND)


def _difference(pod: Pod, target: ModelTarget) -> str:
    has = sorted(pod.report.active) if pod.report else "unknown"
    return f"has {has}, wanted {list(target.versions)} with {dict(target.labels)}"


def _hasten(s: Snapshot, side: Side) -> Iterator[Action]:
    for pod in s.track(Track.STABLE):
        target = side.start_targets.get(pod.template)
        if target is not None and pod.config_hash != manifests.config_hash(target):
            yield Annotate(pod.name, names.ANNOTATION_CONFIG, manifests.config_hash(target))


def _remove_canary(s: Snapshot) -> Iterator[Action]:
    name = child(s.name, Track.CANARY)
    for kind in ("Deployment", "ConfigMap"):
        found = s.child(kind, name)
        if found is not None and found.owned and "deletionTimestamp" not in found.raw["metadata"]:
            yield Delete(kind, name, found.raw["metadata"]["uid"], "no canary wanted")


def _prune(s: Snapshot, status: Status) -> Iterator[Action]:
    """What nothing refers to any more: revisions out of the history, ConfigMaps of templates that have no pods."""
    kept = {entry.target.revision for entry in status.history} | {s.target.name}
    if status.stable is not None:
        kept.add(status.stable.revision)
    ours = {key: found for key, found in s.children.items() if found.owned}
    for (kind, name), found in ours.items():
        if kind == "ControllerRevision" and name.removeprefix(f"{s.name}-") not in kept:
            yield Delete(kind, name, found.raw["metadata"]["uid"], "out of the history")
    mounted = {pod.template for pod in s.pods if pod.track is Track.STABLE}
    mounted |= {status.stable.template} if status.stable else {0}
    kept = {names.config_map(s.name, Track.STABLE, template) for template in mounted}
    for (kind, name), found in ours.items():
        if kind == "ConfigMap" and name not in kept and name.startswith(child(s.name, Track.STABLE)):
            yield Delete(kind, name, found.raw["metadata"]["uid"], "no pod mounts it")
