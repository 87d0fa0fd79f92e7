"""Which of several operators acts: whoever holds a Lease of the API server and has renewed it lately.

`Candidate` is the rule, without I/O or clock; `Elector` plays by it and is run by `process`. The others stay warm: they
watch and keep their caches, and write nothing. No two act at the same time, whatever their clocks say: a holder
begins nothing more `renew` seconds after it sent the last renewal that succeeded; others take the lease when they have
seen it unchanged for `duration`, which begins later and is longer. Every write asks for a `permit` (`ports.Fence`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from modelrollout.errors import ClusterUnavailable, Conflict, OperatorError
from modelrollout.metrics import LEADER

_RELEASED = 1.0
"""Seconds that a released lease claims to last: whoever judges it by its duration alone need not wait either."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a lease lasts, how long after a renewal its holder acts, and how often it renews: in seconds."""

    duration: float = 15.0
    renew: float = 10.0
    retry: float = 2.0


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease as the API server has it; no `holder` means that it is free. `version` is its resourceVersion."""

    holder: str
    duration: float
    transitions: int = 0
    version: str = ""


class Leases(Protocol):
    """One lease, by name. Every method raises ClusterUnavailable and Refused."""

    async def read(self) -> Lease | None:
        """As it is now, None when there is none."""
        ...

    async def write(self, lease: Lease) -> Lease:
        """Make it so, only if it is still at its version; one without a version is new. Raises Conflict."""
        ...

    def changes(self) -> AsyncIterator[str]:
        """The holder after each change, first that of now. Ends now and then; also raises what reading does."""
        ...


@dataclass(slots=True)
class Candidate:
    """What one operator knows of the lease, and what it may do. Times are seconds of a clock that only goes forward."""

    identity: str
    terms: Terms
    _seen: Lease | None = None
    _since: float = 0.0
    _renewed: float | None = None

    @property
    def leading(self) -> bool:
        """Whether it won the lease and has not seen it with anybody else since."""
        return self._renewed is not None

    def observe(self, lease: Lease | None, now: float) -> None:
        """Take in what was read. Only a change that is seen here starts the lease's time anew, no stamp in it does."""
        if lease is None and self._seen is not None:
            # Somebody deleted it. Its holder does not know yet, so it counts for as long as it would have.
            self._seen = replace(self._seen, version="")
        elif lease != self._seen:
            self._seen, self._since = lease, now
        if self._seen is None or self._seen.holder != self.identity:
            self._renewed = None

    def claim(self, now: float) -> Lease | None:
        """What to write now; None while somebody else may hold the lease."""
        seen = self._seen
        if seen is None:
            return Lease(self.identity, self.terms.duration)
        if seen.holder == self.identity:
            return replace(seen, duration=self.terms.duration)
        if seen.holder and now < self._since + seen.duration:
            return None
        return replace(seen, holder=self.identity, duration=self.terms.duration, transitions=seen.transitions + 1)

    def won(self, lease: Lease, sent: float) -> None:
        """A claim was written. Its time counts from when it was sent: nobody can have seen it earlier."""
        self._seen, self._since, self._renewed = lease, sent, sent

    def resign(self) -> Lease | None:
        """What frees the lease; None when it is not ours. Nothing may be done after this was asked."""
        if self._renewed is None or self._seen is None:
            return None
        self._renewed = None
        return replace(self._seen, holder="", duration=_RELEASED)

    def left(self, now: float) -> float:
        """For how many more seconds it may begin something; 0 or less: not at all."""
        return -1.0 if self._renewed is None else self._renewed + self.terms.renew - now

    def margin(self, now: float) -> float:
        """Seconds until somebody else may act; what was begun in time must be over by then."""
        return self.left(now) + self.terms.duration - self.terms.renew


@dataclass(slots=True)
class Elector:
    """One candidate's part in the election."""

    leases: Leases
    candidate: Candidate
    clock: Callable[[], float]
    won: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    """One of the two is set at any time. An outage of the API server is no loss: nobody else can win in it."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    _resigned: bool = False
    _told: str = ""

    async def run(self) -> None:
        """Campaign for ever."""
        self.lost.set()
        listening = asyncio.create_task(self._listen())
        try:
            while True:
                await self._tell(self._round())
                self._note()
                await self._pause()
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def resign(self) -> None:
        """Give the lease back, so that another has it at once, and never take it again.

        Called when nothing is written any more. A renewal that is under way is waited for: it would be a conflict.
        """
        self._resigned = True
        await self._tell(self._release())
        self._note()

    def permit(self) -> float:
        """`Fence.permit`: raises ClusterUnavailable once the lease was not renewed in time."""
        now = self.clock()
        if self.candidate.left(now) <= 0:
            raise ClusterUnavailable("the lease was not renewed in time: another operator may act by now")
        return self.candidate.margin(now)

    async def _release(self) -> None:
        async with self._turn:
            free = self.candidate.resign()
            if free is None:
                return
            try:
                await self.leases.write(free)
            except Conflict:
                # Our last renewal got through though its answer did not.
                found = await self.leases.read()
                if found is not None and found.holder == self.candidate.identity:
                    await self.leases.write(replace(free, version=found.version))

    async def _round(self) -> None:
        async with self._turn:
            if not self._resigned:
                await self._campaign()

    async def _campaign(self) -> None:
        """Renew what we have, or take what is free."""
        if not self.candidate.leading:
            self.candidate.observe(await self.leases.read(), self.clock())
        sent = self.clock()
        claim = self.candidate.claim(sent)
        if claim is None:
            return
        try:
            self.candidate.won(await self.leases.write(claim), sent)
        except Conflict:
            # Somebody was quicker, or our last renewal got through though its answer did not.
            self.candidate.observe(await self.leases.read(), self.clock())

    async def _tell(self, call: Awaitable[object]) -> None:
        """Carry out; what goes wrong is logged once and tried again."""
        said = ""
        try:
            async with asyncio.timeout(self.candidate.terms.renew / 2):
                await call
        except (OperatorError, TimeoutError) as error:
            said = str(error) or "the API server did not answer in time"
        if said and said != self._told:
            _log.warning("the lease was neither read nor written", error=said)
        self._told = said

    def _note(self) -> None:
        leading = self.candidate.leading
        if leading != self.won.is_set():
            _log.info("leading" if leading else "standing by", identity=self.candidate.identity)
            LEADER.set(leading)
        for event, now in ((self.won, leading), (self.lost, not leading)):
            event.set() if now else event.clear()

    async def _pause(self) -> None:
        """Until the next round is due, or the lease changed hands."""
        self._wake.clear()
        try:
            async with asyncio.timeout(self.candidate.terms.retry * random.uniform(0.8, 1.0)):  # noqa: S311 - no secret
                await self._wake.wait()
        except TimeoutError:
            return

    async def _listen(self) -> None:
        """A lease that is given back, or taken from us, is news at once; without this it is news after `retry`."""
        while True:
            try:
                async for holder in self.leases.changes():
                    if holder == "" or (self.candidate.leading and holder != self.candidate.identity):
                        self._wake.set()
            except OperatorError:
                pass  # the rounds say what is wrong
            await asyncio.sleep(self.candidate.terms.retry)


@dataclass(frozen=True, slots=True)
class Alone:
    """Stands for an election where there is none: always won, as long as nobody starts a second process."""

    won: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Lead for ever."""
        LEADER.set(1)
        self.won.set()
        await asyncio.Event().wait()

    async def resign(self) -> None:
        """Nobody to tell."""

    def permit(self) -> float:
        """Always."""
        return float("inf")
