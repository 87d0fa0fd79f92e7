"""What the demo tells at its end: per rollout its steps, times, answers per version and phase, and the evidence."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playground.load.records import Answer


def rollout_report(watched: dict[str, Any], answers: list[Answer]) -> dict[str, Any]:
    """The summary of one rollout from what was watched and what its users got."""
    entry, seen = watched["entry"], watched["seen"]
    began, ended = seen[0]["time"], seen[-1]["time"]
    during = [answer for answer in answers if began <= answer.start <= ended]
    zero = _weight_zero(seen)
    version = entry["version"]
    rejected = entry["outcome"] == "RolledBack"
    late = [a for a in answers if rejected and zero and a.version == version and a.start > zero]
    return {
        "version": version,
        "outcome": entry["outcome"],
        "reason": entry["reason"],
        "message": entry["message"],
        "evidence": entry.get("evidence", ""),
        "seconds": round(ended - began, 1),
        "steps": [{**moment, "time": round(moment["time"] - began, 2)} for moment in seen],
        "answers": _by_phase(seen, during),
        "requests": len(during),
        "failedRequests": sum(1 for answer in during if answer.error),
        "answersAfterWeightZero": len(late),
        "stableRestarts": watched["restarts"],
    }


def _weight_zero(seen: list[dict[str, Any]]) -> float | None:
    """When weight 0 was live again after a weight above it had been set."""
    raised = False
    for moment in seen:
        raised = raised or moment["weightSet"] > 0
        if raised and moment["weightSet"] == 0 and moment["weightLive"] == 0:
            return float(moment["time"])
    return None


def _by_phase(seen: list[dict[str, Any]], answers: list[Answer]) -> dict[str, dict[str, int]]:
    """Answers per phase and answering version; requests that no version answered are `failed`."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        before = [moment for moment in seen if moment["time"] <= answer.start]
        counts[before[-1]["phase"]][str(answer.version) if answer.version else "failed"] += 1
    return {phase: dict(counter) for phase, counter in counts.items()}


def describe(summary: dict[str, Any]) -> str:
    """The summary for people."""
    parts = [_describe_rollout(rollout) for rollout in summary["rollouts"]]
    head = f"{summary['requests']} requests in all, {summary['seconds']} s with everything started from nothing."
    return "\n".join(["", *parts, head])


def _describe_rollout(rollout: dict[str, Any]) -> str:
    lines = [
        f"Version {rollout['version']}: {rollout['outcome']} ({rollout['reason']}) after {rollout['seconds']} s",
        f"  why             {rollout['message']}",
    ]
    steps = rollout["steps"]
    lines += [_moment(now) for before, now in zip([{}, *steps], steps, strict=False) if _differ(before, now)]
    lines += [f"  answers         {phase}: {_counts(counts)}" for phase, counts in rollout["answers"].items()]
    lines.append(f"  requests        {rollout['requests']}, of which failed: {rollout['failedRequests']}")
    if rollout["outcome"] == "RolledBack":
        lines.append(f"  after weight 0  answers of version {rollout['version']}: {rollout['answersAfterWeightZero']}")
    lines.append(f"  stable pods     restarts: {rollout['stableRestarts']}")
    lines.append(f"  evidence        {rollout['evidence']}")
    return "\n".join(lines) + "\n"


def _differ(before: dict[str, Any], now: dict[str, Any]) -> bool:
    return any(before.get(key) != now[key] for key in ("phase", "progress"))


def _moment(moment: dict[str, Any]) -> str:
    return f"  {moment['time']:6.1f} s        {moment['phase']:12} {moment['progress']}".rstrip()


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{version} x {count}" for version, count in sorted(counts.items()))
