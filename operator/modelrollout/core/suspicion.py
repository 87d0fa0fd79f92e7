"""Suspicion: a reaction that can be taken back (docs/design.md, "Two reactions").

A metric that suspects the canary takes its weight back to the first step's, at once. Judging goes on there. What is not
confirmed in time costs nothing but time: the rollout goes on from the step that it was in.
"""

from datetime import datetime

from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Metric, Suspicion
from modelrollout.core.status import Rollout, Stage, Status
from modelrollout.core.verdicts import metric_states


def newly_suspected(s: Snapshot, rollout: Rollout) -> Status | None:
    """The status with a suspicion that it does not know of yet, None when there is none."""
    if rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING} or s.spec.analysis is None:
        return None
    known = rollout.suspected
    for metric, state in metric_states(s, rollout):
        moment = state.last.suspected
        if moment is None or metric.on_suspicion is Suspicion.IGNORE or (known is not None and moment <= known):
            continue
        if s.now - moment < s.spec.analysis.suspicion:
            back = metric.on_suspicion is Suspicion.STEP_BACK and rollout.step > 1
            started = None if back and rollout.stage is Stage.PROGRESSING else rollout.step_started
            return s.status.with_rollout(
                suspected=moment, suspect=metric.name, suspicions=rollout.suspicions + 1, step_started=started
            )
    return None


def cleared(s: Snapshot, rollout: Rollout) -> Status | None:
    """The status without its suspicion once it was not confirmed in time, None while there is none or it stands."""
    until = suspected_until(s, rollout)
    if rollout.suspected is None or (until is not None and s.now < until):
        return None
    return s.status.with_rollout(suspected=None, suspect="")


def suspected_until(s: Snapshot, rollout: Rollout) -> datetime | None:
    """When a suspicion is dropped unless it is confirmed, None without one, or when nothing could confirm it."""
    if rollout.suspected is None or _suspect(s, rollout) is None or s.spec.analysis is None:
        return None
    return rollout.suspected + s.spec.analysis.suspicion


def held_weight(s: Snapshot, rollout: Rollout) -> int | None:
    """The weight that a suspicion takes the canary back to, None when it leaves the weight alone."""
    metric = _suspect(s, rollout)
    if metric is None or metric.on_suspicion is not Suspicion.STEP_BACK or not rollout.steps:
        return None
    return rollout.steps[0].weight


def _suspect(s: Snapshot, rollout: Rollout) -> Metric | None:
    metrics = s.spec.analysis.metrics if s.spec.analysis and rollout.suspected else ()
    return next((metric for metric in metrics if metric.name == rollout.suspect), None)
