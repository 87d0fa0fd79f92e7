"""The machine's clock as `ports.Clock`. Made by `__main__`."""

from datetime import UTC, datetime


class SystemClock:
    """Wall time."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)  # noqa: TID251 - the one place that reads the clock
