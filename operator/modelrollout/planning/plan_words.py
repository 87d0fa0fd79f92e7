"""A plan in words and as data. Pure; `cli.commands.plan` prints it."""

from collections.abc import Iterator
from datetime import timedelta
from math import inf, isfinite
from typing import Any

from modelrollout.core.spec import MetricKind
from modelrollout.core.values import format_duration
from modelrollout.planning.plan import LONGEST, POWER, Found, Plan, Power, StepPlan, Worsening


def as_words(name: str, version: int, plan: Plan) -> str:
    """For people."""
    basis, usual = plan.basis, plan.basis.behaviour.errors
    lines = [f"{name}, version {version}: {basis.rate:.3g} answers/s, {100 * usual:.3g} % of them bad ({basis.known})"]
    for number, item in enumerate(plan.steps, start=1):
        lines += ["", *_step(number, len(plan.steps), item, usual)]
    lines += ["", f"In all: {span(plan.shortest)}, {span(plan.longest)} at most, after the canary's pods are ready."]
    if plan.gpus:
        lines.append(f"GPUs: {plan.gpus} at most.")
    if plan.unplanned:
        names = ", ".join(plan.unplanned)
        why = "what they measure is not known before, or they have limits of their own"
        lines.append(f"Not planned, because {why} (kinds Gauge, Distribution and Query, test: Limits): {names}.")
    return "\n".join(lines)


def _step(number: int, count: int, item: StepPlan, usual: float) -> Iterator[str]:
    step = item.step
    lasts = f"{format_duration(step.duration)} ({format_duration(step.max_duration)} at most)"
    pods = "1 canary pod" if item.pods == 1 else f"{item.pods} canary pods"
    gpus = f", {item.gpus} GPUs in all" if item.gpus else ""
    then = ", then it waits for approval" if step.manual else ""
    yield f"Step {number}/{count}: weight {step.weight} % for {lasts}{then}, {pods}{gpus}"
    bad = f"{item.answers * usual:,.3g} of them bad if it is as good as stable"
    yield f"  {item.answers:,.0f} answers of the canary, {bad}"
    if not item.powers:
        yield "  no metric with a sequential test: this step proves nothing by itself"
    for power in item.powers:
        yield from _power(power, step.duration.total_seconds())


def _power(power: Power, lasts: float) -> Iterator[str]:
    if power.smallest is None:
        yield f"  {power.metric}: not detectable here: {span(lasts)} are too short for anything at this traffic"
    else:
        often = "nine times of ten" if POWER == 0.9 else f"{POWER:.0%} of the time"
        yield f"  {power.metric}: catches {power.smallest.words} or more, {often}"
    for found in power.found:
        yield f"    {found.worsening.words:<22} {_when(found)}{_advice(found, lasts)}"


def _when(found: Found) -> str:
    suspected = f"suspected after {span(found.suspected)}" if isfinite(found.suspected) else "not suspected"
    proven = f"proven after {span(found.proven)}" if isfinite(found.proven) else "not proven"
    return f"{suspected}, {proven}"


def _advice(found: Found, lasts: float) -> str:
    if found.caught >= POWER:
        return ""
    if isfinite(found.late):
        return f"; caught here {found.caught:.0%} of the time, a duration of {span(_round_up(found.late))} would do"
    return f"; not detectable here, nor in {span(max(LONGEST, lasts))}"


def _round_up(seconds: float) -> float:
    return -(-seconds // 60) * 60


def span(seconds: float) -> str:
    """A duration as manifests have it."""
    return format_duration(timedelta(seconds=round(seconds)))


def as_data(name: str, version: int, plan: Plan) -> dict[str, Any]:
    """For programs; times in seconds, null for never."""
    return {
        "name": name,
        "version": version,
        "answersPerSecond": plan.basis.rate,
        "errorRate": plan.basis.behaviour.errors,
        "known": plan.basis.known,
        "seconds": plan.shortest,
        "longestSeconds": plan.longest,
        "gpus": plan.gpus,
        "notPlanned": list(plan.unplanned),
        "steps": [_step_data(item) for item in plan.steps],
    }


def _step_data(item: StepPlan) -> dict[str, Any]:
    return {
        "weight": item.step.weight,
        "seconds": item.step.duration.total_seconds(),
        "canaryAnswers": item.answers,
        "canaryPods": item.pods,
        "gpus": item.gpus,
        "metrics": [
            {
                "name": power.metric,
                "smallest": _worsening_data(power.kind, power.smallest) if power.smallest else None,
                "found": [
                    {
                        **_worsening_data(power.kind, found.worsening),
                        "suspectedAfter": _finite(found.suspected),
                        "provenAfter": _finite(found.proven),
                        "durationThatWouldDo": _finite(found.late),
                        "caught": found.caught,
                    }
                    for found in power.found
                ],
            }
            for power in item.powers
        ],
    }


def _worsening_data(kind: MetricKind, worsening: Worsening) -> dict[str, Any]:
    if kind is MetricKind.LATENCY:
        return {"slower": worsening.size}
    return {"errorRate": worsening.behaviour.errors}


def _finite(value: float) -> float | None:
    return None if value == inf else value
