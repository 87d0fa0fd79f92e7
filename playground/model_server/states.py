"""What the server knows about every version it ever had: the answers of GetModelStatus.

`manager` publishes, `core` waits and checks labels, `grpc_api` and `rest_api` read. Nothing is ever forgotten: a
version that was unloaded stays here as END until the process ends.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from playground.model_server.errors import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class State(IntEnum):
    """States of a version, numbered as in get_model_status.proto."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class VersionState:
    """A state; `code` and `message` say why a version ended, OK when it was unloaded."""

    state: State
    code: Code = Code.OK
    message: str = ""


class StateMonitor:
    """The latest state per model and version, and news of changes. For the event loop's thread only."""

    def __init__(self) -> None:
        self._states: dict[str, dict[int, VersionState]] = {}
        self._listeners: list[Callable[[str, int, VersionState], None]] = []

    def publish(self, name: str, version: int, state: VersionState) -> None:
        """Record a change and tell whoever waits."""
        self._states.setdefault(name, {})[version] = state
        for listener in list(self._listeners):
            listener(name, version, state)

    def versions(self, name: str) -> dict[int, VersionState]:
        """States of a model's versions, highest version first; empty for an unknown model."""
        return dict(sorted(self._states.get(name, {}).items(), reverse=True))

    def is_available(self, name: str, version: int) -> bool:
        """Whether requests for that version are answered now."""
        known = self._states.get(name, {}).get(version)
        return known is not None and known.state is State.AVAILABLE

    @contextmanager
    def first_results(self, names: Iterable[str]) -> Iterator[asyncio.Future[dict[str, tuple[int, VersionState]]]]:
        """A future that gets, per name, the first version to become AVAILABLE or END from now on."""
        missing = set(names)
        results: dict[str, tuple[int, VersionState]] = {}
        done: asyncio.Future[dict[str, tuple[int, VersionState]]] = asyncio.get_running_loop().create_future()

        def listen(name: str, version: int, state: VersionState) -> None:
            if name in missing and state.state in (State.AVAILABLE, State.END):
                missing.discard(name)
                results[name] = (version, state)
                if not missing and not done.done():
                    done.set_result(results)

        if not missing:
            done.set_result(results)
        self._listeners.append(listen)
        try:
            yield done
        finally:
            self._listeners.remove(listen)
