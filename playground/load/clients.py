"""One request over REST or gRPC, and who answered it. Used by the generator."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import aiohttp
import grpc
import grpc.aio
from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """The version that answered (None when none did) and what was wrong, empty when nothing was."""

    version: int | None
    error: str = ""


class Client(Protocol):
    """Sends one request for `x` in the name of a user. Errors are outcomes, never exceptions."""

    async def ask(self, x: float, user: str) -> Outcome:
        """The outcome of one request."""
        ...

    async def close(self) -> None:
        """Give its connections back."""
        ...


_MALFORMED = Outcome(None, "MALFORMED")
"""An answer of success without the outputs that models of the playground have."""


def _checked(y: float, version: int, x: float) -> Outcome:
    """Models of the playground answer `0.5 x + version`, so that an answer tells its version."""
    return Outcome(version, "" if abs(y - (0.5 * x + version)) < 0.01 else "WRONG")


class RestClient:
    """`:predict` over HTTP/1.1."""

    def __init__(self, url: str, model: str, host: str | None) -> None:
        """`url` is the gateway's, `host` the Host header to send."""
        self._url = f"{url}/v1/models/{model}:predict"
        self._headers = {"Host": host} if host else {}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS),
        )

    async def ask(self, x: float, user: str) -> Outcome:
        """One prediction."""
        body = json.dumps({"instances": [x]}).encode()
        headers = {**self._headers, "x-user-id": user, "Content-Type": "application/json"}
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return Outcome(None, type(error).__name__)
        if response.status != 200:
            return Outcome(None, f"HTTP {response.status}")
        try:
            prediction = json.loads(content)["predictions"][0]
            return _checked(float(prediction["y"]), int(prediction["version"]), x)
        except (ValueError, TypeError, LookupError):
            return _MALFORMED

    async def close(self) -> None:
        """Close the session."""
        await self._session.close()


class GrpcClient:
    """`PredictionService/Predict`."""

    def __init__(self, address: str, model: str, host: str | None) -> None:
        """`address` is host:port of the gateway, `host` the authority to send."""
        options: list[tuple[str, str | int]] = [("grpc.enable_http_proxy", 0)]
        if host:
            options.append(("grpc.default_authority", host))
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self._call: Callable[..., Awaitable[Any]] = self._channel.unary_unary(
            "/tensorflow.serving.PredictionService/Predict",
            request_serializer=PredictRequest.SerializeToString,
            response_deserializer=PredictResponse.FromString,
        )
        self._model = model

    async def ask(self, x: float, user: str) -> Outcome:
        """One prediction."""
        request = PredictRequest()
        request.model_spec.name = self._model
        tensor = request.inputs["x"]
        tensor.dtype = 1
        tensor.tensor_shape.dim.add().size = 1
        tensor.float_val.append(x)
        try:
            reply = await self._call(request, metadata=(("x-user-id", user),), timeout=_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            return Outcome(None, error.code().name)
        y = reply.outputs["y"].float_val
        return _checked(y[0], reply.model_spec.version.value, x) if y else _MALFORMED

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
