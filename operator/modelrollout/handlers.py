"""kopf wiring, and nothing else: every event of every kind that concerns us is handed to the main loop.

kopf is the event source alone. It never writes to an object: no finalizers, no annotations, no status. It runs in a
thread and loop of its own, because on its way out it cancels whatever runs in its loop, and because it sometimes does
not come back from a failure; `supervisor` ends it by force then, and starts it anew.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import kopf
import structlog

from modelrollout.core.values import JSON
from modelrollout.health import Pulse
from modelrollout.resources import Resource
from modelrollout.streams import WATCH_SECONDS, Streams

Deliver = Callable[[Resource, str | None, JSON], None]
"""Called in the main loop for each event: its kind, its type and the object."""

Login = Callable[[aiohttp.TraceConfig], Awaitable[tuple[str, aiohttp.ClientSession]]]
"""Called in kopf's loop: the API server's address and a session with credentials and this trace; kopf closes it."""

_log = structlog.get_logger(__name__)


class WatchThread:
    """One run of kopf over the given kinds. Made, started and stopped in the main loop; never started twice."""

    def __init__(
        self, kinds: tuple[Resource, ...], namespaces: tuple[str, ...], login: Login, deliver: Deliver, pulse: Pulse
    ) -> None:
        """No `namespaces` means all of them. `pulse` is felt in the main loop."""
        self._pulse = pulse
        self.failing = asyncio.Event()
        """Set once a part of kopf has ended: the rest should follow within seconds."""
        self.ended = asyncio.Event()
        """Set when the thread is over."""
        self.streams = Streams(kind.path(namespace) for kind in kinds for namespace in namespaces or (None,))
        self._loop = asyncio.get_running_loop()
        self._its_loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._namespaces = namespaces
        self._settings = _settings(kinds)
        self._registry = _registry(kinds, lambda: login(self.streams.trace()), self._hand_over(deliver))

    def start(self) -> None:
        """Begin to watch. A daemon thread: one that hangs does not keep the process alive."""
        threading.Thread(target=self._run, name="kopf", daemon=True).start()

    def stop(self) -> None:
        """Ask it to end; `ended` says when it has."""
        self._stop.set()

    def abandon(self) -> None:
        """End it by force: of several failures at a time kopf sometimes does not come back. May take a second call."""
        if self._its_loop is not None and not self._its_loop.is_closed():
            self._its_loop.call_soon_threadsafe(self._its_loop.stop)

    def _hand_over(self, deliver: Deliver) -> Deliver:
        def hand_over(resource: Resource, kind_of_event: str | None, obj: JSON) -> None:
            self._loop.call_soon_threadsafe(deliver, resource, kind_of_event, obj)

        return hand_over

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as error:  # noqa: BLE001 - kopf dies of many things; the supervisor starts it anew
            _log.warning("watches ended", error=repr(error))
        finally:
            self._tell(self.failing)
            self._tell(self.ended)

    async def _watch(self) -> None:
        self._its_loop = asyncio.get_running_loop()
        beating = asyncio.create_task(self._beat())
        existing = asyncio.all_tasks()  # kopf leaves those alone
        tasks = await kopf.spawn_tasks(
            registry=self._registry,
            settings=self._settings,
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=self._stop,
        )
        for task in tasks:
            task.add_done_callback(lambda _: self._tell(self.failing))
        try:
            await kopf.run_tasks(tasks, ignored=existing)
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        """Show that this loop turns, for as long as it is meant to."""
        try:
            while True:
                self._call(self._pulse.beat)
                await asyncio.sleep(1)
        finally:
            self._call(self._pulse.rest)

    def _tell(self, event: asyncio.Event) -> None:
        self._call(event.set)

    def _call(self, listener: Callable[[], None]) -> None:
        # The main loop is closed when the process ends; nobody listens then.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(listener)


class _CappedForever:
    """Back-offs from 0.1 to 2 s without end: kopf is to outlive an API server that is away for long."""

    def __iter__(self) -> Iterator[float]:
        delay = 0.1
        while True:
            yield delay
            delay = min(delay * 2, 2.0)


def _registry(
    kinds: tuple[Resource, ...], login: Callable[[], Awaitable[tuple[str, aiohttp.ClientSession]]], deliver: Deliver
) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    async def authenticate(**_: Any) -> kopf.AiohttpSession:
        server, session = await login()
        return kopf.AiohttpSession(server=server, aiohttp_session=session)

    kopf.on.login(registry=registry, backoff=1.0)(authenticate)
    for resource in kinds:
        kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=resource.plural)(
            _handler(resource, deliver)
        )
    return registry


def _handler(resource: Resource, deliver: Deliver) -> Callable[..., Awaitable[None]]:
    async def handle(event: Any, **_: Any) -> None:
        deliver(resource, event["type"], event["object"])

    return handle


def _settings(kinds: tuple[Resource, ...]) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.process.ultimate_exiting_timeout = None  # the supervisor decides about the process
    settings.posting.enabled = False
    settings.scanning.disabled = True  # no watches of definitions and namespaces
    settings.peering.standalone = True
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = _CappedForever()
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.inactivity_timeout = WATCH_SECONDS + 2  # then nobody is there who could end it
    settings.watching.reconnect_backoff = 0.2
    settings.watching.chunk_size = 1  # only the resourceVersion of a listing counts, see `watch_session`
    settings.queueing.idle_timeout = 0.5
    for resource in kinds:
        if resource.selector:
            key = (resource.group, resource.version, resource.plural)
            settings.watching.label_selectors[key] = resource.selector
    return settings
