"""Memory that was given back is the system's again."""

from __future__ import annotations

from pathlib import Path

from modelrollout.heap import give_back

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
