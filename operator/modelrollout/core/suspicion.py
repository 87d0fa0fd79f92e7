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
    """The status with a suspicion that does more than the one it has, None when there is none."""
    if rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING}:
        return None
    found = _open_suspicion(s, rollout)
    if found is None or (rollout.suspected is not None and not (_steps_back(found[0]) and not _back(s, rollout))):
        return None
    metric, moment = found
    leaves = _steps_back(metric) and rollout.step > 1 and rollout.stage is Stage.PROGRESSING
    return s.status.with_rollout(
        suspected=moment,
        suspect=metric.name,
        suspicions=rollout.suspicions + 1,
        step_started=None if leaves else rollout.step_started,
    )


def cleared(s: Snapshot, rollout: Rollout) -> Status | None:
    """The status when a suspicion's time is over: prolonged if it came up again, else without it; None until then."""
    until = suspected_until(s, rollout)
    if rollout.suspected is None or (until is not None and s.now < until):
        return None
    again = _open_suspicion(s, rollout)
    if again is not None:
        return s.status.with_rollout(suspected=again[1], suspect=again[0].name)
    return s.status.with_rollout(suspected=None, suspect="")


def _open_suspicion(s: Snapshot, rollout: Rollout) -> tuple[Metric, datetime] | None:
    """A metric that suspects the canary now, and since when; one that takes the weight back comes first."""
    if s.spec.analysis is None:
        return None
    found = [
        (metric, moment)
        for metric, state in metric_states(s, rollout)
        if metric.on_suspicion is not Suspicion.IGNORE
        and (moment := state.last.suspected) is not None
        and s.now - moment < s.spec.analysis.suspicion
    ]
    return next((item for item in found if _steps_back(item[0])), found[0] if found else None)


def _steps_back(metric: Metric | None) -> bool:
    return metric is not None and metric.on_suspicion is Suspicion.STEP_BACK


def suspected_until(s: Snapshot, rollout: Rollout) -> datetime | None:
    """When a suspicion is dropped unless it is confirmed, None without one, or when nothing could confirm it."""
    if rollout.suspected is None or _suspect(s, rollout) is None or s.spec.analysis is None:
        return None
    return rollout.suspected + s.spec.analysis.suspicion


def held_weight(s: Snapshot, rollout: Rollout) -> int | None:
    """The weight that a suspicion takes the canary back to, None when it leaves the weight alone."""
    return rollout.steps[0].weight if _back(s, rollout) and rollout.steps else None


def _back(s: Snapshot, rollout: Rollout) -> bool:
    return _steps_back(_suspect(s, rollout))


def _suspect(s: Snapshot, rollout: Rollout) -> Metric | None:
    metrics = s.spec.analysis.metrics if s.spec.analysis and rollout.suspected else ()
    return next((metric for metric in metrics if metric.name == rollout.suspect), None)
