"""The machine's clock as `ports.Clock`, and one that only goes forward. Used by `process`."""

import time
from datetime import UTC, datetime


class SystemClock:
    """Wall time."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that reads the clock


def uptime() -> float:
    """Seconds that only go forward, also while the machine sleeps: a leader that slept must not think it leads."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
