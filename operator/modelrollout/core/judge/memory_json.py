"""What the judge remembers to and from JSON, as it lies in the ConfigMap `<name>-analysis`. Inverse of each other.

Numbers are written in full: a verdict after a restart has to be the one that it would have been without.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from modelrollout.core.counters import Counters
from modelrollout.core.judge.case import Case
from modelrollout.core.judge.gauges import Gauges, Growth, Look
from modelrollout.core.judge.memory import Memory
from modelrollout.core.judge.metrics import MetricMemory, Recent
from modelrollout.core.judge.odd import StablePods
from modelrollout.core.judge.process import Arm, Block, Comparison
from modelrollout.core.judge.split import Split

FORMAT = 1
"""Rises when the meaning changes; what another format holds is forgotten, not misread."""


def memory_to_text(memory: Memory) -> str:
    """One line of JSON."""
    raw = {
        "format": FORMAT,
        "attempt": memory.attempt,
        "begun": memory.begun,
        "at": memory.at,
        "baseline": memory.baseline,
        "first": dict(memory.first),
        "metrics": {name: _metric_json(metric) for name, metric in memory.metrics.items()},
        "split": [memory.split.weight, memory.split.begun, *_arm(memory.split.canary), *_arm(memory.split.stable)],
        "off": memory.split.off,
    }
    return json.dumps(raw, separators=(",", ":"), sort_keys=True)


def memory_from_text(text: str) -> Memory | None:
    """None for what cannot be read: then the judge begins anew."""
    try:
        raw = json.loads(text)
        return _memory(raw) if raw["format"] == FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _memory(raw: Mapping[str, Any]) -> Memory:
    weight, begun, *counts = raw["split"]
    return Memory(
        attempt=raw["attempt"],
        begun=raw["begun"],
        at=raw["at"],
        baseline=raw["baseline"],
        first=raw["first"],
        metrics={name: _metric(item) for name, item in raw["metrics"].items()},
        split=Split(weight, begun, Arm(*counts[:2]), Arm(*counts[2:]), raw["off"]),
    )


def _metric_json(metric: MetricMemory) -> dict[str, Any]:
    stable = metric.stable_pods
    return {
        "case": _case_json(metric.case) if metric.case else None,
        "bounds": list(metric.bounds),
        "seen": [
            metric.seen.bad,
            [[str(bound), count] for bound, count in metric.seen.buckets.items()],
            _cells(metric),
        ],
        "shapes": [dict(shape) for shape in metric.shapes],
        "canary": {pod: [_arm(arm) for arm in arms] for pod, arms in metric.canary.items()},
        "stable": [_arm(arm) for arm in metric.stable],
        "recent": [[item.at, *_arm(item.canary), *_arm(item.stable)] for item in metric.recent],
        "broken": metric.broken,
        "odd": list(metric.odd),
        "since": metric.since,
        "level": metric.level,
        "gauges": asdict(metric.gauges),
        "stablePods": {
            "before": _by_pod(stable.before),
            "now": _by_pod(stable.now),
            "suspect": stable.suspect,
            "minutes": stable.minutes,
        },
    }


def _cells(metric: MetricMemory) -> dict[str, dict[str, float]]:
    return {name: dict(cells) for name, cells in metric.seen.cells.items()}


def _metric(raw: Mapping[str, Any]) -> MetricMemory:
    bad, buckets, cells = raw["seen"]
    return MetricMemory(
        case=_case(raw["case"]) if raw["case"] else None,
        bounds=tuple(raw["bounds"]),
        seen=Counters(bad, {float(bound): count for bound, count in buckets}, cells=cells),
        shapes=(raw["shapes"][0], raw["shapes"][1]),
        canary={pod: _arms(arms) for pod, arms in raw["canary"].items()},
        stable=_arms(raw["stable"]),
        recent=tuple(Recent(item[0], Arm(*item[1:3]), Arm(*item[3:5])) for item in raw["recent"]),
        broken=raw["broken"],
        odd=tuple(raw["odd"]),
        since=raw["since"],
        level=raw["level"],
        gauges=_gauges(raw.get("gauges", {})),
        stable_pods=_stable_pods(raw.get("stablePods", {})),
    )


def _by_pod(arms: Mapping[str, Arm]) -> dict[str, list[float]]:
    return {pod: _arm(arm) for pod, arm in arms.items()}


def _stable_pods(raw: Mapping[str, Any]) -> StablePods:
    """None of a memory that was written before they were watched."""
    if not raw:
        return StablePods()
    before, now = ({pod: Arm(*arm) for pod, arm in raw[name].items()} for name in ("before", "now"))
    return StablePods(before, now, raw["suspect"], raw["minutes"])


def _gauges(raw: Mapping[str, Any]) -> Gauges:
    """Those of a memory that was written before there were any are empty."""
    if not raw:
        return Gauges()
    read: dict[str, Any] = {
        "sums": tuple(raw["sums"]),
        "open": {pod: tuple(values) for pod, values in raw["open"].items()},
        "canary": tuple(raw["canary"]),
        "stable": tuple(raw["stable"]),
        "pods": {pod: tuple(means) for pod, means in raw["pods"].items()},
        "look": Look(**raw["look"]) if raw["look"] else None,
        "growth": Growth(**raw["growth"]) if raw["growth"] else None,
    }
    return Gauges(**{**raw, **read})


def _case_json(case: Case) -> dict[str, Any]:
    return {
        "proven": case.proven,
        "suspected": case.suspected,
        "highest": case.highest,
        "passed": case.passed,
        "doubts": case.doubts,
        "unsettled": case.unsettled,
        "comparisons": [_comparison_json(comparison) for comparison in case.comparisons],
    }


def _case(raw: Mapping[str, Any]) -> Case:
    comparisons = tuple(_comparison(item) for item in raw["comparisons"])
    return Case(**{**raw, "comparisons": comparisons})


def _comparison_json(comparison: Comparison) -> dict[str, Any]:
    return {item.name: _plain(getattr(comparison, item.name)) for item in fields(comparison)}


def _plain(value: Any) -> Any:
    match value:
        case Arm():
            return _arm(value)
        case Block():
            return [*_arm(value.canary), *_arm(value.stable), value.seconds]
        case tuple():
            return list(value)
        case _:
            return value


def _comparison(raw: Mapping[str, Any]) -> Comparison:
    blocks = {name: Block(Arm(*raw[name][:2]), Arm(*raw[name][2:4]), raw[name][4]) for name in ("block", "before")}
    arms = {name: Arm(*raw[name]) for name in ("stable_rate", "canary", "stable")}
    logs = {name: tuple(raw[name]) for name in ("banked", "open", "quick", "calm", "calm_open")}
    return Comparison(**{**raw, **blocks, **arms, **logs})


def _arm(arm: Arm) -> list[float]:
    return [arm.bad, arm.answers]


def _arms(raw: Iterable[list[float]]) -> tuple[Arm, ...]:
    return tuple(Arm(*item) for item in raw)
