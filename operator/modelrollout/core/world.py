"""What the world is to look like for a status: reconciling means making it so (docs/design.md, "A step is a state").

Every function here derives from status and observation alone, so a pass after a kill wants the same world as the
one before.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modelrollout.core import names
from modelrollout.core.model_config import ModelTarget, canary_target
from modelrollout.core.names import Track, child
from modelrollout.core.pausing import paused
from modelrollout.core.pods import answering, canary_replicas, carrying, ready, template, unseen
from modelrollout.core.retention import kept_until, to_be_kept
from modelrollout.core.revisions import Revision
from modelrollout.core.snapshot import PROPAGATION, Route, Snapshot
from modelrollout.core.spec import Method, Strategy, Suspicion
from modelrollout.core.status import Rollout, Stage, Status
from modelrollout.core.suspicion import held_weight
from modelrollout.core.targets import alone, next_target, server_targets, start_targets


@dataclass(frozen=True, slots=True)
class Side:
    """One track: the revision and template that pods are made from, how many, what pods of each template start with.

    A `paused` one keeps the pods that it has: a roll that is held half way.
    """

    revision: Revision
    replicas: int
    template: int
    start_targets: Mapping[int, ModelTarget]
    paused: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """The wanted world. `canary` is None when there are to be no canary pods but those that are `kept` as they are;
    `targets` by pod name.
    """

    stable: Side
    canary: Side | None = None
    weight: int = 0
    targets: Mapping[str, ModelTarget] = field(default_factory=dict)
    kept: bool = False


def wanted_world(s: Snapshot, status: Status, stable: Revision) -> World:
    """The world for `status`; `stable` is the revision that stable pods go back to."""
    rollout = status.rollout
    if rollout is None or rollout.stage is Stage.INITIALIZING:
        return _only_stable(s, status, stable)
    new = s.revisions.get(rollout.target.revision)
    return World(
        stable=_stable(s, rollout, stable, new),
        canary=_canary(s, rollout, new),
        weight=wanted_weight(s, rollout),
        targets=server_targets(s, rollout, stable, new),
    )


def _only_stable(s: Snapshot, status: Status, stable: Revision) -> World:
    made_from = status.stable.template if status.stable else 0
    target = alone(s, stable)
    targets = {pod.name: next_target(s, target, pod) for pod in s.track(Track.STABLE) if pod.template == made_from}
    side = Side(stable, s.spec.serving.replicas, made_from, {made_from: target})
    return World(side, targets=targets, kept=kept_until(s, status) is not None)


def _stable(s: Snapshot, rollout: Rollout, stable: Revision, new: Revision | None) -> Side:
    assert s.status.stable is not None
    starts = start_targets(s, rollout, stable, new)
    if new is not None and _rolls_now(s, rollout):
        held = rollout.stage is Stage.PROMOTING and paused(s, rollout)
        return Side(new, s.spec.serving.replicas, template(s, rollout), starts, held)
    return Side(stable, s.spec.serving.replicas, s.status.stable.template, starts)


def _rolls_now(s: Snapshot, rollout: Rollout) -> bool:
    """Whether stable pods are to be made from the new revision; begun only with room for the pod that comes first."""
    if rollout.method is not Method.ROLL or rollout.stage not in {Stage.PROMOTING, Stage.BAKING}:
        return False
    begun = rollout.stage is Stage.BAKING or _roll_begun(s, rollout)
    return begun or not (waits_for_room(s, rollout) or paused(s, rollout))


def waits_for_room(s: Snapshot, rollout: Rollout) -> bool:
    """Whether a roll has not begun because its first pod would have no place."""
    return rollout.method is Method.ROLL and not _roll_begun(s, rollout) and not has_room(s, 1)


def _roll_begun(s: Snapshot, rollout: Rollout) -> bool:
    found = s.child("Deployment", child(s.name, Track.STABLE))
    if found is None:
        return True
    made = found.raw["spec"]["template"]["metadata"].get("annotations", {})
    return bool(made.get(names.ANNOTATION_TEMPLATE) == str(template(s, rollout)))


def wanted_weight(s: Snapshot, rollout: Rollout) -> int:
    """The canary's share in percent. It rises only when enough canary pods answer with the version."""
    step = rollout.current_step
    if step is None or rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING}:
        return 0
    if (rollout.lost_since and rollout.live_since is None) or _nobody_answers(s, rollout):
        return 0
    back = held_weight(s, rollout)
    wanted = step.weight if back is None else min(back, step.weight)
    found = (s.route.weight or 0) if s.route else 0
    if _unmeasured(s, rollout) or unseen(s):
        return min(found, wanted)
    if len(answering(s, Track.CANARY, rollout.target.version)) >= canary_replicas(s, rollout):
        return wanted
    # A process that has just started has asked no server yet: what was raised before it stays until it has.
    unasked = any(pod.report is None and pod.server.silent_since is None for pod in ready(s, Track.CANARY))
    return min(max(rollout.live, found if unasked else 0), wanted)


def _unmeasured(s: Snapshot, rollout: Rollout) -> bool:
    """Whether this process has measured nothing yet: the one before may have lowered the weight on a suspicion."""
    metrics = s.spec.analysis.sequential if s.spec.analysis else ()
    lowers = metrics if rollout.step > 1 else [m for m in metrics if m.on_suspicion is Suspicion.STEP_OUT]
    return s.analysed is None and bool(lowers)


def _nobody_answers(s: Snapshot, rollout: Rollout) -> bool:
    """Whether no canary pod may have traffic; while promoting, stable pods take it over as soon as one may not."""
    needed = len(ready(s, Track.CANARY)) if rollout.stage is Stage.PROMOTING else 1
    return len(carrying(s, rollout)) < max(1, needed)


def _canary(s: Snapshot, rollout: Rollout, new: Revision | None) -> Side | None:
    if new is None or not _canary_wanted(s, rollout):
        return None
    target = canary_target(s.spec.model_name, new.base_path, {new.version}, new.version)
    return Side(new, canary_replicas(s, rollout), 0, {0: target})


def _canary_wanted(s: Snapshot, rollout: Rollout) -> bool:
    """Canary pods stay while they may have traffic, and for the drain after that; they start when there is room."""
    exists = s.child("Deployment", child(s.name, Track.CANARY)) is not None
    if rollout.stage in {Stage.BAKING, Stage.ROLLING_BACK} or not rollout.steps:
        return exists and (to_be_kept(s, rollout) or not drained(s, rollout))
    return exists or rollout.stage is not Stage.PREPARING or has_room(s, canary_replicas(s, rollout))


def has_room(s: Snapshot, pods: int) -> bool:
    """Whether so many pods may start: no GPU asked for, or enough free slots, or no way to know."""
    if s.spec.serving.gpu is None:
        return True
    return s.capacity is not None and (s.capacity.slots is None or s.capacity.slots >= pods)


def drained(s: Snapshot, rollout: Rollout) -> bool:
    """Whether the canary's last requests have had their time: weight 0 is live, and the drain has passed since."""
    return s.route is None or (
        s.route.weight == 0 and not s.route.behind and s.now >= drain_end(s.route, rollout.since, s.spec.strategy)
    )


def drain_end(route: Route, since: datetime, strategy: Strategy) -> datetime:
    """When a drain that began `since` may end: counted from when gateways had weight 0, not from the decision."""
    return max(since, route.seen + PROPAGATION) + strategy.drain
