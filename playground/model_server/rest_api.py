"""The REST interface and the Prometheus page, on one port. `__main__` starts it."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aiohttp import web
from google.protobuf.json_format import MessageToDict, MessageToJson
from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.model_pb2 import ModelSpec

from playground.model_server import replies, rest_json, results
from playground.model_server.errors import HTTP_STATUS, Code, ServingError
from playground.model_server.inference import DEFAULT_SIGNATURE
from playground.model_server.tensors import STRING

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from playground.model_server.core import ServerCore
    from playground.model_server.inference import Inference
    from playground.model_server.metrics import Metrics

_MODEL = r"/v1/models/(?P<name>[^/:]+)(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL = re.compile(_MODEL + r":(?P<method>predict|classify|regress)", re.IGNORECASE)
_GET = re.compile(_MODEL + r"(?P<metadata>/metadata)?", re.IGNORECASE)
_NOT_FOUND = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"
_TIMED_OUT = ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for the model")


@dataclass
class _Call:
    """What the counters need to know about a request, filled in as far as it gets."""

    model: str = ""
    api: str = ""


class RestApi:
    """Answers one HTTP request at a time per connection."""

    def __init__(
        self, core: ServerCore, inference: Inference, metrics: Metrics, metrics_path: str | None, timeout: float
    ) -> None:
        """`metrics_path` is None when monitoring is off; `timeout` is in seconds per request."""
        self._timeout = timeout
        self._core = core
        self._inference = inference
        self._metrics = metrics
        self._metrics_path = metrics_path

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """The one handler of the server."""
        path = request.path
        if self._metrics_path and path == self._metrics_path:
            return web.Response(text=self._metrics.page(), content_type="text/plain")
        if not path.lower().startswith("/v1/"):
            return web.Response(status=404, text=_NOT_FOUND, content_type="text/html")
        started, call = time.perf_counter(), _Call()
        try:
            async with asyncio.timeout(self._timeout):
                text = await self._answer(request, call)
        except (ServingError, TimeoutError) as problem:
            error = problem if isinstance(problem, ServingError) else _TIMED_OUT
            self._metrics.answered(call.model, error.code.name, call.api, "REST", 0)
            return _json(rest_json.body("error", error.message), HTTP_STATUS[error.code])
        self._metrics.answered(call.model, "OK", call.api, "REST", time.perf_counter() - started)
        return _json(text, 200)

    async def _answer(self, request: web.BaseRequest, call: _Call) -> str:
        # The escaped path, so that a name may contain an escaped slash.
        path = request.rel_url.raw_path
        if request.method == "POST" and (found := _CALL.fullmatch(path)):
            call.model, call.api = unquote(found["name"]), found["method"].lower()
            return await self._run(_spec(found), call.api, await request.read())
        if request.method == "GET":
            if path.lower().rstrip("/") == "/v1/models":
                raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
            if found := _GET.fullmatch(path):
                call.model = unquote(found["name"])
                if self._core.faults.server.unready:
                    raise ServingError(Code.UNAVAILABLE, "playground fault: unready")
                return self._metadata(_spec(found)) if found["metadata"] else self._status(_spec(found))
        raise ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {request.method} {path}")

    def _status(self, spec: ModelSpec) -> str:
        return _message(replies.status(self._core.monitor, spec))

    def _metadata(self, spec: ModelSpec) -> str:
        reply = replies.metadata(self._inference, spec)
        mapping = SignatureDefMap()
        reply.metadata["signature_def"].Unpack(mapping)
        signatures = MessageToDict(mapping, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
        model = {"name": spec.name, "signature_name": "", "version": str(reply.model_spec.version.value)}
        return rest_json.pretty({"model_spec": model, "metadata": {"signature_def": signatures}})

    async def _run(self, spec: ModelSpec, method: str, content: bytes) -> str:
        document = rest_json.parse(content)
        spec.signature_name = str(document.get("signature_name", ""))
        if method != "predict":
            return await self._examples(spec, method, document)
        _, signatures = self._inference.signatures(spec)
        name = spec.signature_name or DEFAULT_SIGNATURE
        if name not in signatures:
            raise ServingError(Code.INVALID_ARGUMENT, f'Serving signature name: "{name}" not found in signature def')
        inputs, by_rows = rest_json.inputs(document, signatures[name])
        answer = await self._inference.predict(spec, inputs)
        return rest_json.answer(answer.outputs, by_rows=by_rows)

    async def _examples(self, spec: ModelSpec, method: str, document: dict[str, Any]) -> str:
        examples = [_example(features).SerializeToString() for features in rest_json.examples(document)]
        answer = await self._inference.examples(spec, method.capitalize(), examples)
        if method == "regress":
            regressed = results.regressions(answer.outputs, len(examples))
            return rest_json.body("results", [each.value for each in regressed.regressions])
        classified = results.classifications(answer.outputs, len(examples))
        return rest_json.body(
            "results", [[[item.label, item.score] for item in each.classes] for each in classified.classifications]
        )


def _spec(found: re.Match[str]) -> ModelSpec:
    spec = ModelSpec(name=unquote(found["name"]))
    if found["version"]:
        spec.version.value = int(found["version"])
    elif found["label"]:
        spec.version_label = unquote(found["label"])
    return spec


def _example(features: dict[str, Any]) -> Example:
    example = Example()
    for name, given in features.items():
        values = given if isinstance(given, list) else [given]
        feature = example.features.feature[name]
        if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
            feature.int64_list.value.extend(values)
        elif all(isinstance(value, (int, float)) for value in values):
            feature.float_list.value.extend(values)
        else:
            feature.bytes_list.value.extend(rest_json.tensor(values, STRING).data)
    return example


def _message(message: Message) -> str:
    return MessageToJson(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True, indent=1)


def _json(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")
