"""The rule book's front door: one snapshot in, one decision out (docs/design.md, "One pass").

The order of a pass is the product's promise: what makes traffic safe, then the status, then everything else.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from modelrollout.core import manifests, names
from modelrollout.core.actions import Action, Annotate, Apply, Decision, Delete, Reload
from modelrollout.core.evidence import marker, next_deadline, step_length
from modelrollout.core.manifests import Owner
from modelrollout.core.model_config import ModelTarget
from modelrollout.core.names import Track, child
from modelrollout.core.revisions import Revision
from modelrollout.core.route import http_route
from modelrollout.core.snapshot import Pod, Snapshot
from modelrollout.core.status import SCHEMA_VERSION, Stage, Status
from modelrollout.core.story import events, tell
from modelrollout.core.targets import in_place
from modelrollout.core.transitions import LOST_AFTER, PROPAGATION, canary_deadline_start, next_status, proving_report
from modelrollout.core.values import JSON, covers
from modelrollout.core.world import Side, World, wanted_world

RESEND = timedelta(seconds=3)
"""A reload acts at the server's next disk poll and tick, about 1.2 s; asking again sooner says nothing new."""


def decide(s: Snapshot) -> Decision:
    """What to write now, and when to look again. Pure; the second pass over an unchanged world wants nothing."""
    if s.status.schema_version > SCHEMA_VERSION:
        return Decision(s.status)
    taken = _name_taken(s)
    if taken is not None:
        return Decision(tell(s, s.status, None, ("NameTaken", taken)))
    status = next_status(s)
    stable = _stable_revision(s, status)
    if stable is None:
        lost = f"the ControllerRevision of the stable version is gone; set spec back to version {_stable_version(s)}"
        return Decision(tell(s, status, None, ("RevisionLost", lost)))
    known = replace(s, revisions={**s.revisions, s.target.name: s.target})
    world = wanted_world(known, status, stable)
    status = tell(s, status, world, _stalled(s, status))
    status = replace(status, selector=",".join(f"{k}={v}" for k, v in names.selector(s.name, Track.STABLE).items()))
    first = tuple(_make_traffic_safe(s, status, world))
    then = (*_writes(known, status, world, first), *events(s, status))
    return Decision(status, first, then, _requeue(s, status, world))


def _name_taken(s: Snapshot) -> str | None:
    for (kind, name), found in s.children.items():
        if not found.owned:
            return f"{kind} {name} exists and is not ours; delete or rename it, or give this ModelRollout another name"
    return None


def _stable_revision(s: Snapshot, status: Status) -> Revision | None:
    """What stable pods are made from: the promoted revision, or the first one while there is none."""
    if status.stable is None or status.stable.revision == s.target.name:
        return s.target
    return s.revisions.get(status.stable.revision)


def _stable_version(s: Snapshot) -> int:
    return s.status.stable.version if s.status.stable else s.target.version


def _stalled(s: Snapshot, status: Status) -> tuple[str, str] | None:
    """What only somebody else can mend, as (reason, message)."""
    rollout, stable = status.rollout, status.stable
    if s.refused:
        return "WriteRefused", s.refused
    if s.contested:
        reason = "RouteContested" if s.contested.startswith("HTTPRoute") else "ChildContested"
        return reason, f"{s.contested} is changed by somebody else again and again; find out who, and stop it"
    if rollout is not None and rollout.stage is Stage.PREPARING and not rollout.fits and stable is not None:
        report = proving_report(s, rollout)
        error = report.failure(stable.version) if report else ""
        if error:
            fix = "promotion by reload needs both; promotion.method: Roll does not"
            return "NoMemoryForTwoVersions", f"both versions do not fit in one server ({error}); {fix}"
    return None


def _make_traffic_safe(s: Snapshot, status: Status, world: World) -> Iterator[Action]:
    """Lower the weight before anything else; for an abort with the reason in the same write: a kill cannot undo it.

    After a promotion the stable pods have what the canary has, so there is no hurry, and the status comes first.
    """
    rollout = status.rollout
    if s.route is None or (rollout is not None and rollout.stage is Stage.BAKING):
        return
    if s.route.weight is not None and s.route.weight <= world.weight:
        return
    end = rollout.end if rollout else None
    mark = marker(rollout, end) if rollout and end else s.route.abort
    why = f"abort: {end.reason}" if end else "less weight"
    yield Apply(http_route(_owner(s), s.spec.traffic, s.spec.model_name, world.weight, mark), why, urgent=True)


def _writes(s: Snapshot, status: Status, world: World, done: tuple[Action, ...]) -> Iterator[Action]:
    """Everything that makes the world look like the status, in an order that never runs ahead of itself."""
    owner = _owner(s)
    yield from _differing(s, _records(s, status, owner))
    yield from _differing(s, _sides(s, world, owner))
    if status.rollout is not None and status.rollout.stage is Stage.INITIALIZING:
        yield from _restart_initial(s, world)
    if not done:
        yield from _differing(s, [_route(s, world, owner)])
    yield from _reloads(s, world)
    if status.rollout is not None and status.rollout.stage is Stage.ROLLING_BACK:
        yield from _hasten(s, world.stable)
    if world.canary is None:
        yield from _remove_canary(s)
    if status.rollout is None:
        yield from _prune(s, status)


def _records(s: Snapshot, status: Status, owner: Owner) -> Iterator[JSON]:
    """Revisions first: a side is never made from a revision that is not on record."""
    wanted = {version.revision for version in (status.stable, status.rollout and status.rollout.target) if version}
    for name in sorted(wanted & s.revisions.keys()):
        yield manifests.controller_revision(owner, s.revisions[name])


