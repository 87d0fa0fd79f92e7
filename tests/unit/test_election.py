"""Several operators in virtual time, who share a lease: one acts, and never two."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from modelrollout.election import Candidate, Elector, Lease, Terms
from modelrollout.errors import ClusterUnavailable, Conflict
from tests.simulation.clock import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

TERMS = Terms(duration=15, renew=10, retry=2)


@dataclass
class Shelf:
    """One lease, one write per version, as the API server has it. `away` makes it unreachable for some."""

    lease: Lease | None = None
    version: int = 0
    away: set[str] = field(default_factory=set)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


@dataclass
class Reach:
    """One candidate's way to the shelf."""

    name: str
    shelf: Shelf

    async def read(self) -> Lease | None:
        """As it is now."""
        self._try()
        return self.shelf.lease

    async def write(self, lease: Lease) -> Lease:
        """Replace it. Raises Conflict."""
        self._try()
        found = self.shelf.lease
        if (found.version if found else "") != lease.version:
            raise Conflict("changed")
        self.shelf.version += 1
        self.shelf.lease = replace(lease, version=str(self.shelf.version))
        async with self.shelf.changed:
            self.shelf.changed.notify_all()
        return self.shelf.lease

    async def changes(self) -> AsyncIterator[str]:
        """Each holder."""
        while True:
            self._try()
            async with self.shelf.changed:
                yield self.shelf.lease.holder if self.shelf.lease else ""
                await self.shelf.changed.wait()

    def _try(self) -> None:
        if self.name in self.shelf.away:
            raise ClusterUnavailable("no way there")


@dataclass
class SlowReach(Reach):
    """A way on which writes take a second."""

    writing: asyncio.Event = field(default_factory=asyncio.Event)

    async def write(self, lease: Lease) -> Lease:
        """Replace it, in the end."""
        self.writing.set()
        await asyncio.sleep(1)
        self.writing.clear()
        return await super().write(lease)


def virtually(story: Coroutine[None, None, None]) -> None:
    """Play a story in virtual time."""
    loop = VirtualLoop(0.0)
    try:
        loop.run_until_complete(story)
    finally:
        loop.close()


@asynccontextmanager
async def running(shelf: Shelf, *names: str) -> AsyncIterator[list[Elector]]:
    """Electors at work on one lease."""
    clock = asyncio.get_running_loop().time
    made = [Elector(Reach(name, shelf), Candidate(name, TERMS), clock) for name in names]
    tasks = [asyncio.create_task(elector.run()) for elector in made]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def acting(electors: list[Elector]) -> list[str]:
    """Those that would be let through right now."""
    permitted = []
    for elector in electors:
        try:
            elector.permit()
        except ClusterUnavailable:
            continue
        permitted.append(elector.candidate.identity)
    return permitted


def test_one_of_two_leads_and_stays() -> None:
    """Renewals keep it with the same one, for as long as it lives."""

    async def story() -> None:
        async with running(Shelf(), "a", "b") as electors:
            await asyncio.sleep(1)
            first = acting(electors)
            assert len(first) == 1
            for _ in range(200):
                await asyncio.sleep(1)
                assert acting(electors) == first

    virtually(story())


def test_a_leader_without_the_api_server_stops_before_the_other_begins() -> None:
    """Cut off, it acts for 10 s more; the other, which is not, leads 15 s after the last renewal, not earlier."""

    async def story() -> None:
        shelf = Shelf()
        async with running(shelf, "a") as (first,), running(shelf, "b") as (second,):
            await first.won.wait()
            await asyncio.sleep(7)
            shelf.away.add("a")
            pauses = 0
            while acting([second]) == []:
                pauses += acting([first]) == []
                await asyncio.sleep(0.1)
            assert pauses >= 30
            assert acting([first, second]) == ["b"]
            assert first.won.is_set(), "it cannot know"
            shelf.away.clear()
            await first.lost.wait()

    virtually(story())


def test_an_outage_that_both_see_changes_nothing() -> None:
    """Nobody could have taken over meanwhile, so the leader goes on with everything that it remembers."""

    async def story() -> None:
        shelf = Shelf()
        async with running(shelf, "a") as (first,), running(shelf, "b") as (second,):
            await first.won.wait()
            shelf.away |= {"a", "b"}
            await asyncio.sleep(11)
            assert acting([first, second]) == []
            shelf.away.clear()
            await asyncio.sleep(3)
            assert acting([first, second]) == ["a"]
            assert not first.lost.is_set()

    virtually(story())


def test_a_leader_that_resigns_is_followed_at_once() -> None:
    """Those that wait listen: no retry period passes."""

    async def story() -> None:
        shelf, loop = Shelf(), asyncio.get_running_loop()
        async with running(shelf, "a") as (first,):
            await first.won.wait()
        async with running(shelf, "b") as (second,):
            await asyncio.sleep(5)
            before = loop.time()
            await first.resign()
            await second.won.wait()
            assert loop.time() == before
            assert acting([first, second]) == ["b"]

    virtually(story())


def test_a_leader_that_resigned_does_not_take_the_lease_again() -> None:
    """Its rounds go on while the process ends, and do nothing."""

    async def story() -> None:
        shelf = Shelf()
        async with running(shelf, "a") as (first,):
            await first.won.wait()
            await first.resign()
            await asyncio.sleep(100)
            assert acting([first]) == []
            assert shelf.lease is not None
            assert shelf.lease.holder == ""

    virtually(story())


def test_a_lease_is_freed_although_an_answer_was_lost() -> None:
    """The last renewal got through unheard: giving the lease back is tried once more."""

    async def story() -> None:
        shelf = Shelf()
        async with running(shelf, "a") as (first,):
            await first.won.wait()
            assert shelf.lease is not None
            await Reach("a", shelf).write(shelf.lease)
            await first.resign()
            assert shelf.lease.holder == ""

    virtually(story())


def test_a_renewal_under_way_is_over_before_the_lease_is_freed() -> None:
    """Else one of the two would be a conflict, and the lease might stay taken for as long as it lasts."""

    async def story() -> None:
        shelf = Shelf()
        slow = SlowReach("a", shelf)
        elector = Elector(slow, Candidate("a", TERMS), asyncio.get_running_loop().time)
        campaign = asyncio.create_task(elector.run())
        await elector.won.wait()
        slow.writing.clear()
        await slow.writing.wait()
        await elector.resign()
        assert shelf.lease is not None
        assert shelf.lease.holder == ""
        campaign.cancel()
        await asyncio.gather(campaign, return_exceptions=True)

    virtually(story())


def test_a_lease_that_cannot_be_used_is_no_right_to_act() -> None:
    """Without the API server, or the right to the lease, an operator only stands by."""

    async def story() -> None:
        async with running(Shelf(away={"a"}), "a") as electors:
            await asyncio.sleep(100)
            assert acting(electors) == []

    virtually(story())
