"""What every model server is to have loaded in a state of the rollout: the wanted configuration, pod by pod.

docs/design.md, "Configuration of a pod".
"""

from dataclasses import replace

from modelrollout.core.model_config import ModelTarget, canary_target, stable_target
from modelrollout.core.names import Track
from modelrollout.core.pausing import paused
from modelrollout.core.pods import (
    SHOWS,
    answering,
    canary_replicas,
    changing,
    counts_as_new,
    keeps_standby,
    promoted,
    touched,
    verified,
)
from modelrollout.core.revisions import Revision
from modelrollout.core.snapshot import LoadState, Pod, ServerReport, Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import Rollout, Stage
from modelrollout.core.verdicts import holding

_CHANGED = frozenset({Stage.PROMOTING, Stage.BAKING})


def alone(s: Snapshot, revision: Revision) -> ModelTarget:
    """A stable server that has one revision and nothing else."""
    return stable_target(s.spec.model_name, revision.base_path, {revision.version}, revision.version)


def promoted_target(s: Snapshot, rollout: Rollout, stable: Revision, new: Revision) -> ModelTarget:
    """A stable server at the end of its promotion."""
    versions = {stable.version, new.version} if keeps_standby(s, rollout) else {new.version}
    return stable_target(s.spec.model_name, new.base_path, versions, new.version)


def start_targets(s: Snapshot, rollout: Rollout, stable: Revision, new: Revision | None) -> dict[int, ModelTarget]:
    """What a restarted stable pod comes up with, by template: never ahead of what every pod was verified to have."""
    assert s.status.stable is not None
    ours = s.status.stable.template
    if new is None or rollout.stage is Stage.ROLLING_BACK:
        return {ours: alone(s, stable)}
    if rollout.method is Method.ROLL and rollout.stage in _CHANGED:
        return {ours: alone(s, stable), rollout.attempt: alone(s, new)}
    if rollout.stage is Stage.BAKING or (rollout.stage is Stage.PROMOTING and promoted(s, rollout)):
        return {ours: promoted_target(s, rollout, stable, new)}
    return {ours: alone(s, stable)}


def server_targets(s: Snapshot, rollout: Rollout, stable: Revision, new: Revision | None) -> dict[str, ModelTarget]:
    """The next configuration of every server, by pod name. Servers that are on their way out are left alone."""
    if new is None:
        return {pod.name: alone(s, stable) for pod in s.track(Track.STABLE)}
    chosen = _chosen(s, rollout) if rollout.stage is Stage.PROMOTING else set()
    targets = {}
    for pod in s.track(Track.STABLE):
        goal = _goal(s, rollout, pod, stable, new, pod.name in chosen)
        if goal is not None:
            targets[pod.name] = next_target(s, goal, pod)
    proving = proving_pod(s, rollout)
    for pod in s.track(Track.CANARY):
        targets[pod.name] = _canary_target(s, new, stable, both=pod is proving)
    return targets


def _goal(s: Snapshot, rollout: Rollout, pod: Pod, stable: Revision, new: Revision, chosen: bool) -> ModelTarget | None:
    """Where a stable server is to get in this stage. None for one from a roll that is being taken back."""
    if rollout.method is Method.ROLL:
        made_new = counts_as_new(s, rollout, pod)
        if rollout.stage is Stage.ROLLING_BACK and made_new:
            return None
        return alone(s, new if made_new else stable)
    if rollout.stage is Stage.BAKING or chosen:
        return promoted_target(s, rollout, stable, new)
    return alone(s, stable)


def next_target(s: Snapshot, goal: ModelTarget, pod: Pod) -> ModelTarget:
    """The next configuration of a stable server on the way to `goal`."""
    wanted = _toward(goal, pod.report)
    failed = {version for version in wanted.versions if pod.report and pod.report.failure(version)}
    rest = tuple(version for version in wanted.versions if version not in failed)
    call = pod.server.reload
    if not failed or not rest or call is None:
        return wanted
    # A version that failed is tried again only after a configuration without it has had its time.
    shown = call.ended is not None and s.now - call.ended >= SHOWS
    asked = failed <= set(call.target.versions)
    return replace(wanted, versions=rest) if asked == shown else wanted


def _toward(goal: ModelTarget, report: ServerReport | None) -> ModelTarget:
    """A label may only be moved to a version that answers.

    One call that loads a version and moves the label to it never converges: TensorFlow Serving checks labels first.
    """
    label = goal.label("stable")
    now = report.labels.get("stable") if report else None
    if report is None or label is None or now is None or now == label or label in report.answering:
        return goal
    versions = tuple(sorted({now, label}))
    return replace(goal, versions=versions, labels=(("stable", now),))


def _chosen(s: Snapshot, rollout: Rollout) -> set[str]:
    """Stable pods that may have the new version by now: those already changed, then the next by name.

    By name, so that an operator that was killed right after a call chooses the same pod again. `maxParallel` at a
    time; on the fast path all at once, since every minute of the version that is left may hurt.
    """
    pods = s.track(Track.STABLE)
    if not rollout.steps:
        return {pod.name for pod in pods}
    under_way = {pod.name for pod in pods if touched(rollout, pod) or verified(s, rollout, pod)}
    unclear = holding(s, rollout) or rollout.suspected is not None or any(pod.report is None for pod in pods)
    if unclear or paused(s, rollout):
        return under_way
    free = max(0, s.spec.strategy.parallel(s.spec.serving.replicas) - len(changing(s, rollout)))
    waiting = [pod.name for pod in pods if pod.ready and pod.name not in under_way]
    return under_way | set(waiting[:free])


def _canary_target(s: Snapshot, new: Revision, stable: Revision, both: bool) -> ModelTarget:
    versions = {new.version, stable.version} if both else {new.version}
    return canary_target(s.spec.model_name, new.base_path, versions, new.version)


def proving_pod(s: Snapshot, rollout: Rollout) -> Pod | None:
    """The canary pod that is to load both versions now, to prove that they fit in one server. None for a roll."""
    if rollout.stage is not Stage.PREPARING or rollout.fits or rollout.method is Method.ROLL:
        return None
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
