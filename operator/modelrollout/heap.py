"""Memory that is free goes back to the system. Run by `process`.

The C library keeps what a crowd of objects took while it was read and judged: with 500 of them 27 of 164 MB.
"""

import asyncio
import ctypes

PERIOD = 20.0
"""Seconds between two rounds. One takes milliseconds, in a thread."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""See malloc_trim(3); glibc alone has it. It goes through all of the heap, not only its end."""


def give_back() -> None:
    """Give what is free back to the system, where the C library can."""
    if _trim is not None:
        _trim(0)


async def stay_small() -> None:
    """Do so again and again, for ever."""
    while True:
        await asyncio.sleep(PERIOD)
        await asyncio.to_thread(give_back)
