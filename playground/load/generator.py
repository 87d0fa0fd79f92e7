"""Open-loop load: requests leave at their moment, whatever became of those before them."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from playground.load.clients import GrpcClient, RestClient
from playground.load.records import Answer

if TYPE_CHECKING:
    from playground.load.clients import Client
    from playground.load.records import Recorder

_SLICE_SECONDS = 0.01
"""Requests that are due leave together this often: a timer per request would cost more than the request."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send: a gateway's REST url and gRPC address (either may be None), the model, the host name."""

    model: str
    rest: str | None
    grpc: str | None
    host: str | None = None


@dataclass(slots=True)
class Generator:
    """Sends `rate` requests per second in all, protocols in turn, until stopped."""

    target: Target
    rate: float
    recorder: Recorder
    users: int = 1000
    _clients: list[tuple[str, Client]] = field(default_factory=list)
    _task: asyncio.Task[None] | None = None
    _under_way: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Begin; needs a running loop."""
        if self.target.rest:
            self._clients.append(("rest", RestClient(self.target.rest, self.target.model, self.target.host)))
        if self.target.grpc:
            self._clients.append(("grpc", GrpcClient(self.target.grpc, self.target.model, self.target.host)))
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Send nothing more, wait for the answers that are still due, close the connections."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.gather(*self._under_way)
        for _, client in self._clients:
            await client.close()
        self._clients.clear()

    async def _run(self) -> None:
        began, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began) * self.rate)
            # After a pause of the whole machine what was missed is not made up for: that would be a flood.
            sent = max(sent, due - int(self.rate))
            for number in range(sent, due):
                task = asyncio.create_task(self._ask(number))
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            sent = due
            await asyncio.sleep(_SLICE_SECONDS)

    async def _ask(self, number: int) -> None:
        protocol, client = self._clients[number % len(self._clients)]
        user = f"user-{random.randrange(self.users)}"  # noqa: S311 - no secret hangs on it
        start = _now()
        outcome = await client.ask(float(number % 100), user)
        self.recorder.add(Answer(start, _now(), protocol, user, outcome.version, outcome.error))


def _now() -> float:
    return time.time_ns() / 1e9
