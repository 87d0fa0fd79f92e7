"""Whether the API server answers: asked now and then, because what the cache holds is only as true as that.

Run by `process`; the reconciler asks `unheard`. Without it the first pass after an outage, or after this process stood
still, would take pods as they were before it for pods that are late (docs/design.md, "Restart safety").
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from modelrollout.errors import OperatorError
from modelrollout.ports import Clock

PERIOD = 5.0
"""Seconds between two questions; far below `core.pods.SIGHT`, so that every outage that matters is noticed in time."""
STALE = timedelta(seconds=15)
"""An answer that is older than this is none: a question with its time-out takes 10 s at most."""

_log = structlog.get_logger(__name__)


class Pings(Protocol):
    """The cheapest question to the API server."""

    async def ping(self) -> None:
        """Raises ClusterUnavailable or Refused."""
        ...


@dataclass(slots=True)
class Contact:
    """`heard` is when the API server last answered, `failed` when it last did not, `first` when it did at first."""

    heard: datetime | None = None
    failed: datetime | None = None
    first: datetime | None = None

    def unheard(self, now: datetime) -> datetime | None:
        """When nothing was heard last, None when that was never so. A process that stood still heard nothing either."""
        if self.heard is not None and now - self.heard > STALE:
            self.failed = now
        return self.failed

    def answered(self, now: datetime) -> float:
        """For how many seconds the API server has answered every question."""
        if self.first is None:
            return 0.0
        return (now - max(self.unheard(now) or self.first, self.first)).total_seconds()

    async def keep(self, cluster: Pings, clock: Clock, period: float = PERIOD) -> None:
        """Ask for ever."""
        away = False
        while True:
            try:
                await cluster.ping()
            except OperatorError as error:
                self.failed = clock.now()
                if not away:
                    _log.warning("the API server is away", error=str(error))
                away = True
            else:
                now = clock.now()
                self.unheard(now)
                self.heard, self.first = now, self.first or now
                if away:
                    _log.info("the API server is back")
                away = False
            await asyncio.sleep(period)
