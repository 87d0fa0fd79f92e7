"""What people read: phase, message, progress, conditions. Derived anew in every pass; nothing branches on it.

Nothing here changes with time alone, so an object where nothing happens is never written.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from modelrollout.core.conditions import all_answer, conditions, conditions_unread, worst_verdict
from modelrollout.core.diagnosis import stuck_words
from modelrollout.core.names import Track
from modelrollout.core.outlook import outlook, stalled_outlook
from modelrollout.core.pausing import held_back, hold
from modelrollout.core.pods import answering, canary_replicas, changing, held_up, keeps_standby, not_returned, verified
from modelrollout.core.reasons import Phase, Reason
from modelrollout.core.retention import kept_until
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import Rollout, Stage, Status, Story
from modelrollout.core.suspicion import held_weight, suspected_until
from modelrollout.core.values import format_time
from modelrollout.core.verdicts import current, holding, waits_for_alerts, waits_for_baseline
from modelrollout.core.world import has_room, waits_for_room

SLOW_GATEWAY = timedelta(seconds=10)
"""A gateway that has not taken in a weight for so long is worth telling."""


def tell(s: Snapshot, status: Status, weight: int, stalled: tuple[Reason, str] | None) -> Status:
    """The status with its story. `weight` is what the route is to say; `stalled` is (reason, message) when only
    somebody else can get things going again.
    """
    status = replace(status, observed_generation=s.generation, replicas=len(s.track(Track.STABLE)))
    phase = _phase(s, status, stalled)
    message = stalled[1] if stalled else _message(s, status) + _held_words(s, status)
    story = Story(
        phase=phase,
        message=message,
        progress=_progress(s, status),
        next_decision=stalled_outlook(stalled[0]) if stalled else outlook(s, status),
        last_verdict=worst_verdict(status),
        current_step=_current_step(status.rollout),
        weight_set=weight,
        conditions=conditions(s, status, phase, message, stalled),
    )
    return replace(status, story=story)


def _held_words(s: Snapshot, status: Status) -> str:
    """By whom it is held, and how it goes on; empty for a rollout that nobody holds."""
    held = hold(s, status)
    if held is None or (status.rollout is None and not held_back(s, status)):
        return ""
    return f"; {held[1]}"


def _phase(s: Snapshot, status: Status, stalled: tuple[Reason, str] | None) -> Phase:
    if status.rollout is not None:
        if hold(s, status):
            return Phase.PAUSED
        failed = status.rollout.stage is Stage.INITIALIZING and any(p.exit for p in s.track(Track.STABLE))
        return Phase.DEGRADED if failed else Phase(status.rollout.stage)
    if status.stable is None:
        return Phase.PENDING
    # One that serves, but that nothing can be rolled out to, is not healthy either.
    if stalled or not all_answer(s, status):
        return Phase.DEGRADED
    if held_back(s, status):
        return Phase.PAUSED
    return Phase.ROLLED_BACK if status.rejected else Phase.HEALTHY


def _current_step(rollout: Rollout | None) -> str:
    if rollout is None or not rollout.steps or rollout.stage is Stage.INITIALIZING:
        return ""
    return f"{rollout.step}/{len(rollout.steps)}"


def _message(s: Snapshot, status: Status) -> str:
    rollout = status.rollout
    if rollout is None:
        return _settled_message(s, status)
    version = rollout.target.version
    match rollout.stage:
        case Stage.INITIALIZING:
            return f"starting version {version} for the first time{_not_live(s)}"
        case Stage.PREPARING:
            return _preparing_message(s, rollout)
        case Stage.PROGRESSING:
            return _progressing_message(s, rollout)
        case Stage.PROMOTING:
            if waits_for_room(s, rollout):
                return _no_room(s, "one more stable pod", "")
            why = _suspected_words(s, rollout) or _hold(s, rollout) or stuck_words(held_up(s, rollout), s.now)
            loads, rolls = (
                f"loading version {version} into the stable pods",
                f"rolling the stable pods to version {version}",
            )
            return (rolls if rollout.method is Method.ROLL else loads) + (f"; waiting: {why}" if why else "")
        case Stage.BAKING:
            why = _hold(s, rollout)
            before = "the version before stays loaded while it bakes" if keeps_standby(s, rollout) else "it bakes"
            return f"version {version} serves everything; {before}" + (f"; waiting: {why}" if why else "")
        case Stage.ROLLING_BACK:
            assert rollout.end is not None
            return f"taking back version {version}: {rollout.end.message}{_waited_for(s, status)}"


def _hold(s: Snapshot, rollout: Rollout) -> str:
    """Why the rollout holds; silent about the moment before a first measurement, which is not worth a write."""
    return holding(s, rollout) if current(s, rollout) else ""


def _waited_for(s: Snapshot, status: Status) -> str:
    """Stable pods that a rollback is not over without."""
    pods = not_returned(s) if status.stable else []
    words = stuck_words(pods, s.now)
    why = f" ({words})" if words else ""
    return f"; waiting for stable pods {', '.join(pod.name for pod in pods)}{why}" if pods else ""


def _settled_message(s: Snapshot, status: Status) -> str:
    if status.stable is None:
        return "nothing serves yet"
    if status.rejected is not None:
        why = f"{status.rejected.reason}: {status.rejected.message}"
        said = f"version {status.rejected.target.version} was rejected ({why})"
        until = kept_until(s, status)
        kept = f". Its canary is kept without traffic until {format_time(until)}" if until else ""
        return f"{said}; version {status.stable.version} serves{kept}. Change spec.model.version to try another"
    return f"version {status.stable.version} serves"


def _preparing_message(s: Snapshot, rollout: Rollout) -> str:
    version = rollout.target.version
    pods = s.track(Track.CANARY)
    waiting = next((pod.unschedulable for pod in pods if pod.unschedulable), "")
    if waiting or (not pods and not has_room(s, canary_replicas(s, rollout))):
        return _no_room(s, "the canary", waiting)
    failed = next((pod for pod in pods if pod.report and pod.report.failure(version)), None)
    if failed is not None and failed.report is not None:
        return f"canary pod {failed.name} could not load version {version}: {failed.report.failure(version)}"
    if len(answering(s, Track.CANARY, version)) < canary_replicas(s, rollout):
        return f"starting canary pods with version {version}"
    if not rollout.fits and rollout.method is Method.RELOAD:
        return "proving in one canary pod that both versions fit in one server"
    why = waits_for_baseline(s, rollout) or waits_for_alerts(s, rollout)
    return f"canary ready with version {version}; {why}".removesuffix("; ")


def _no_room(s: Snapshot, whom: str, waiting: str) -> str:
    gpu = s.spec.serving.gpu
    detail = waiting or (s.capacity.detail if s.capacity else "nodes not read yet")
    return f"InsufficientGPU: no room for {whom} ({gpu.resource if gpu else 'pod'}): {detail}"


def _progressing_message(s: Snapshot, rollout: Rollout) -> str:
    step = rollout.current_step
    assert step is not None
    suspected = _suspected_words(s, rollout)
    if suspected:
        return suspected
    if rollout.step_started is None:
        if len(answering(s, Track.CANARY, rollout.target.version)) < canary_replicas(s, rollout):
            return f"waiting for the canary pods of step {rollout.step}"
        return f"setting weight {step.weight} %{_not_live(s)}"
    why = _hold(s, rollout)
    return f"version {rollout.target.version} at {step.weight} %" + (f"; holding: {why}" if why else ", being judged")


def _suspected_words(s: Snapshot, rollout: Rollout) -> str:
    """Who suspects the canary, what that has led to, and when it is over; empty without a suspicion."""
    until = suspected_until(s, rollout)
    if until is None:
        return ""
    back = held_weight(s, rollout)
    what = {None: "held where it is", 0: "out of the traffic for a minute, then judged"}.get(
        back, f"judged at {back} %"
    )
    where = f"then step {rollout.step} goes on" if rollout.stage is Stage.PROGRESSING else "then promotion goes on"
    who = f"version {rollout.target.version} is suspected by {rollout.suspect}"
    return f"{who}: {what} until {format_time(until)}, {where}"


def _not_live(s: Snapshot) -> str:
    """Why the weight is not live; silent about the moment that every gateway takes, which is not worth a write."""
    if s.route is None:
        return "; not live: the route does not exist" if s.status.stable else ""
    slow = s.now - s.route.seen >= SLOW_GATEWAY or s.route.objection
    return f"; not live: {s.route.problem}" if s.route.problem and slow else ""


def _progress(s: Snapshot, status: Status) -> str:
    rollout = status.rollout
    if rollout is None or not rollout.steps:
        return ""
    if rollout.stage is Stage.PROMOTING:
        pods = s.track(Track.STABLE)
        done = sum(verified(s, rollout, pod) for pod in pods)
        step = rollout.current_step
        new, weight = done + len(changing(s, rollout)), step.weight if step else 0
        share = weight + (100 - weight) * new // max(1, len(pods))
        return f"{done} of {len(pods)} stable pods promoted, {share} % on the new version"
    if rollout.stage is Stage.PROGRESSING and rollout.current_step:
        back = held_weight(s, rollout)
        if back is not None:
            where = f"judged at {back} %" if back else "out of the traffic"
            return f"step {rollout.step}/{len(rollout.steps)}, suspected: {where}"
        live = "live" if rollout.step_started else "not live yet"
        return f"step {rollout.step}/{len(rollout.steps)}, {rollout.current_step.weight} % {live}"
    if rollout.stage is Stage.ROLLING_BACK:
        return "setting weight 0 %" if rollout.live else "weight 0 % live, draining"
    if rollout.stage is Stage.BAKING:
        rolls = rollout.method is Method.ROLL
        way = "is one call" if keeps_standby(s, rollout) else "loads the version before again"
        return f"everything on the new version, going back {'rolls the pods again' if rolls else way}"
    return "no traffic yet"


def stalled_alone(before: Status, generation: int, now: datetime, reason: Reason, message: str) -> Status:
    """The status of an object whose spec cannot be read: the rollout's state stays, the story says what is wrong."""
    story = Story(
        phase=Phase.DEGRADED,
        message=message,
        next_decision=stalled_outlook(reason),
        conditions=conditions_unread(before.story.conditions, generation, now, reason, message),
    )
    return replace(before, observed_generation=generation, story=story)
