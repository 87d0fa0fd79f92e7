"""Suspicion: a reaction that can be taken back (docs/design.md, "Two reactions").

A metric that suspects the canary takes its weight back to the first step's, at once (`StepBack`). Judging goes on
there. With `StepOut` it takes the canary out of the traffic for a minute, in the first step too, and judges it by next
to nothing after that. What is not confirmed in time costs nothing but time: the rollout goes on from the step that it
was in.
"""

from datetime import datetime, timedelta

from modelrollout.core.judge.process import BLOCK
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Metric, Suspicion
from modelrollout.core.status import Rollout, Stage, Status
from modelrollout.core.verdicts import metric_states

OUT = timedelta(seconds=BLOCK)
"""So long a canary is out: by then the minute whose evidence is capped is over, and more answers prove more."""
OUT_WEIGHT = 2
"""Percent with which it is judged after that."""
_PRECISION = timedelta(milliseconds=1)
"""Of times in `status`."""
_FORCE = (Suspicion.IGNORE, Suspicion.HOLD, Suspicion.STEP_BACK, Suspicion.STEP_OUT)
_LOWERS = _FORCE.index(Suspicion.STEP_BACK)


def newly_suspected(s: Snapshot, rollout: Rollout) -> Status | None:
    """The status with a suspicion that does more than the one it has, None when there is none."""
    if rollout.stage not in {Stage.PROGRESSING, Stage.PROMOTING}:
        return None
    found = _open_suspicion(s, rollout)
    if found is None or not _does_more(s, rollout, *found):
        return None
    metric, moment = found
    lowers = metric.on_suspicion is Suspicion.STEP_OUT or (_force(metric) >= _LOWERS and rollout.step > 1)
    leaves = lowers and rollout.stage is Stage.PROGRESSING
    return s.status.with_rollout(
        suspected=moment,
        suspect=metric.name,
        suspicions=rollout.suspicions + 1,
        step_started=None if leaves else rollout.step_started,
    )


def _does_more(s: Snapshot, rollout: Rollout, metric: Metric, moment: datetime) -> bool:
    """Whether a suspicion changes what the one on record does: one that steps out does so each time it comes up."""
    if rollout.suspected is None:
        return True
    force, had = _force(metric), _force(_suspect(s, rollout))
    newer = moment - rollout.suspected >= _PRECISION
    return force > had or (newer and metric.on_suspicion is Suspicion.STEP_OUT)


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
    """A metric that suspects the canary now, and since when: of several the one that does most, the last one."""
    if s.spec.analysis is None:
        return None
    found = [
        (metric, moment)
        for metric, state in metric_states(s, rollout)
        if metric.on_suspicion is not Suspicion.IGNORE
        and (moment := state.last.suspected) is not None
        and s.now - moment < s.spec.analysis.suspicion
    ]
    return max(found, key=lambda item: (_force(item[0]), item[1]), default=None)


def _force(metric: Metric | None) -> int:
    """How much a metric's suspicion does; that of one which `spec` has no more only holds."""
    return _FORCE.index(metric.on_suspicion) if metric else _FORCE.index(Suspicion.HOLD)


def suspected_until(s: Snapshot, rollout: Rollout) -> datetime | None:
    """When a suspicion is dropped unless it is confirmed, None without one, or when nothing could confirm it."""
    if rollout.suspected is None or _suspect(s, rollout) is None or s.spec.analysis is None:
        return None
    return rollout.suspected + s.spec.analysis.suspicion


def out_until(s: Snapshot, rollout: Rollout) -> datetime | None:
    """Until when the canary is out of the traffic, None when no suspicion takes it out."""
    suspect = _suspect(s, rollout)
    if rollout.suspected is None or suspect is None or suspect.on_suspicion is not Suspicion.STEP_OUT:
        return None
    return rollout.suspected + OUT


def held_weight(s: Snapshot, rollout: Rollout) -> int | None:
    """The weight that a suspicion takes the canary back to, None when it leaves the weight alone."""
    if _force(_suspect(s, rollout)) < _LOWERS or not rollout.steps:
        return None
    out, first = out_until(s, rollout), rollout.steps[0].weight
    if out is None:
        return first
    return 0 if s.now < out else min(first, OUT_WEIGHT)


def _suspect(s: Snapshot, rollout: Rollout) -> Metric | None:
    metrics = s.spec.analysis.metrics if s.spec.analysis and rollout.suspected else ()
    return next((metric for metric in metrics if metric.name == rollout.suspect), None)
