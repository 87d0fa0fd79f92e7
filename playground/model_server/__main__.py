"""`python -m playground.model_server --flag=value ...`: the process, from its flags to its end.

The ports open once every configured model has a version; a model whose first version cannot be loaded ends the
process with status 255. It binds $POD_IP if set. SIGTERM does nothing where the real one, as process 1 of its
container, ignores it: as process 1 or with PLAYGROUND_PID1=1.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

from playground.model_server import settings_files
from playground.model_server.core import ServerCore
from playground.model_server.errors import Code, ServingError
from playground.model_server.faults import Faults
from playground.model_server.flags import FlagError, Flags, Timing, parse
from playground.model_server.inference import Inference
from playground.model_server.libtensorflow import library
from playground.model_server.loader import SavedModelLoader
from playground.model_server.log import log
from playground.model_server.manager import LoadSettings, Manager
from playground.model_server.metrics import Metrics
from playground.model_server.states import StateMonitor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc.aio
    from aiohttp import web
    from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

_FAILED = 255
_VERSION = "TensorFlow ModelServer: 2.20.0-rc0 (playground stand-in)"


def main(arguments: list[str]) -> int:
    """Serve until a signal ends the process; returns an exit status when it cannot."""
    _set_signals()
    try:
        flags, unknown = parse(arguments)
    except FlagError as error:
        print(error, file=sys.stderr)
        return _FAILED
    for argument in unknown:
        print(f"unknown argument: {argument}", flush=True)
    if flags.version:
        print(_VERSION)
        return 0
    try:
        asyncio.run(_serve(flags))
    except ServingError as error:
        print(f"Failed to start server. Error: {error}", file=sys.stderr, flush=True)
        # Threads may still be loading other versions: as in the real server, nothing is waited for.
        os._exit(_FAILED)
    return 0


def _set_signals() -> None:
    is_process_1 = os.getpid() == 1 or os.environ.get("PLAYGROUND_PID1") == "1"
    signal.signal(signal.SIGTERM, signal.SIG_IGN if is_process_1 else signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def _serve(flags: Flags) -> None:
    if not flags.port or flags.port == flags.rest_api_port:
        raise ServingError(Code.INVALID_ARGUMENT, "server_options.grpc_port and http_port must be set and differ")
    timing, metrics, monitor, faults = Timing.of(flags), Metrics(), StateMonitor(), Faults()
    metrics_path = settings_files.metrics_path(flags.monitoring_config_file)
    config = _config(flags)
    await _load_library()
    loader = SavedModelLoader(faults, metrics, flags.saved_model_tags.split(","))
    settings = LoadSettings(flags.num_load_threads, flags.num_unload_threads, flags.max_num_load_retries, timing.retry)
    manager = Manager(loader, monitor, settings)
    core = ServerCore(
        manager, monitor, faults, timing,
        allow_unavailable_labels=flags.allow_version_labels_for_unavailable_models,
    )  # fmt: skip
    core.start()
    await core.reload(config, what="servable")
    manager.initial = False
    inference = Inference(core, metrics)

    def listen() -> Awaitable[grpc.aio.Server]:
        return _listen_grpc(flags, core, inference, metrics)

    listening = await listen()
    rest = await _listen_rest(flags, core, inference, metrics, metrics_path)
    await asyncio.gather(_close_on_demand(listening, listen, core, timing), _follow_file(flags, timing, core))
    del rest  # it stops when nothing refers to it any more


async def _load_library() -> None:
    try:
        await asyncio.to_thread(library)
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"TensorFlow's libraries are not there: {error}") from error


def _config(flags: Flags) -> ModelServerConfig:
    if flags.model_config_file:
        return settings_files.models(flags.model_config_file)
    if not flags.model_base_path:
        raise ServingError(Code.INVALID_ARGUMENT, "Both server_options.model_base_path and server_options.model_config_file are empty!")  # fmt: skip  # noqa: E501
    return settings_files.single_model(flags.model_name, flags.model_base_path)


def _address() -> str:
    return os.environ.get("POD_IP") or "0.0.0.0"  # noqa: S104 - as the real server


def _no_port(error: Exception) -> ServingError:
    return ServingError(Code.UNKNOWN, f"Failed to start server on {_address()}: {error}")


async def _close_on_demand(
    listening: grpc.aio.Server, listen: Callable[[], Awaitable[grpc.aio.Server]], core: ServerCore, timing: Timing
) -> None:
    """Keep the gRPC port closed while a fault wants that."""
    closed = False
    while True:
        await asyncio.sleep(timing.tick)
        if core.faults.server.close_grpc == closed:
            continue
        closed = not closed
        if closed:
            await listening.stop(None)
            log("W", "model_servers/server.cc", "playground fault: the gRPC port is closed")
        else:
            listening = await listen()


async def _listen_grpc(flags: Flags, core: ServerCore, inference: Inference, metrics: Metrics) -> grpc.aio.Server:
    # Imports in here take longer than TensorFlow takes to load a model.
    from playground.model_server.grpc_api import server  # noqa: PLC0415

    listening = server(
        core, inference, metrics,
        packed=flags.enable_serialization_as_tensor_content, health=flags.enable_grpc_healthcheck_service,
    )  # fmt: skip
    try:
        listening.add_insecure_port(f"{_address()}:{flags.port}")
        await listening.start()
    except (OSError, RuntimeError) as error:
        raise _no_port(error) from error
    log("I", "model_servers/server.cc", f"Running gRPC ModelServer at {_address()}:{flags.port} ...")
    return listening


async def _listen_rest(
    flags: Flags, core: ServerCore, inference: Inference, metrics: Metrics, metrics_path: str | None
) -> web.ServerRunner | None:
    """Answer over REST, for as long as the result is referred to; None without a port for it."""
    from aiohttp import web  # noqa: PLC0415 - as above

    from playground.model_server.rest_api import RestApi  # noqa: PLC0415

    if not flags.rest_api_port:
        return None
    rest = RestApi(core, inference, metrics, metrics_path, flags.rest_api_timeout_in_ms / 1000)
    runner = web.ServerRunner(web.Server(rest.handle))
    try:
        await runner.setup()
        await web.TCPSite(runner, _address(), flags.rest_api_port).start()
    except OSError as error:
        raise _no_port(error) from error
    log("I", "model_servers/server.cc", f"Exporting HTTP/REST API at:{_address()}:{flags.rest_api_port} ...")
    return runner


async def _follow_file(flags: Flags, timing: Timing, core: ServerCore) -> None:
    """Apply the model config file again and again, unchanged or not, from right after the start."""
    while timing.config_poll > 0 and flags.model_config_file:
        try:
            await core.reload(settings_files.models(flags.model_config_file))
        except ServingError as error:
            log("E", "model_servers/server.cc", f"PollFilesystemAndReloadConfig failed to ReloadConfig: {error}")
        await asyncio.sleep(timing.config_poll)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
