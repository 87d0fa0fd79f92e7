"""Through the steps: a step is entered when its weight is live, left when it has passed or its pods go.

docs/design.md, "A step is a state": the weight follows the state, so a step can be entered, left and entered again.
"""

from modelrollout.core.names import Track
from modelrollout.core.pausing import paused
from modelrollout.core.pods import LOST_AFTER, answering, canary_replicas, carrying, ready, silent
from modelrollout.core.snapshot import PROPAGATION, Snapshot
from modelrollout.core.spec import Step
from modelrollout.core.status import Approval, Baseline, Rollout, Stage, Status
from modelrollout.core.suspicion import cleared, held_weight, newly_suspected
from modelrollout.core.verdicts import metric_states, step_length


def progressing(s: Snapshot, rollout: Rollout) -> Status:
    """The next state of a rollout in its steps."""
    step = rollout.current_step
    assert step is not None
    changed = _pods_lost(s, rollout) or newly_suspected(s, rollout) or cleared(s, rollout)
    if changed is not None:
        return changed
    back = held_weight(s, rollout)
    if back is not None and (rollout.step > 1 or back < step.weight):
        return _stepped_back(s, rollout, back)
    if rollout.step_started is None:
        return _entering(s, rollout)
    if s.route is None or s.route.weight != step.weight or s.route.problem:
        # Somebody else changed the route, or a gateway does not follow it any more: the step begins again with it.
        return s.status.with_rollout(step_started=None)
    if not _passed(s, rollout, step) or paused(s, rollout):
        return s.status
    if step.manual and rollout.approved is None:
        return s.status.with_rollout(waiting=rollout.waiting or s.now)
    return left(s, rollout)


def _passed(s: Snapshot, rollout: Rollout, step: Step) -> bool:
    """Whether nothing stands against leaving the step: its time, its evidence, its pods. Some of it may be waived."""
    proven = answering(s, Track.CANARY, rollout.target.version)
    if rollout.suspected is not None or rollout.step_started is None or len(proven) < _needed(s, rollout):
        return False
    length = step_length(s, rollout, step)
    match rollout.approved:
        case Approval.FULL:
            return True
        case Approval.STEP:
            return length is not None
        case None:
            return length is not None and s.now - rollout.step_started >= length


def left(s: Snapshot, rollout: Rollout) -> Status:
    """The status after the step: in the next one, or promoting. What was said about the step is over with it."""
    baseline = _kept_baseline(s, rollout)
    if rollout.step < len(rollout.steps):
        return s.status.with_rollout(
            step=rollout.step + 1, step_started=None, baseline=baseline, waiting=None, approved=None
        )
    full = rollout.approved if rollout.approved is Approval.FULL else None
    return s.status.with_rollout(stage=Stage.PROMOTING, since=s.now, baseline=baseline, waiting=None, approved=full)


def _stepped_back(s: Snapshot, rollout: Rollout, weight: int) -> Status:
    """Suspected: judged at less weight until that is settled; while there is none, by what was answered before."""
    if not weight or rollout.live == weight or rollout.live_since is None or not weight_is_live(s, weight):
        return s.status
    return s.status.with_rollout(live=weight, live_since=s.now)


def _entering(s: Snapshot, rollout: Rollout) -> Status:
    """The step's weight is being set; after a setback only once the pods are back."""
    step = rollout.current_step
    assert step is not None
    carriers = len(answering(s, Track.CANARY, rollout.target.version))
    if carriers < canary_replicas(s, rollout):
        return s.status
    if rollout.lost_since is not None:
        return s.status.with_rollout(lost_since=None)
    if not weight_is_live(s, step.weight):
        return s.status
    since = rollout.live_since if rollout.live == step.weight else s.now
    entered = s.status.with_rollout(step_started=s.now, live=step.weight, live_since=since, carriers=carriers)
    return entered.with_rollout(waiting=None)


def _pods_lost(s: Snapshot, rollout: Rollout) -> Status | None:
    """While any weight is live: note that canary pods are missing, and soon let the weight go to 0 for it."""
    if rollout.live_since is None:
        return None
    carriers = carrying(s, rollout)
    if len(carriers) >= _needed(s, rollout):
        return s.status.with_rollout(lost_since=None) if rollout.lost_since else None
    since = rollout.lost_since or s.now
    waited = s.now - since >= LOST_AFTER or any(silent(s, pod) for pod in ready(s, Track.CANARY))
    if carriers and not waited:
        return s.status.with_rollout(lost_since=since)
    return s.status.with_rollout(
        step_started=None, live=0, live_since=None, lost_since=since, setbacks=rollout.setbacks + 1
    )


def _needed(s: Snapshot, rollout: Rollout) -> int:
    """As many canary pods as carried the weight when it became live, or as the step has if those are fewer."""
    return min(rollout.carriers, canary_replicas(s, rollout))


def weight_is_live(s: Snapshot, weight: int) -> bool:
    """The route says it, every parent accepted exactly this generation, and the proxies have had a moment."""
    route = s.route
    return route is not None and route.weight == weight and not route.problem and s.now - route.seen >= PROPAGATION


def weight_gone(s: Snapshot) -> Status:
    """The status with weight 0 noted as live once it is; for the stages in which the canary has none."""
    rollout = s.status.rollout
    if rollout is None or not rollout.live or not weight_is_live(s, 0):
        return s.status
    return s.status.with_rollout(live=0, live_since=None)


def _kept_baseline(s: Snapshot, rollout: Rollout) -> tuple[Baseline, ...]:
    """The stable side's values as they are now; where they rest on too few requests, those of an earlier step."""
    kept = {item.name: item for item in rollout.baseline}
    now = {state.last.metric: state.last.baseline for _, state in metric_states(s, rollout)}
    kept |= {name: value for name, value in now.items() if value is not None}
    return tuple(kept[name] for name in sorted(kept))
