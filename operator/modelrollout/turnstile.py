"""How many questions a process asks each second at most, however many objects there are. Used by `probes`."""

import asyncio
from collections import deque

_LEAST = 0.001
"""Seconds of a pause: what is missing of a token may be too little to move a clock."""


class Turnstile:
    """Lets so many through per second, in order, those who have to wait some at a time. Lives in one event loop.

    Thousands of objects that are all new, or that a new process finds, would otherwise be asked about each second: a
    question costs more than a millisecond, and what is asked late is asked again.
    """

    def __init__(self, per_second: float, every: float = _LEAST) -> None:
        """A second's worth may pass at once after a rest, then what has become due `every` so many seconds."""
        self._per_second = self._tokens = per_second
        self._every = every
        self._last = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self) -> None:
        """Wait to be let through."""
        mine = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        if self._timer is None:
            self._let_through()
        await mine

    def _let_through(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        self._tokens = min(self._per_second, self._tokens + (now - self._last) * self._per_second)
        self._last = now
        while self._waiting and self._tokens >= 1:
            next_one = self._waiting.popleft()
            if not next_one.done():  # else whoever waited was cancelled
                next_one.set_result(None)
                self._tokens -= 1
        if self._waiting:
            self._timer = loop.call_later(max(self._every, (1 - self._tokens) / self._per_second), self._let_through)
