"""A gRPC server with a model server's services and canned replies, for tests of the adapter that asks it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.adapters.protos import (
    GetModelMetadataRequest,
    GetModelMetadataResponse,
    GetModelStatusRequest,
    GetModelStatusResponse,
    ReloadConfigRequest,
    ReloadConfigResponse,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from modelrollout.access import ModelServerAccess


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
    asked: list[Any] = field(default_factory=list)
    """Model specifications of metadata requests."""

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
        self.asked.append(spec)
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
async def serving(
    canned: Canned,
    kept: float = 10.0,
    credentials: grpc.ServerCredentials | None = None,
    access: ModelServerAccess | None = None,
) -> AsyncIterator[GrpcModelServers]:
    """The adapter, with this access, for servers on the port where the canned one listens."""
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
    where = "0.0.0.0:0"
    port = server.add_secure_port(where, credentials) if credentials else server.add_insecure_port(where)
    await server.start()
    servers = GrpcModelServers(port, kept, access=access)
    try:
        yield servers
    finally:
        await servers.close()
        await server.stop(None)
