"""How patient the supervisor is with the watches, and when it is to sweep. Times are those of the event loop."""

import asyncio
import random
from contextlib import suppress
from dataclasses import dataclass

from modelrollout.streams import WATCH_SECONDS, Streams


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the supervisor is, in seconds; tests make it quick."""

    tick: float = 1.0
    retry: float = 1.0
    restart: float = 0.5
    restart_at_most: float = 4.0
    """Watches that end again and again are started ever more slowly; each start lists everything."""
    first_sweep: float = 5.0
    after_listing: float = 0.2
    sweep: float = 900.0
    spread: float = 60.0
    """Within so many seconds after a regular sweep every object is reconciled once more."""
    recheck: float = 10.0
    """For kinds that were missing, for strangers, and for events that a sweep was ahead of."""
    silence: float = WATCH_SECONDS + 3.0
    """A stream that was not heard for so long may be deaf: from then on a sweep each `poll` stands in for it."""
    poll: float = 10.0
    polls: int = 3
    """After so many the watches are started anew."""
    exit: float = 6.0
    """kopf gives its own tasks 5."""
    force: float = 1.0
    failures_within: float = 300.0


class Agenda:
    """What is due when, during one run of the watches over these streams."""

    def __init__(self, pace: Pace, streams: Streams) -> None:
        """The watches begin now."""
        self._pace = pace
        self._streams = streams
        self._clock = asyncio.get_running_loop().time
        self._sweep = self._clock() + pace.first_sweep
        self._resync = self._next_resync()
        self._recheck = self._clock() + pace.recheck
        self.polls = 0
        """Sweeps in a row that had to stand in for a silent stream."""
        self.listed = False
        """Whether kopf has listed since the last sweep: no watch reports what happened before that."""

    async def rest(self) -> None:
        """Until there may be something to do: a tick at most."""
        seconds = min(self._pace.tick, max(0.0, self._sweep - self._clock()))
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._streams.listed.wait()

    def listen(self) -> None:
        """Bring the next sweep forward when the watches alone are not to be trusted."""
        if self._streams.listed.is_set():
            # What happened between the end of one watch and a listing is in neither.
            self._streams.listed.clear()
            self.listed = True
            self.hurry(self._pace.after_listing)
        if not self._silent():
            self.polls = 0
        elif not self.polls:
            self.hurry(0.0)

    def take_recheck(self) -> bool:
        """Whether strangers and missing kinds are to be looked for now; if so, not again for a while."""
        due = self._recheck <= self._clock()
        if due:
            self._recheck = self._clock() + self._pace.recheck
        return due

    def sweep_is_due(self) -> bool:
        """Now."""
        return self._sweep <= self._clock()

    def hurry(self, seconds: float) -> None:
        """Sweep within so many seconds."""
        self._sweep = min(self._sweep, self._clock() + seconds)

    def put_off(self) -> None:
        """A sweep failed."""
        self._sweep = self._clock() + self._pace.retry

    def swept(self) -> bool:
        """A sweep is done; whether it was the regular one, after which everything is reconciled once more."""
        now, self.listed = self._clock(), False
        regular = self._resync <= now
        if regular:
            self._resync = self._next_resync()
        self.polls = self.polls + 1 if self._silent() else 0
        self._sweep = min(self._resync, now + self._pace.poll) if self.polls else self._resync
        return regular

    def _next_resync(self) -> float:
        return self._clock() + self._pace.sweep * random.uniform(0.8, 1.2)  # noqa: S311 - no secret

    def _silent(self) -> bool:
        return self._streams.silence() > self._pace.silence
