"""What the world is to look like for a status: reconciling means making it so (docs/design.md, "A step is a state").

Every function here derives from status and observation alone, so a pass after a kill wants the same world as the
one before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelrollout.core.evidence import holding
from modelrollout.core.model_config import ModelTarget, canary_target, stable_target
from modelrollout.core.names import Track, child
from modelrollout.core.revisions import Revision
from modelrollout.core.snapshot import LoadState, Pod, Snapshot
from modelrollout.core.status import Rollout, Stage, Status


@dataclass(frozen=True, slots=True)
class Side:
    """One track: which revision its pods are made from, how many, and the configuration they start with."""

    revision: Revision
    replicas: int
    start_target: ModelTarget


@dataclass(frozen=True, slots=True)
class World:
    """The wanted world. `canary` is None when there are to be no canary pods; `targets` by pod name."""

    stable: Side
    canary: Side | None = None
    weight: int = 0
    abort: str = ""
    targets: Mapping[str, ModelTarget] = field(default_factory=dict)


def wanted_world(s: Snapshot, status: Status, stable: Revision) -> World:
    """The world for `status`; `stable` is the revision that stable pods are made from."""
    rollout = status.rollout
    if rollout is None or rollout.stage is Stage.INITIALIZING:
        return _only_stable(s, stable)
    start = _stable_start(s, rollout, stable)
    canary = _canary(s, rollout)
    targets = {pod.name: _stable_pod_target(s, rollout, stable, pod) for pod in s.track(Track.STABLE)}
    targets |= {pod.name: _canary_pod_target(s, rollout, stable, pod) for pod in s.track(Track.CANARY)}
    return World(
        stable=Side(stable, s.spec.serving.replicas, start),
        canary=canary,
        weight=wanted_weight(s, rollout),
        targets=targets,
    )


def _only_stable(s: Snapshot, stable: Revision) -> World:
    target = stable_target(s.spec.model_name, stable.base_path, {stable.version}, stable.version)
    targets = {pod.name: target for pod in s.track(Track.STABLE)}
    return World(Side(stable, s.spec.serving.replicas, target), targets=targets)


def wanted_weight(s: Snapshot, rollout: Rollout) -> int:
    """The canary's share in percent. It rises only when enough canary pods answer with the version."""
    step = rollout.current_step
    if step is None or rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING}:
        return 0
    now = (s.route.weight if s.route else 0) or 0
    enough = len(answering(s, Track.CANARY, rollout.target.version)) >= canary_replicas(s, rollout)
    return step.weight if enough else min(now, step.weight)


def canary_replicas(s: Snapshot, rollout: Rollout) -> int:
    """Canary pods for the current step; before the first, those that it will need."""
    step = rollout.current_step or rollout.steps[0]
    return step.canary_replicas(s.spec.serving.replicas)


def answering(s: Snapshot, track: Track, version: int) -> list[Pod]:
    """Pods that count: ready, and the version answers in their own model server."""
    return [pod for pod in s.track(track) if pod.ready and pod.report and version in pod.report.answering]


def verified(pod: Pod, version: int) -> bool:
    """Whether a stable pod is through its promotion: the version answers and label `stable` resolves to it."""
    report = pod.report
    return report is not None and version in report.answering and report.labels.get("stable") == version


def promoted(s: Snapshot, rollout: Rollout) -> bool:
    """Whether every stable pod is through, and there are as many as there should be."""
    pods = s.track(Track.STABLE)
    return len(pods) >= s.spec.serving.replicas and all(verified(pod, rollout.target.version) for pod in pods)


def not_returned(s: Snapshot, stable: int) -> list[Pod]:
    """Stable pods that may have another version than the stable one, even one that is still loading.

    One that is LOADING would become available later, so it counts as there until it is END. A pod without an address
    has not started; it will come up on the ConfigMap.
    """
    return [pod for pod in s.track(Track.STABLE) if pod.ip and (pod.report is None or pod.report.active != {stable})]


def changing(s: Snapshot, rollout: Rollout) -> list[Pod]:
    """Stable pods in the middle of their promotion: the new version is listed or called for, but not verified."""
    version = rollout.target.version
    return [pod for pod in s.track(Track.STABLE) if _touched(pod, version) and not verified(pod, version)]


def _touched(pod: Pod, version: int) -> bool:
    report, reload = pod.report, pod.server.reload
    listed = report is not None and version in report.active
    return listed or (reload is not None and reload.ended is None and version in reload.target.versions)


