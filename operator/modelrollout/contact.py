"""Whether the API server answers: asked now and then, because what the cache holds is only as true as that.

Run by `process`; the reconciler reads `failed`. Without it the first pass after an outage would take pods as they were
before it for pods that are late (docs/design.md, "Outages").
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import structlog

from modelrollout.errors import OperatorError
from modelrollout.ports import Clock

PERIOD = 5.0
"""Seconds between two questions; far below `core.pods.SIGHT`, so that every outage that matters is noticed in time."""

_log = structlog.get_logger(__name__)


class Pings(Protocol):
    """The cheapest question to the API server."""

    async def ping(self) -> None:
        """Raises ClusterUnavailable or Refused."""
        ...


@dataclass(slots=True)
class Contact:
    """`failed` is when the API server last did not answer, None when it always did."""

    failed: datetime | None = None

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
                if away:
                    _log.info("the API server is back")
                away = False
            await asyncio.sleep(period)
