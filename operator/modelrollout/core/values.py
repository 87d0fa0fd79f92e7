"""Small value helpers that the rest of the core shares: durations, decimal strings, JSON."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

JSON = Mapping[str, Any]
"""A JSON object as the API server gave it. Never modified: the core only reads it or builds new ones."""

_DURATION = re.compile(r"([0-9]{1,5})(h|ms|m|s)")
_UNIT = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}


def parse_duration(text: str) -> timedelta:
    """A Gateway API duration (GEP-2257: `90s`, `10m`, `1h30m`) as a timedelta. Raises ValueError for anything else."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 90s, 10m or 1h30m")
    return sum((int(number) * _UNIT[unit] for number, unit in parts), timedelta())


def format_duration(span: timedelta) -> str:
    """The shortest Gateway API duration for a span of whole milliseconds: 90 s is `1m30s`."""
    rest = round(span / _UNIT["ms"])
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_decimal(value: str | int) -> float:
    """A ratio written as a decimal string (`"1.5"`, `2`): spec has no floats. Raises ValueError otherwise."""
    try:
        return float(Decimal(str(value)))
    except ArithmeticError:
        raise ValueError(f'{value!r} is not a decimal number such as "1.5"') from None


def format_time(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as all times in `status` are written."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """The inverse of `format_time`; also reads the API server's own times (whole seconds)."""
    return datetime.fromisoformat(text)


def moment_of(seconds: float) -> datetime:
    """A moment in UTC from POSIX seconds."""
    return datetime.fromtimestamp(seconds, UTC)


def covers(actual: Any, wanted: Any) -> bool:
    """Whether `actual` already says everything that `wanted` says.

    Objects may have further keys (defaults and other writers' fields); lists must match item by item. With every
    manifest fully defaulted, False means drift, so that nothing is written when nothing changed.
    """
    kind = type(wanted)
    if kind is str or kind is int or kind is bool:  # most of what there is, in what takes a third of a pass
        return bool(actual == wanted)
    if kind is dict or isinstance(wanted, Mapping):
        has = type(actual) is dict or isinstance(actual, Mapping)
        return has and all(covers(actual.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, (list, tuple)):
        return isinstance(actual, (list, tuple)) and len(actual) == len(wanted) and all(map(covers, actual, wanted))
    return bool(actual == wanted)
