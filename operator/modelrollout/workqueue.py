"""A queue of keys with the semantics of Kubernetes controllers: each key once, never two passes of one key at a time.

Handlers and the reconciler add keys; `run_passes` takes them. An urgent one, whose canary was just proved bad, goes
before all others and never waits for one of them to be done; where there are many of those, what they leave to do
waits for a moment. Lives in one event loop.
"""

import asyncio
import heapq
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from modelrollout.errors import Conflict, OperatorError
from modelrollout.metrics import PASS_SECONDS, PASSES, QUEUE
from modelrollout.ports import Key
from modelrollout.tracing import annotate, trace

_FIRST_RETRY = 0.2
_LAST_RETRY = 5.0
"""Seconds at most between two tries: after an outage a rollback goes on soon, and a pass costs little."""
_CONFLICT_RETRY = timedelta(milliseconds=50)
"""After a conflict the newer object is on its way through the watch."""
_MANY, _WITHIN = 4, 1.0
"""So many urgent passes within so many seconds are a storm: where some versions go bad, others may."""
_CALM = 1.2
"""Seconds after an urgent pass of a storm in which what such passes left to do is put off: it takes several times the
requests of the aborts themselves. Versions that are judged each second and go bad together are found within that."""
_CALM_AT_MOST, _EACH = 2.5, 6.0
"""Seconds of calm within so many seconds: the rest has to be done, too."""
_PASS_DEADLINE = 30.0
"""Seconds after which a pass is given up: every call has a deadline of its own, this is the net below them."""

_log = structlog.get_logger(__name__)


