"""Memory: what is garbage goes, what stays is left in peace, what is free goes back to the system. Run by `process`.

Python's collector goes through all objects again and again when many come and go, with a thousand rollouts 0.3 s each
second or two, in which nothing else runs. What outlives a round here is frozen: the collector does not look at it
any more, and it goes by its reference count as nearly everything does.
"""

import asyncio
import ctypes
import gc

PERIOD = 5.0
"""Seconds between two rounds. One takes milliseconds, as it goes through what is new alone."""
_TRIM, _THOROUGH = 4, 720
"""The C library's free memory goes back each so many rounds, in a thread. (It keeps what a crowd of objects took while
it was read and judged: with 500 of them 27 of 164 MB.) And each so many, in an hour, all objects are looked at: what
was frozen and is garbage by now is little, and everything stands still for it as it did before."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""See malloc_trim(3); glibc alone has it. It goes through all of the heap, not only its end."""


def set_aside(*, thorough: bool = False) -> None:
    """Free objects that only refer to each other, and freeze the others; those frozen before are seen when thorough."""
    if thorough:
        gc.unfreeze()
    gc.collect()
    gc.freeze()


def give_back() -> None:
    """Give what is free back to the system, where the C library can."""
    if _trim is not None:
        _trim(0)


async def stay_small() -> None:
    """Do both again and again, for ever."""
    rounds = 0
    while True:
        await asyncio.sleep(PERIOD)
        rounds += 1
        set_aside(thorough=rounds % _THOROUGH == 0)
        if rounds % _TRIM == 0:
            await asyncio.to_thread(give_back)
