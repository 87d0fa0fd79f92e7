"""Memory that was given back is the system's again, and garbage goes, sooner or later."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from modelrollout.heap import give_back, set_aside

if TYPE_CHECKING:
    from collections.abc import Iterator

_MB = 1024


def resident() -> int:
    """What this process holds of the machine's memory, in kB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def test_holes_between_what_stays_are_given_back() -> None:
    """Nearly all of 40 MB was freed, but what stays lies all over it."""
    blocks = [bytes([1]) * 2000 for _ in range(20_000)]
    stays = blocks[::50]
    del blocks
    before = resident()
    give_back()
    assert before - resident() > 20 * _MB
    assert len(stays) == 400


class Knot:
    """Refers to itself: no reference count frees it."""

    def __init__(self) -> None:
        """Tie it."""
        self.itself = self


@pytest.fixture
def thawed() -> Iterator[None]:
    """What these tests freeze is nobody else's."""
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("thawed")
def test_what_stays_is_no_longer_looked_at() -> None:
    """A collection of all objects finds next to none: what is new since."""
    set_aside()
    assert sum(len(gc.get_objects(generation=number)) for number in range(3)) < gc.get_freeze_count() / 100


@pytest.mark.usefixtures("thawed")
def test_garbage_goes() -> None:
    """At once while it is new; when all is looked at, what became garbage after it was frozen."""
    new, old = Knot(), Knot()
    seen_new, seen_old = weakref.ref(new), weakref.ref(old)
    del new
    set_aside()
    assert seen_new() is None
    del old
    set_aside()
    assert seen_old() is not None
    set_aside(thorough=True)
    assert seen_old() is None
