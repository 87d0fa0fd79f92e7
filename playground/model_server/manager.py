"""Loads and unloads versions: TensorFlow Serving's AspiredVersionsManager and its serving map.

`source` tells which versions are aspired, `tick` (every 100 ms, from `core`) does one action at most, `inference`
borrows versions for requests. Everything but the loading itself runs on the event loop's thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from playground.model_server.errors import Code, ServingError
from playground.model_server.policy import Managed, Stage, Verb, next_action
from playground.model_server.states import State, VersionState

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping
    from pathlib import Path

    from playground.model_server.states import StateMonitor
    from playground.model_server.tf_session import SavedModel


class Loader(Protocol):
    """Makes a version ready to serve, and frees it."""

    async def load(self, name: str, version: int, path: Path, loaded: list[int]) -> SavedModel:
        """Load it beside the versions `loaded`; ServingError if that fails."""

    async def unload(self, model: SavedModel) -> None:
        """Free it."""


@dataclass(frozen=True)
class LoadSettings:
    """`load_threads` and `unload_threads` of 0 mean: inside the tick, which then waits. `retry` is in seconds."""

    load_threads: int
    unload_threads: int
    retries: int
    retry: float


@dataclass
class Servable:
    """One version under management."""

    name: str
    version: int
    path: Path
    aspired: bool = True
    stage: Stage = Stage.NEW
    model: SavedModel | None = None
    users: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)


class Manager:
    """The versions of all models."""

    def __init__(self, loader: Loader, monitor: StateMonitor, settings: LoadSettings) -> None:
        self._loader = loader
        self._monitor = monitor
        self._settings = settings
        self._servables: dict[str, dict[int, Servable]] = {}
        self._pending: dict[str, dict[int, Path]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = {Verb.LOAD: 0, Verb.UNLOAD: 0}
        self.initial = True
        """While True, loads run beside the tick whatever the settings say, as they do at the real server's start."""

    def aspire(self, name: str, versions: Mapping[int, Path]) -> None:
        """Say which versions a model should have; takes effect at a tick."""
        self._pending[name] = dict(versions)

    @contextlib.contextmanager
    def borrow(self, name: str, version: int | None) -> Iterator[Servable]:
        """A READY version (None: the highest), kept loaded for the length of the block. ServingError NOT_FOUND."""
        servable = self._find(name, version)
        servable.users += 1
        try:
            yield servable
        finally:
            servable.users -= 1
            if not servable.users:
                servable.idle.set()

    def _find(self, name: str, version: int | None) -> Servable:
        ready = [known for known in self._servables.get(name, {}).values() if known.stage is Stage.READY]
        matching = [known for known in ready if version is None or known.version == version]
        if not matching:
            request = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {request}")
        return max(matching, key=lambda known: known.version)

    async def tick(self) -> None:
        """One round: forget what has ended, take over what is aspired, then at most one load or unload."""
        self._forget()
        for name in [name for name, versions in self._pending.items() if not self._is_deferred(name, versions)]:
            self._take_over(name, self._pending.pop(name))
        action = self._choose()
        if action is None:
            return
        verb, servable = action
        work = self._load(servable) if verb is Verb.LOAD else self._unload(servable)
        settings = self._settings
        threads = settings.load_threads if verb is Verb.LOAD else settings.unload_threads
        if threads or self.initial:
            self._start(verb, work)
        else:
            await work

    def _forget(self) -> None:
        for servables in self._servables.values():
            for known in list(servables.values()):
                gone = known.stage in (Stage.NEW, Stage.DONE, Stage.FAILED)
                if gone and not known.aspired:
                    del servables[known.version]
                    if known.stage is Stage.NEW:
                        self._publish(known, State.END)

    def _is_deferred(self, name: str, versions: Mapping[int, Path]) -> bool:
        """A version that comes back while it is still leaving has to be gone first."""
        return any(known.version in versions and not known.aspired for known in self._servables.get(name, {}).values())

    def _take_over(self, name: str, versions: Mapping[int, Path]) -> None:
        servables = self._servables.setdefault(name, {})
        for known in servables.values():
            known.aspired = known.version in versions
        for version, path in versions.items():
            if version not in servables:
                servables[version] = Servable(name, version, path)
                self._publish(servables[version], State.START)

    def _choose(self) -> tuple[Verb, Servable] | None:
        candidates = []
        for servables in self._servables.values():
            action = next_action([Managed(known.version, known.aspired, known.stage) for known in servables.values()])
            if action is not None and self._has_room(action[0]):
                candidates.append((action[0], servables[action[1]]))
        return min(candidates, key=lambda candidate: candidate[0].value) if candidates else None

    def _has_room(self, verb: Verb) -> bool:
        threads = self._settings.load_threads if verb is Verb.LOAD else self._settings.unload_threads
        return self.initial or not threads or self._running[verb] < threads

    def _start(self, verb: Verb, work: Coroutine[None, None, None]) -> None:
        async def counted() -> None:
            self._running[verb] += 1
            try:
                await work
            finally:
                self._running[verb] -= 1

        task = asyncio.create_task(counted())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _load(self, servable: Servable) -> None:
        servable.stage = Stage.LOADING
        self._publish(servable, State.LOADING)
        for attempt in range(1 + self._settings.retries):
            if attempt:
                await asyncio.sleep(self._settings.retry)
            try:
                servable.model = await self._loader.load(
                    servable.name, servable.version, servable.path, self._occupied(servable)
                )
            except ServingError as error:
                failure = error
            else:
                servable.stage = Stage.READY
                self._publish(servable, State.AVAILABLE)
                return
            if not servable.aspired:  # noticed only after a sleep and an attempt, as in the real server
                break
        servable.stage = Stage.FAILED
        self._monitor.publish(servable.name, servable.version, VersionState(State.END, failure.code, failure.message))

    async def _unload(self, servable: Servable) -> None:
        servable.stage = Stage.UNLOADING
        self._publish(servable, State.UNLOADING)
        while servable.users:
            servable.idle.clear()
            await servable.idle.wait()
        if servable.model is not None:
            await self._loader.unload(servable.model)
            servable.model = None
        servable.stage = Stage.DONE
        self._publish(servable, State.END)

    def _occupied(self, servable: Servable) -> list[int]:
        taking = (Stage.LOADING, Stage.READY, Stage.UNLOADING)
        others = self._servables[servable.name].values()
        return [other.version for other in others if other is not servable and other.stage in taking]

    def _publish(self, servable: Servable, state: State) -> None:
        self._monitor.publish(servable.name, servable.version, VersionState(state))
