"""The server's configuration and its reloads: TensorFlow Serving's ServerCore. `__main__` makes one, both APIs use it.

A reload goes through these steps in this order, under one lock, and undoes nothing when a later one fails: the list is
checked, it becomes *the* configuration, labels are replaced, models are added and removed, and then the reload waits,
for ever if need be, for the first version of every **new** model.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from playground.model_server.errors import Code, ServingError
from playground.model_server.labels import Labels
from playground.model_server.log import log
from playground.model_server.source import DiskSource
from playground.model_server.states import State

if TYPE_CHECKING:
    from tensorflow_serving.config.model_server_config_pb2 import ModelConfig, ModelServerConfig

    from playground.model_server.faults import Faults
    from playground.model_server.flags import Timing
    from playground.model_server.manager import Manager
    from playground.model_server.states import StateMonitor

_PLATFORM = "tensorflow"


class ServerCore:
    """Applies configurations; runs the disk poll and the manager's tick."""

    def __init__(
        self, manager: Manager, monitor: StateMonitor, faults: Faults, timing: Timing, *, allow_unavailable_labels: bool
    ) -> None:
        self.manager = manager
        self.monitor = monitor
        self.labels = Labels(monitor, allow_unavailable=allow_unavailable_labels)
        self.faults = faults
        self._source = DiskSource(manager)
        self._timing = timing
        self._config: ModelServerConfig | None = None
        self._lock = asyncio.Lock()
        self._configured = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start the periodic work."""
        for work in (self._tick_for_ever(), self._poll_for_ever()):
            self._tasks.add(asyncio.create_task(work))

    async def reload(self, config: ModelServerConfig, *, what: str = "model") -> None:
        """Apply a configuration, see the module's docstring; ServingError as the real server has it.

        A cancelled caller does not end it: the work goes on and keeps the lock.
        """
        await asyncio.shield(self._spawn(config, what))

    def _spawn(self, config: ModelServerConfig, what: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._reload(config, what))
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller may be gone; asked for, it is not reported as lost

    async def _reload(self, config: ModelServerConfig, what: str) -> None:
        async with self._lock:
            if not await self._ignored():
                await self._apply(config, what)

    async def _ignored(self) -> bool:
        """Do what the faults say; True when the reload is to be answered as if it had been applied."""
        self.faults.refresh()  # one that was asked for a moment ago, between two ticks, counts
        faults = self.faults.server
        if faults.hang_reload:
            log("W", "model_service_impl.cc", "playground fault: reload hangs")
            await asyncio.Event().wait()
        await asyncio.sleep(faults.reload_seconds)
        if faults.refuse_reload:
            raise ServingError(Code.INTERNAL, faults.refuse_reload)
        if faults.ignore_reload:
            log("W", "model_service_impl.cc", "playground fault: reload ignored")
        return faults.ignore_reload

    async def _apply(self, config: ModelServerConfig, what: str) -> None:
        if self._config is not None and _is_list(self._config) and not _is_list(config):
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Cannot transition to requested config. "
                "It is only legal to transition from one ModelConfigList to another.",
            )
        if not _is_list(config):
            log("I", "server_core.cc", "Taking no action for empty config.")
            return
        models = config.model_config_list.config
        _check_list(models)
        _check_platforms(self._config, models)
        self._config = config
        self.labels.replace(models)
        for model in models:
            if _platform(model) != _PLATFORM:
                raise ServingError(
                    Code.INVALID_ARGUMENT, f"Model {model.name} requests unsupported platform {model.model_platform}"
                )
        await self._load_new({model.name: model for model in models}, what)

    async def _load_new(self, models: dict[str, ModelConfig], what: str) -> None:
        new = [name for name in models if name not in self._source.names]
        with self.monitor.first_results(new) as first:
            self._source.configure(models)
            self.faults.look_at(self._source.base_paths)
            self._configured.set()
            results = await first
        failed = [
            f"{{{{name: {name} version: {version}}} due to error: {_text(state.code, state.message)}}}, "
            for name, (version, state) in results.items()
            if state.state is State.END
        ]
        if failed:
            joined = "".join(failed)
            raise ServingError(Code.UNKNOWN, f"{len(failed)} {what}(s) did not become available: {joined}}}")

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._timing.tick)
            self.faults.refresh()
            await self.manager.tick()

    async def _poll_for_ever(self) -> None:
        await self._configured.wait()
        self._source.poll()
        while self._timing.disk_poll > 0:
            await asyncio.sleep(self._timing.disk_poll)
            self._source.poll()


def _text(code: Code, message: str) -> str:
    return f"{code.name}: {message}" if message else code.name


def _is_list(config: ModelServerConfig) -> bool:
    return bool(config.WhichOneof("config") == "model_config_list")


def _check_list(models: list[ModelConfig]) -> None:
    seen = set()
    for model in models:
        if model.name in seen:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Illegal to list model {model.name} multiple times in config list"
            )
        seen.add(model.name)
        if not model.base_path.startswith("/") and "://" not in model.base_path:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected model {model.name} to have an absolute path or URI; got base_path()={model.base_path}",
            )


def _check_platforms(old: ModelServerConfig | None, models: list[ModelConfig]) -> None:
    before = {model.name: _platform(model) for model in (old.model_config_list.config if old else [])}
    for model in models:
        if model.name in before and _platform(model) != before[model.name]:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Illegal to change a model's platform. For model {model.name} platform was {before[model.name]} "
                f"and new platform requested is {model.model_platform}",
            )


def _platform(model: ModelConfig) -> str:
    if model.model_platform:
        return str(model.model_platform)
    if model.model_type:
        return _PLATFORM
    raise ServingError(
        Code.INVALID_ARGUMENT,
        "Illegal setting neither ModelServerConfig::model_type (deprecated) nor ModelServerConfig::model_platform, "
        f"model name is {model.name}",
    )
