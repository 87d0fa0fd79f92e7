"""How far a rollout is and what comes next, in time. Pure: the clock is the caller's."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from modelrollout.cli.views.words import at, duration, holds, moment
from modelrollout.core.values import JSON


@dataclass(frozen=True, slots=True)
class Ahead:
    """What the rollout does next, and when; `left` None means that no clock is running."""

    what: str
    left: timedelta | None


def ahead(obj: JSON, now: datetime) -> Ahead | None:
    """The next decision, None when nothing is under way."""
    stage = at(obj, "status.rollout.stage")
    if not stage:
        return None
    if holds(obj, "Paused"):
        return Ahead(at(obj, "status.nextDecision"), None)
    if stage == "Progressing":
        return _step(obj, now)
    if stage == "Baking":
        since = moment(obj, "status.rollout.since")
        bake = duration(at(obj, "spec.strategy.bake.duration", "10m"))
        return Ahead("the rollout is over", since + bake - now if since else None)
    waits = {
        "Initializing": "when the first version answers",
        "Preparing": "when the canary answers",
        "Promoting": "when every stable pod has the version",
        "RollingBack": "when everything is taken back",
    }
    return Ahead(waits.get(stage, ""), None)


def done(obj: JSON, now: datetime) -> float:
    """Share of the planned time that is over, from 0 to 1: of steps and bake. Loading and going back have no plan."""
    steps = [duration(step["duration"]) for step in at(obj, "status.rollout.steps", ())]
    bake = duration(at(obj, "spec.strategy.bake.duration", "10m"))
    stage, step = at(obj, "status.rollout.stage"), at(obj, "status.rollout.step", 0)
    over = sum(steps[: max(0, step - 1)], timedelta())
    started, since = moment(obj, "status.rollout.stepStarted"), moment(obj, "status.rollout.since")
    if stage == "Progressing" and started and step:
        over += min(now - started, steps[step - 1])
    elif stage == "Promoting":
        over = sum(steps, timedelta())
    elif stage == "Baking" and since:
        over = sum(steps, timedelta()) + min(now - since, bake)
    whole = sum(steps, timedelta()) + bake
    return max(0.0, min(1.0, over / whole)) if whole else 0.0


def _step(obj: JSON, now: datetime) -> Ahead:
    steps, step = at(obj, "status.rollout.steps", ()), at(obj, "status.rollout.step", 0)
    started = moment(obj, "status.rollout.stepStarted")
    if at(obj, "status.rollout.suspectedBy"):
        return Ahead(f"step {step} again, once nothing is suspected", None)
    if not 0 < step <= len(steps) or started is None:
        return Ahead("when the weight is live", None)
    after = f"step {step + 1} of {len(steps)}, {steps[step]['weight']}%" if step < len(steps) else "promotion"
    return Ahead(after, started + duration(steps[step - 1]["duration"]) - now)
