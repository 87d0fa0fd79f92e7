"""The gRPC services of the server. `__main__` makes the server; errors become the call's status."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio
from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
from tensorflow_serving.apis.classification_pb2 import ClassificationRequest, ClassificationResponse
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigResponse
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse
from tensorflow_serving.apis.regression_pb2 import RegressionRequest, RegressionResponse

from playground.model_server import replies, results
from playground.model_server.errors import Code, ServingError
from playground.model_server.tensors import from_proto, to_proto

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest, GetModelMetadataResponse
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest, GetModelStatusResponse
    from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
    from tensorflow_serving.apis.model_pb2 import ModelSpec

    from playground.model_server.core import ServerCore
    from playground.model_server.inference import Answer, Inference
    from playground.model_server.metrics import Metrics

    Context = grpc.aio.ServicerContext[Any, Any]

_LONGEST_MESSAGE = 1024
_STATUS = {code.value[0]: code for code in grpc.StatusCode}


async def _abort(context: Context, error: ServingError) -> NoReturn:
    message = error.message
    if len(message) > _LONGEST_MESSAGE:
        message = message[:_LONGEST_MESSAGE] + "...TRUNCATED"
    await context.abort(_STATUS[error.code], message)


def _require_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise ServingError(Code.INVALID_ARGUMENT, "Missing ModelSpec")


def _require_signatures(request: GetModelMetadataRequest) -> None:
    fields = list(request.metadata_field)
    if not fields:
        raise ServingError(Code.INVALID_ARGUMENT, "GetModelMetadataRequest must specify at least one metadata_field")
    if fields != ["signature_def"]:
        raise ServingError(Code.INVALID_ARGUMENT, f"Metadata field {fields[0]} is not supported")


def _require_list(request: ReloadConfigRequest) -> None:
    if request.config.WhichOneof("config") != "model_config_list":
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "ServerModelConfig type not supported by HandleReloadConfigRequest. "
            "Only ModelConfigList is currently supported",
        )


def _fill(spec: ModelSpec, request: Any, answer: Answer) -> None:
    spec.name = request.model_spec.name
    spec.signature_name = answer.signature
    spec.version.value = answer.version


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]  # no types
    """Predict, Classify, Regress, GetModelMetadata; MultiInference stays UNIMPLEMENTED."""

    def __init__(self, inference: Inference, metrics: Metrics, *, packed: bool) -> None:
        """`packed`: answer with tensor_content instead of typed fields."""
        self._inference = inference
        self._metrics = metrics
        self._packed = packed

    async def _counted(self, api: str, request: Any, context: Context, work: Callable[[Any], Awaitable[Any]]) -> Any:
        started = time.perf_counter()
        name = request.model_spec.name
        try:
            _require_spec(request)
            reply = await work(request)
        except ServingError as error:
            self._metrics.answered(name, error.code.name, api, "GRPC", 0)
            await _abort(context, error)
        except asyncio.CancelledError:
            late = (context.time_remaining() or 0) <= 0
            self._metrics.answered(name, "DEADLINE_EXCEEDED" if late else "CANCELLED", api, "GRPC", 0)
            raise
        self._metrics.answered(name, "OK", api, "GRPC", time.perf_counter() - started)
        return reply

    async def Predict(  # noqa: N802 - gRPC's name
        self, request: PredictRequest, context: Context
    ) -> PredictResponse:
        """Run a signature on tensors."""
        return await self._counted("Predict", request, context, self._predict)

    async def Classify(  # noqa: N802 - gRPC's name
        self, request: ClassificationRequest, context: Context
    ) -> ClassificationResponse:
        """Classify tf.Examples."""
        return await self._counted("Classify", request, context, self._classify)

    async def Regress(  # noqa: N802 - gRPC's name
        self, request: RegressionRequest, context: Context
    ) -> RegressionResponse:
        """Regress on tf.Examples."""
        return await self._counted("Regress", request, context, self._regress)

    async def GetModelMetadata(  # noqa: N802 - gRPC's name
        self, request: GetModelMetadataRequest, context: Context
    ) -> GetModelMetadataResponse:
        """Signatures of a version that serves. Not counted, as in the real server."""
        try:
            _require_spec(request)
            _require_signatures(request)
            return replies.metadata(self._inference, request.model_spec)
        except ServingError as error:
            await _abort(context, error)

    async def _predict(self, request: PredictRequest) -> PredictResponse:
        inputs = {alias: from_proto(proto) for alias, proto in request.inputs.items()}
        answer = await self._inference.predict(request.model_spec, inputs, request.output_filter)
        reply = PredictResponse()
        _fill(reply.model_spec, request, answer)
        for alias, tensor in answer.outputs.items():
            to_proto(tensor, reply.outputs[alias], packed=self._packed)
        return reply

    async def _classify(self, request: ClassificationRequest) -> ClassificationResponse:
        examples = results.serialised(request.input)
        answer = await self._inference.examples(request.model_spec, "Classify", examples)
        reply = ClassificationResponse(result=results.classifications(answer.outputs, len(examples)))
        _fill(reply.model_spec, request, answer)
        return reply

    async def _regress(self, request: RegressionRequest) -> RegressionResponse:
        examples = results.serialised(request.input)
        answer = await self._inference.examples(request.model_spec, "Regress", examples)
        reply = RegressionResponse(result=results.regressions(answer.outputs, len(examples)))
        _fill(reply.model_spec, request, answer)
        return reply


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]  # no types
    """GetModelStatus and HandleReloadConfigRequest."""

    def __init__(self, core: ServerCore) -> None:
        self._core = core

    async def GetModelStatus(  # noqa: N802 - gRPC's name
        self, request: GetModelStatusRequest, context: Context
    ) -> GetModelStatusResponse:
        """States of a model's versions."""
        try:
            _require_spec(request)
            return replies.status(self._core.monitor, request.model_spec)
        except ServingError as error:
            await _abort(context, error)

    async def HandleReloadConfigRequest(  # noqa: N802 - gRPC's name
        self, request: ReloadConfigRequest, context: Context
    ) -> ReloadConfigResponse:
        """Replace the whole list of models; answers as late as `core` says, possibly never."""
        try:
            _require_list(request)
            await self._core.reload(request.config)
        except ServingError as error:
            await _abort(context, error)
        reply = ReloadConfigResponse()
        reply.status.error_code = Code.OK
        return reply


def server(core: ServerCore, inference: Inference, metrics: Metrics, *, packed: bool, health: bool) -> grpc.aio.Server:
    """A server with all services, not yet listening."""
    made = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            # A busy machine makes requests late, it must not make them fail (the default cancels some beyond 1000).
            ("grpc.server.max_pending_requests", 100_000),
            ("grpc.server.max_pending_requests_hard_limit", 200_000),
            ("grpc.max_receive_message_length", 2**31 - 1),
            ("grpc.max_send_message_length", 2**31 - 1),
        ]
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        PredictionService(inference, metrics, packed=packed), made
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(ModelService(core), made)
    if health:
        _add_health(made)
    return made


def _add_health(made: grpc.aio.Server) -> None:
    """The health service says that the port is open, nothing about models."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - rarely used
    from grpc_health.v1.health import HealthServicer  # noqa: PLC0415

    servicer = HealthServicer()
    for name in ("", "ModelService", "PredictionService"):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, made)
