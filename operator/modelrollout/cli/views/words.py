"""The words that all views share: reading a field that may not be there, ages, weights, colours of phases."""

from datetime import datetime, timedelta
from math import inf
from typing import Any

from modelrollout.core.values import JSON, parse_duration, parse_time

COLOURS = {
    "Healthy": "green",
    "Preparing": "cyan",
    "Initializing": "cyan",
    "Progressing": "cyan",
    "Promoting": "cyan",
    "Baking": "cyan",
    "Paused": "yellow",
    "Pending": "yellow",
    "RollingBack": "red",
    "RolledBack": "red",
    "Degraded": "red",
    "Pass": "green",
    "Fail": "red",
    "Suspect": "red",
    "True": "green",
}
"""Of phases and verdicts; others are yellow."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGES = (
    (120, "s", ""),
    (600, "m", "s"),
    (3 * 3600, "m", ""),
    (8 * 3600, "h", "m"),
    (2 * 86_400, "h", ""),
    (8 * 86_400, "d", "h"),
    (inf, "d", ""),
)
"""Below so many seconds: unit, and second unit."""


def colour(word: str) -> str:
    """A rich style for a phase or a verdict."""
    return COLOURS.get(word, "yellow")


def at(obj: JSON, path: str, default: Any = "") -> Any:
    """The field at a dotted path, the default where it or anything above it is missing."""
    value: Any = obj
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            return default
    return value


def moment(obj: JSON, path: str) -> datetime | None:
    """The time at a dotted path."""
    text = at(obj, path)
    return parse_time(text) if text else None


def span(length: timedelta) -> str:
    """A length of time as kubectl writes ages: a second unit only while the first is small."""
    seconds = max(0, round(length.total_seconds()))
    unit, smaller = next((unit, smaller) for limit, unit, smaller in _AGES if seconds < limit)
    whole, rest = divmod(seconds, _SECONDS[unit])
    part = rest // _SECONDS[smaller] if smaller else 0
    return f"{whole}{unit}{part}{smaller}" if part else f"{whole}{unit}"


def age(obj: JSON, now: datetime) -> str:
    """Time since an object was created."""
    created = moment(obj, "metadata.creationTimestamp")
    return span(now - created) if created else ""


def weight(obj: JSON) -> str:
    """The canary's share: `25%`, or `5%>25%` while gateways still have the one before."""
    if not at(obj, "status.rollout", None):
        return ""
    set_, live = at(obj, "status.rollout.weightSet", 0), at(obj, "status.rollout.weightLive", 0)
    return f"{set_}%" if set_ == live else f"{live}%>{set_}%"


def phase(obj: JSON) -> str:
    """The phase; Pending before the operator has looked at the object."""
    return str(at(obj, "status.phase", "Pending"))


def condition(obj: JSON, kind: str) -> JSON:
    """A condition; absent is an empty one."""
    found = (item for item in at(obj, "status.conditions", ()) if item["type"] == kind)
    return next(found, {})


def holds(obj: JSON, kind: str) -> bool:
    """Whether a condition is True and speaks about the object as it is now."""
    return condition(obj, kind).get("status") == "True" and seen(obj)


def seen(obj: JSON) -> bool:
    """Whether the operator has looked at the object as it is now."""
    return bool(at(obj, "status.observedGeneration", 0) == at(obj, "metadata.generation", 0))


def duration(text: str) -> timedelta:
    """A duration of `spec` or `status`; nothing where there is none."""
    return parse_duration(text) if text else timedelta()
