"""A rollout that took place, out of an object's status: which attempt, when, how it ended. Pure; `report` shows it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from modelrollout.core.status import HistoryEntry, Rollout
from modelrollout.core.status_json import status_from_json
from modelrollout.core.values import JSON, parse_time
from modelrollout.planning.trace import Mark, Point


@dataclass(frozen=True, slots=True)
class Past:
    """One attempt. `ended` is None while it is under way; then `outcome` is its stage, and `message` what it does."""

    attempt: int
    version: int
    started: datetime
    ended: datetime | None
    outcome: str
    reason: str
    message: str
    evidence: str


def attempts(obj: JSON) -> list[Past]:
    """Every attempt that status remembers, the last one first."""
    status = status_from_json(obj.get("status", {}))
    ended = [_ended(entry) for entry in status.history]
    if status.rollout is None:
        return ended
    evidence = "; ".join(f"{item.verdict}: {item.detail}" for item in status.analysis)
    return [_under_way(status.rollout, str(obj["status"].get("message", "")), evidence), *ended]


def _under_way(rollout: Rollout, message: str, evidence: str) -> Past:
    return Past(
        attempt=rollout.attempt,
        version=rollout.target.version,
        started=rollout.started,
        ended=None,
        outcome=str(rollout.stage),
        reason="",
        message=message,
        evidence=evidence,
    )


def _ended(entry: HistoryEntry) -> Past:
    return Past(
        attempt=entry.attempt,
        version=entry.target.version,
        started=entry.started,
        ended=entry.ended,
        outcome=str(entry.end.outcome),
        reason=entry.end.reason,
        message=entry.end.message,
        evidence=entry.end.evidence,
    )


def marks_of(past: Past, events: Iterable[JSON]) -> list[Mark]:
    """What happened when, from events where the cluster still has them; else only the end."""
    found = []
    for event in events:
        stamp = event.get("eventTime") or event.get("lastTimestamp") or event["metadata"]["creationTimestamp"]
        at = (parse_time(stamp) - past.started).total_seconds()
        until = (past.ended - past.started).total_seconds() if past.ended else float("inf")
        if -1 <= at <= until + 1:
            found.append(Mark(at, str(event.get("reason", ""))))
    if past.ended is not None and not any(mark.text == past.outcome for mark in found):
        found.append(Mark((past.ended - past.started).total_seconds(), past.outcome))
    return sorted(found, key=lambda mark: mark.at)


def as_words(name: str, past: Past, points: Iterable[Point], marks: Iterable[Mark]) -> str:
    """For people."""
    lasted = f"{(past.ended - past.started).total_seconds() / 60:.0f} min" if past.ended else "so far"
    why = f" ({past.reason})" if past.reason else ""
    lines = [
        f"{name}, version {past.version}, attempt {past.attempt}: {past.outcome}{why}, {lasted}",
        f"  from {past.started:%Y-%m-%d %H:%M:%S} UTC: {past.message}",
    ]
    lines += [f"  evidence: {part}" for part in past.evidence.split("; ") if part]
    lines += [f"{mark.at / 60:8.1f} min  {mark.text}" for mark in marks]
    seen = [point for point in points if point.at >= 0]
    for side in ("canary", "stable"):
        parts = [point.canary if side == "canary" else point.stable for point in seen]
        answers, bad = sum(part.answers for part in parts), sum(part.bad for part in parts)
        share = f" ({100 * bad / answers:.2g} %)" if answers else ""
        lines.append(f"  {side}: {answers:,.0f} answers, {bad:,.0f} bad{share}")
    return "\n".join(lines)