class WorkQueue:
    """Keys to reconcile, now or later. One that waits is not added twice; one in work comes again after it."""

    def __init__(self, jitter: Callable[[], float] = random.random) -> None:
        """`jitter` gives numbers from 0 to 1; it spreads retries."""
        self._urgent: OrderedDict[Key, None] = OrderedDict()
        self._ready: OrderedDict[Key, None] = OrderedDict()
        self._hurried: set[Key] = set()
        self._dirty: set[Key] = set()
        self._processing: set[Key] = set()
        self._rushing: set[Key] = set()
        self._rushed: OrderedDict[Key, float] = OrderedDict()
        self._storm = self._calm = float("-inf")
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._failures: dict[Key, int] = {}
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._open = True
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        """Keys that are ready to be taken."""
        return len(self._urgent) + len(self._ready)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Reconcile as soon as possible."""
        if urgent:
            self._hurried.add(key)
        elif key in self._dirty:
            return
        self._dirty.add(key)
        self._due.pop(key, None)
        if key not in self._processing:
            self._line_up(key)

    def after(self, key: Key, delay: timedelta) -> None:
        """Reconcile once `delay` has passed; of several the earliest counts, and an `add` before replaces it."""
        due = asyncio.get_running_loop().time() + delay.total_seconds()
        if key in self._dirty or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._heap, (due, key))
        self._wake.set()

    def again(self, key: Key, delay: timedelta) -> None:
        """The pass has to be repeated after `delay`, as urgently as it was."""
        if key in self._rushing:
            self._hurried.add(key)
        self.after(key, delay)

    def fail(self, key: Key) -> timedelta:
        """Try again after a back-off that doubles with each failure in a row; returns it."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        longest = min(_FIRST_RETRY * 2 ** min(count, 20), _LAST_RETRY)
        delay = timedelta(seconds=longest * (0.5 + self._jitter() / 2))
        self.again(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """A pass went well: the next failure starts with the shortest back-off."""
        self._failures.pop(key, None)

    async def get(self, room: Callable[[], bool] = lambda: True) -> Key:
        """Wait for the next key; without `room`, for an urgent one. `done` must follow."""
        while True:
            due, now = self._promote(), asyncio.get_running_loop().time()
            key = self._next(now, self._open and room())
            if key is not None:
                self._dirty.discard(key)
                self._hurried.discard(key)
                self._processing.add(key)
                return key
            self._wake.clear()
            until = min(
                [time for time in (due, self._calm if now < self._calm else None) if time is not None], default=None
            )
            try:
                async with asyncio.timeout_at(until):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def done(self, key: Key) -> None:
        """The pass is over. A key that was added meanwhile is ready again."""
        self._processing.discard(key)
        self._rushing.discard(key)
        if not self._processing:
            self._idle.set()
        if key in self._dirty:
            self._line_up(key)
        self._wake.set()

    def _next(self, now: float, room: bool) -> Key | None:
        if self._urgent:
            key, _ = self._urgent.popitem(last=False)
            self._keep_calm(key, now)
            return key
        if not room:
            return None
        found = next((key for key in self._ready if now >= self._calm or key not in self._rushed), None)
        if found is not None:
            del self._ready[found]
        return found

    def _keep_calm(self, key: Key, now: float) -> None:
        """Note an urgent pass. One key alone, however often it comes, is no storm."""
        self._rushing.add(key)
        self._rushed.pop(key, None)
        self._rushed[key] = now
        while now >= self._calm and next(iter(self._rushed.values())) < now - _WITHIN:
            self._rushed.popitem(last=False)
        if len(self._rushed) < _MANY:
            return
        if now >= self._storm + _EACH:
            self._storm = now
        self._calm = min(now + _CALM, self._storm + _CALM_AT_MOST)

    def _line_up(self, key: Key) -> None:
        if key in self._hurried:
            self._ready.pop(key, None)
            self._urgent[key] = None
        else:
            self._ready[key] = None
        self._wake.set()

    async def drain(self) -> None:
        """Give out no more keys but urgent ones, and wait until the passes under way are over."""
        self._open = False
        while self._processing:
            self._idle.clear()
            await self._idle.wait()

    def _promote(self) -> float | None:
        """Make due keys ready; the time at which the next one is due, None when none is."""
        now = asyncio.get_running_loop().time()
        while self._heap:
            due, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
            elif due <= now:
                heapq.heappop(self._heap)
                self.add(key)
            else:
                return due
        return None


Reconcile = Callable[[Key], Awaitable[timedelta | None]]


async def run_passes(queue: WorkQueue, reconcile: Reconcile, count: int = 16) -> None:
    """Reconcile keys for ever, `count` at a time, urgent ones beyond that. An error in one pass never ends the rest."""
    running: set[Key] = set()
    async with asyncio.TaskGroup() as group:
        while True:
            key = await queue.get(lambda: len(running) < count)
            running.add(key)
            QUEUE.set(len(queue))
            group.create_task(_run(queue, reconcile, key, running), name=f"pass {key.namespace}/{key.name}")


async def _run(queue: WorkQueue, reconcile: Reconcile, key: Key, running: set[Key]) -> None:
    try:
        with PASS_SECONDS.time(), trace("reconcile", namespace=key.namespace, name=key.name):
            result = await _pass(queue, reconcile, key)
            annotate(result=result)
        PASSES.labels(result).inc()
    finally:
        running.discard(key)
        queue.done(key)


async def _pass(queue: WorkQueue, reconcile: Reconcile, key: Key) -> str:
    """One pass, and how it ended, as `metrics.PASSES` has it."""
    try:
        async with asyncio.timeout(_PASS_DEADLINE):
            requeue = await reconcile(key)
    except Conflict as error:
        _log.debug("object changed meanwhile, pass is repeated", rollout=key, error=str(error))
        queue.again(key, _CONFLICT_RETRY)
        return "conflict"
    except (OperatorError, TimeoutError) as error:
        delay = queue.fail(key)
        text = str(error) or type(error).__name__
        _log.warning("pass failed", rollout=key, error=text, retry_seconds=round(delay.total_seconds(), 1))
        return "unavailable"
    except Exception:  # noqa: BLE001 - one object's trouble must not stop the others
        delay = queue.fail(key)
        seconds = round(delay.total_seconds(), 1)
        _log.exception("pass failed by a defect of the operator", rollout=key, retry_seconds=seconds)
        return "defect"
    queue.forget(key)
    if requeue is not None:
        queue.after(key, requeue)
    return "ok"
