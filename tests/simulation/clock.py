"""Virtual time: seconds since the simulated world began, and an event loop in which waiting costs none of the real."""

from __future__ import annotations

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


def moment(seconds: float) -> datetime:
    """Virtual seconds as a time."""
    return START + timedelta(seconds=seconds)


def stamp(seconds: float) -> str:
    """The same as the API server writes it: whole seconds."""
    return moment(seconds).isoformat(timespec="seconds")


class _Leap(selectors.SelectSelector):
    """Nothing ever comes in: instead of waiting for it, time leaps to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits for something that never happens"
        self.now += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock only moves when everybody waits."""

    def __init__(self, seconds: float) -> None:
        self._leap = _Leap()
        self._leap.now = seconds
        super().__init__(self._leap)

    def time(self) -> float:
        """Virtual seconds."""
        return self._leap.now