def _stable_start(s: Snapshot, rollout: Rollout, stable: Revision) -> ModelTarget:
    """What a restarted stable pod comes up with: never ahead of what every pod has been verified to have."""
    both = rollout.stage is Stage.BAKING or (rollout.stage is Stage.PROMOTING and promoted(s, rollout))
    if both:
        return _promoted_target(s, rollout, stable)
    return stable_target(s.spec.model_name, stable.base_path, {stable.version}, stable.version)


def _promoted_target(s: Snapshot, rollout: Rollout, stable: Revision) -> ModelTarget:
    versions = {stable.version, rollout.target.version}
    return stable_target(s.spec.model_name, stable.base_path, versions, rollout.target.version)


def _stable_pod_target(s: Snapshot, rollout: Rollout, stable: Revision, pod: Pod) -> ModelTarget:
    """Load first, move the label once the version answers: one call with both would never converge."""
    alone = stable_target(s.spec.model_name, stable.base_path, {stable.version}, stable.version)
    if rollout.stage not in {Stage.PROMOTING, Stage.BAKING}:
        return alone
    version = rollout.target.version
    if pod.report is not None and version in pod.report.answering:
        return _promoted_target(s, rollout, stable)
    if rollout.stage is Stage.BAKING or pod.name in _chosen(s, rollout):
        return stable_target(s.spec.model_name, stable.base_path, {stable.version, version}, stable.version)
    return alone


def _chosen(s: Snapshot, rollout: Rollout) -> set[str]:
    """Stable pods that may load the new version now: those under way, then the next by name up to maxParallel.

    By name, so that an operator that was killed right after a call chooses the same pod again.
    """
    under_way = changing(s, rollout)
    pods = s.track(Track.STABLE)
    if holding(s, rollout) or any(pod.report is None for pod in pods):
        return {pod.name for pod in under_way}
    free = s.spec.strategy.parallel(s.spec.serving.replicas) - len(under_way)
    waiting = [pod for pod in pods if pod.ready and not _touched(pod, rollout.target.version)]
    return {pod.name for pod in (*under_way, *waiting[: max(0, free)])}


def _canary(s: Snapshot, rollout: Rollout) -> Side | None:
    revision = s.revisions.get(rollout.target.revision)
    if revision is None or not _canary_wanted(s, rollout):
        return None
    target = canary_target(s.spec.model_name, revision.base_path, {revision.version}, revision.version)
    return Side(revision, canary_replicas(s, rollout), target)


def _canary_wanted(s: Snapshot, rollout: Rollout) -> bool:
    """Canary pods stay while they may have traffic, and for the drain after that; they start when there is room."""
    exists = s.child("Deployment", child(s.name, Track.CANARY)) is not None
    if rollout.stage in {Stage.BAKING, Stage.ROLLING_BACK}:
        return exists and not drained(s, rollout)
    return exists or rollout.stage is not Stage.PREPARING or has_room(s, rollout)


def has_room(s: Snapshot, rollout: Rollout) -> bool:
    """Whether the canary may start: no GPU asked for, or enough free slots, or no way to know."""
    if s.spec.serving.gpu is None:
        return True
    return s.capacity is not None and (s.capacity.slots is None or s.capacity.slots >= canary_replicas(s, rollout))


def drained(s: Snapshot, rollout: Rollout) -> bool:
    """Whether the canary's last requests have had their time: weight 0 is live, and the drain has passed since."""
    gone = s.route is None or (s.route.weight == 0 and not s.route.problem)
    return gone and s.now - rollout.since >= s.spec.strategy.drain


def _canary_pod_target(s: Snapshot, rollout: Rollout, stable: Revision, pod: Pod) -> ModelTarget:
    """The new version alone; one pod first proves that both fit in one server together."""
    version = rollout.target.version
    versions = {version}
    if rollout.stage is Stage.PREPARING and not rollout.fits and pod is proving_pod(s, rollout):
        versions.add(stable.version)
    return canary_target(s.spec.model_name, stable.base_path, versions, version)


def proving_pod(s: Snapshot, rollout: Rollout) -> Pod | None:
    """The canary pod that loads both versions before any traffic, once all canary pods answer."""
    pods = answering(s, Track.CANARY, rollout.target.version)
    return pods[0] if len(pods) >= canary_replicas(s, rollout) else None


def in_place(pod: Pod, target: ModelTarget) -> bool:
    """Whether a server has what it should have, or is on its way there with nothing left to be told."""
    report = pod.report
    if report is None:
        return False
    wanted = set(target.versions)
    loading = all(report.state(version) not in {None, LoadState.END, LoadState.UNLOADING} for version in wanted)
    leaving = all(report.state(version) is LoadState.UNLOADING for version in report.active - wanted)
    label = target.label("stable")
    labelled = report.labels.get("stable") == label or label not in report.answering
    return loading and leaving and labelled
