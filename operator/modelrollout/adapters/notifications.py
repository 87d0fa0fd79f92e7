"""Notifications to chats, mail and pagers: `ports.Events` around another one, delivered through apprise.

Run in the background by `process`. Nothing here delays a pass: what happens is put into a bounded queue, and each
delivery runs in a thread of its own pool. URLs hold secrets; no log line has more of one than its scheme.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from modelrollout.core.topics import Topic, topic_of
from modelrollout.core.values import JSON
from modelrollout.metrics import NOTIFICATIONS
from modelrollout.ports import Events

_WAITING = 200
_THREADS = 4
_LONGEST = 1024

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Notice:
    """What is sent. `tone` is apprise's: info, success, warning or failure."""

    title: str
    body: str
    tone: str


Send = Callable[[str, Notice], bool]
"""Send to one URL, in a thread; whether it was taken. May raise, may take long."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one attempt may take and how long to wait before each further one, in seconds."""

    attempt: float = 20.0
    pauses: Sequence[float] = (2.0, 10.0, 30.0)


_TONES = {Topic.PROMOTED: "success", Topic.ABORTED: "failure", Topic.STALLED: "warning", Topic.WAITING: "warning"}


def send_with_apprise(url: str, notice: Notice) -> bool:
    """Send as apprise understands the URL."""
    import apprise  # noqa: PLC0415 - half a second and 20 MB that only an operator with notifications pays

    target = apprise.Apprise()
    return bool(target.add(url)) and bool(
        target.notify(title=notice.title, body=notice.body, notify_type=apprise.NotifyType(notice.tone))
    )


@dataclass(slots=True)
class Notifier:
    """Passes every event on to `events`, and sends those of the wanted topics to each URL of the file."""

    events: Events
    urls: Path
    topics: frozenset[Topic]
    send: Send = send_with_apprise
    patience: Patience = field(default_factory=Patience)
    _waiting: asyncio.Queue[Notice] = field(default_factory=lambda: asyncio.Queue(_WAITING))
    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_THREADS, "notify"))

    def emit(self, rollout: JSON, reason: str, message: str, warning: bool) -> None:
        """As ports.Events. Dropped, and counted, when too many wait."""
        self.events.emit(rollout, reason, message, warning)
        topic = topic_of(reason)
        if topic is None or topic not in self.topics:
            return
        metadata = rollout["metadata"]
        title = f"{metadata['namespace']}/{metadata['name']}: {reason}"
        try:
            self._waiting.put_nowait(Notice(title, message[:_LONGEST], _TONES.get(topic, "info")))
        except asyncio.QueueFull:
            NOTIFICATIONS.labels("dropped").inc()
            _log.warning("notification dropped, too many wait", title=title)

    async def run(self) -> None:
        """Deliver for ever, one notice after the other, each to all URLs side by side."""
        while True:
            notice = await self._waiting.get()
            try:
                await asyncio.gather(*(self._deliver(number, url, notice) for number, url in self._targets()))
            finally:
                self._waiting.task_done()

    async def flush(self) -> None:
        """Wait until everything so far is delivered or given up."""
        await self._waiting.join()

    def _targets(self) -> list[tuple[int, str]]:
        """The URLs with their line numbers, read anew each time: a mounted Secret may change."""
        try:
            lines = self.urls.read_text().splitlines()
        except (OSError, ValueError) as error:
            NOTIFICATIONS.labels("failed").inc()
            _log.warning("the file of notification URLs cannot be read", error=type(error).__name__)
            return []
        numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
        return [(number, url) for number, url in numbered if url and not url.startswith("#")]

    async def _deliver(self, number: int, url: str, notice: Notice) -> None:
        target, problem = f"line {number} ({url.partition('://')[0] if '://' in url else 'no URL'})", ""
        for pause in (0.0, *self.patience.pauses):
            await asyncio.sleep(pause)
            problem = await self._attempt(url, notice)
            if not problem:
                NOTIFICATIONS.labels("sent").inc()
                return
        NOTIFICATIONS.labels("failed").inc()
        _log.warning("notification given up", target=target, title=notice.title, problem=problem)

    async def _attempt(self, url: str, notice: Notice) -> str:
        """What went wrong, without words of others, which may hold the URL; empty when it was taken."""
        work = asyncio.get_running_loop().run_in_executor(self._pool, self.send, url, notice)
        try:
            async with asyncio.timeout(self.patience.attempt):
                return "" if await work else "not taken"
        except TimeoutError:
            return "no answer in time"
        except Exception as error:  # noqa: BLE001 - one target's plugin must not end notifications
            return type(error).__name__