def _sides(s: Snapshot, world: World, owner: Owner) -> Iterator[JSON]:
    yield manifests.service(owner, Track.STABLE)
    yield manifests.service(owner, Track.CANARY)
    yield from _side(s, owner, Track.STABLE, world.stable)
    if world.canary is not None:
        yield from _side(s, owner, Track.CANARY, world.canary)


def _side(s: Snapshot, owner: Owner, track: Track, side: Side) -> Iterator[JSON]:
    for template, target in side.start_targets.items():
        yield manifests.config_map(owner, track, template, target)
    yield manifests.deployment(owner, track, side.revision, side.template, side.replicas, s.spec.model_name)


def _route(s: Snapshot, world: World, owner: Owner) -> JSON:
    # The marker of an abort stays while the weight is 0; the write that raises the weight again takes it off.
    mark = s.route.abort if s.route and world.weight == 0 else ""
    return http_route(owner, s.spec.traffic, s.spec.model_name, world.weight, mark)


def _differing(s: Snapshot, wanted: "Iterator[JSON] | list[JSON]") -> Iterator[Action]:
    for manifest in wanted:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        found = s.child(kind, name)
        if found is None:
            yield Apply(manifest, "missing", create=True)
        elif not covers(found.raw, manifest):
            yield Apply(manifest, "differs")


def _restart_initial(s: Snapshot, world: World) -> Iterator[Action]:
    """A first version was replaced before it served: its servers may wait for ever for a directory that never comes."""
    name = child(s.name, Track.STABLE)
    found = s.child("Deployment", name)
    if found is None:
        return
    metadata = found.raw["metadata"]
    made_from = metadata.get("annotations", {}).get(names.ANNOTATION_REVISION)
    if made_from not in {None, world.stable.revision.name}:
        yield Delete("Deployment", name, metadata["uid"], "another first version")


def _reloads(s: Snapshot, world: World) -> Iterator[Action]:
    for pod in (*s.track(Track.STABLE), *s.track(Track.CANARY)):
        target = world.targets.get(pod.name)
        if target is not None and pod.ip and not in_place(pod, target) and _may_send(s, pod, target):
            yield Reload(pod.name, pod.ip, target, _difference(pod, target))


def _may_send(s: Snapshot, pod: Pod, target: ModelTarget) -> bool:
    """One call per server at a time; a server that does not report is called only to take a version away."""
    last = pod.server.reload
    if pod.server.reloading:
        return False
    again = last is not None and last.target == target
    if again and last is not None and last.ended is not None and s.now - last.ended < RESEND:
        return False
    if pod.report is None:
        return s.status.rollout is not None and s.status.rollout.stage is Stage.ROLLING_BACK and pod.ready
    # A version that failed to load is not tried again by the same configuration.
    return not (again and any(pod.report.failure(version) for version in target.versions))


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
        if found is not None and "deletionTimestamp" not in found.raw["metadata"]:
            yield Delete(kind, name, found.raw["metadata"]["uid"], "no canary wanted")


def _prune(s: Snapshot, status: Status) -> Iterator[Action]:
    """What nothing refers to any more: revisions out of the history, ConfigMaps of templates that have no pods."""
    kept = {entry.target.revision for entry in status.history} | {s.target.name}
    if status.stable is not None:
        kept.add(status.stable.revision)
    for (kind, name), found in s.children.items():
        if kind == "ControllerRevision" and name.removeprefix(f"{s.name}-") not in kept:
            yield Delete(kind, name, found.raw["metadata"]["uid"], "out of the history")
    mounted = {pod.template for pod in s.pods if pod.track is Track.STABLE}
    mounted |= {status.stable.template} if status.stable else {0}
    kept = {names.config_map(s.name, Track.STABLE, template) for template in mounted}
    for (kind, name), found in s.children.items():
        if kind == "ConfigMap" and name not in kept and name.startswith(child(s.name, Track.STABLE)):
            yield Delete(kind, name, found.raw["metadata"]["uid"], "no pod mounts it")


def _owner(s: Snapshot) -> Owner:
    return Owner(s.name, s.namespace, s.uid)


def _requeue(s: Snapshot, status: Status, world: World) -> timedelta | None:
    """When time alone makes the next pass due."""
    moments = [moment for moment in _due(s, status, world) if moment is not None and moment > s.now]
    return min(moments) - s.now if moments else None


def _due(s: Snapshot, status: Status, world: World) -> Iterator[datetime | None]:
    rollout, strategy = status.rollout, s.spec.strategy
    if any(pod.name in world.targets and not in_place(pod, world.targets[pod.name]) for pod in s.pods):
        yield s.now + RESEND
    if rollout is None:
        return
    if s.route is not None:
        yield s.route.seen + PROPAGATION
    step = rollout.current_step
    if rollout.stage is Stage.PREPARING and (start := canary_deadline_start(s)):
        yield start + strategy.canary_ready_deadline
    if rollout.stage is Stage.PROGRESSING and step is not None and rollout.step_started is not None:
        length = step_length(s, rollout, step)
        yield rollout.step_started + (length if length is not None else step.max_duration)
    if rollout.lost_since is not None:
        yield rollout.lost_since + LOST_AFTER
        yield rollout.lost_since + strategy.canary_ready_deadline
    if rollout.stage in {Stage.BAKING, Stage.ROLLING_BACK}:
        yield rollout.since + strategy.drain
    if rollout.stage is Stage.BAKING:
        yield rollout.since + max(strategy.bake, strategy.drain)
    yield next_deadline(s, rollout)
