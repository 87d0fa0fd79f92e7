"""The model server adapter against a gRPC server with canned replies."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest

from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.adapters.protos import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ReloadConfigRequest,
    ReloadConfigResponse,
)
from modelrollout.core.model_config import ModelTarget
from modelrollout.core.snapshot import LoadState, ServerReport, VersionState
from modelrollout.errors import ReloadRefused, ServerUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TARGET = ModelTarget("m", "/models/m", (101, 102), (("stable", 101),))


@dataclass
class Canned:
    """What a server answers: states by number, labels, and codes for calls that fail."""

    states: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    status_error: tuple[grpc.StatusCode, str] | None = None
    label_error: tuple[grpc.StatusCode, str] = (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Unrecognized servable version label: x",
    )
    reload_error: tuple[grpc.StatusCode, str] | None = None
    reloaded: list[Any] = field(default_factory=list)

    async def status(self, _: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """GetModelStatus."""
        if self.status_error:
            await context.abort(*self.status_error)
        answer = GetModelStatusResponse()
        for version, (state, code, message) in self.states.items():
            answer.model_version_status.add(
                version=version, state=state, status={"error_code": code, "error_message": message}
            )
        return answer

    async def metadata(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """GetModelMetadata."""
        assert list(request.metadata_field) == ["signature_def"]
        spec = request.model_spec
        version = self.labels.get(spec.version_label) if spec.version_label else spec.version.value
        if version is None:
            await context.abort(*self.label_error)
        if self.states.get(int(version or 0), (0,))[0] != 30:
            await context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found")
        answer = GetModelMetadataResponse()
        answer.model_spec.version.value = version
        return answer

    async def reload(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        """HandleReloadConfigRequest."""
        self.reloaded.append(request)
        if self.reload_error:
            await context.abort(*self.reload_error)
        return ReloadConfigResponse()


@asynccontextmanager
async def serving(canned: Canned, kept: float = 10.0) -> AsyncIterator[GrpcModelServers]:
    """The adapter for servers on the port where the canned one listens."""
    server = grpc.aio.server()
    handlers: dict[str, dict[str, tuple[Any, Any]]] = {
        "tensorflow.serving.ModelService": {
            "GetModelStatus": (canned.status, GetModelStatusRequest),
            "HandleReloadConfigRequest": (canned.reload, ReloadConfigRequest),
        },
        "tensorflow.serving.PredictionService": {"GetModelMetadata": (canned.metadata, GetModelMetadataRequest)},
    }
    for service, methods in handlers.items():
        made: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            name: grpc.unary_unary_rpc_method_handler(
                call,
                request_deserializer=request.FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (call, request) in methods.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, made),))
    port = server.add_insecure_port("0.0.0.0:0")
    await server.start()
    servers = GrpcModelServers(port, kept)
    try:
        yield servers
    finally:
        await servers.close()
        await server.stop(None)


async def test_a_report_tells_states_labels_and_what_answers() -> None:
    """Versions with their errors, labels that resolve, and versions whose metadata came."""
    states = {102: (50, 5, "no such directory"), 101: (30, 0, ""), 100: (40, 0, "")}
    async with serving(Canned(states, {"stable": 101})) as servers:
        report = await servers.report("127.0.0.1", "m")
    assert report == ServerReport(
        versions=(
            VersionState(102, LoadState.END, "no such directory"),
            VersionState(101, LoadState.AVAILABLE),
            VersionState(100, LoadState.UNLOADING),
        ),
        labels={"stable": 101},
        answering=frozenset({101}),
    )


async def test_a_server_without_the_model_has_an_empty_report() -> None:
    """The server answers; the model is just not there yet."""
    canned = Canned(status_error=(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model m"))
    async with serving(canned) as servers:
        assert await servers.report("127.0.0.1", "m") == ServerReport()


@pytest.mark.parametrize(
    "error",
    [
        (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Specific(m, 2)"),
        (grpc.StatusCode.UNAVAILABLE, "Model labels does not init yet.stable"),
    ],
)
async def test_a_label_that_does_not_resolve_is_left_out(error: tuple[grpc.StatusCode, str]) -> None:
    """Neither a dangling label nor a server without labels makes the report fail."""
    async with serving(Canned({101: (30, 0, "")}, label_error=error)) as servers:
        report = await servers.report("127.0.0.1", "m")
    assert (report.labels, report.answering) == ({}, frozenset({101}))


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED])
async def test_a_server_that_cannot_answer_is_unavailable(code: grpc.StatusCode) -> None:
    """Its own words are in the error."""
    async with serving(Canned(status_error=(code, "busy"))) as servers:
        with pytest.raises(ServerUnavailable, match="busy"):
            await servers.report("127.0.0.1", "m")


async def test_nothing_that_listens_is_unavailable() -> None:
    """A refused connection is no report."""
    servers = GrpcModelServers(1)
    with pytest.raises(ServerUnavailable):
        await servers.report("127.0.0.1", "m")
    with pytest.raises(ServerUnavailable):
        await servers.reload("127.0.0.1", TARGET)
    await servers.close()


async def test_a_reload_sends_the_whole_configuration() -> None:
    """Versions, labels, path and platform arrive as they are meant."""
    canned = Canned()
    async with serving(canned) as servers:
        await servers.reload("127.0.0.1", TARGET)
    (config,) = canned.reloaded[0].config.model_config_list.config
    assert (config.name, config.base_path, config.model_platform) == ("m", "/models/m", "tensorflow")
    assert list(config.model_version_policy.specific.versions) == [101, 102]
    assert dict(config.version_labels) == {"stable": 101}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.FAILED_PRECONDITION, ReloadRefused),
        (grpc.StatusCode.UNKNOWN, ReloadRefused),
        (grpc.StatusCode.UNAVAILABLE, ServerUnavailable),
    ],
)
async def test_a_refused_reload_is_told_from_one_without_answer(code: grpc.StatusCode, kind: type[Exception]) -> None:
    """Only a real answer says that the configuration was not taken."""
    async with serving(Canned(reload_error=(code, "not available for inference"))) as servers:
        with pytest.raises(kind, match="not available for inference"):
            await servers.reload("127.0.0.1", TARGET)


async def test_server_can_be_asked_again_after_its_channel_was_closed() -> None:
    """Servers come and go by the thousand, and idle ones are asked rarely: unused channels are closed."""
    async with serving(Canned({101: (30, 0, "")}), kept=0.0) as servers:
        for number in [*range(20), *range(20)]:
            report = await servers.report(f"127.0.0.{number + 1}", "m")
            assert report.available == {101}
