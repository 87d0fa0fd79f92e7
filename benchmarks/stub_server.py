"""Model servers for benchmarks with many pods: one process plays all of them, without models and without loading.

They answer what the operator asks (status, metadata, reload) and show Prometheus counters that grow as if users were
there. A configuration is in force at once. Used by benchmarks/stub_pods.py; no test of a rule relies on it.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_AVAILABLE, _END = 30, 50
_PER_SECOND = 50.0
_BAD_SHARE = 0.8
_ALL = "*"
_COUNT, _LATENCY = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency"


@dataclass
class StubServer:
    """The model server of one pod. `bad` is the file of `turn_bad`."""

    canary: bool
    bad: Path
    name: str = ""
    versions: dict[int, int] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    since: float = field(default_factory=time.time)

    def configure(self, config: Any) -> None:
        """Take over a ModelServerConfig: what it lists is available, what it left out has ended."""
        model = config.model_config_list.config[0]
        wanted = set(model.model_version_policy.specific.versions)
        self.name, self.labels = model.name, dict(model.version_labels)
        self.versions = dict.fromkeys(self.versions, _END) | dict.fromkeys(wanted, _AVAILABLE)

    def configure_text(self, text: str) -> None:
        """The same from the text of a configuration file."""
        self.configure(text_format.Parse(text, model_server_config_pb2.ModelServerConfig()))

    def status(self) -> Any:
        """GetModelStatus."""
        reply = get_model_status_pb2.GetModelStatusResponse()
        for version, state in self.versions.items():
            reply.model_version_status.add(version=version, state=state)
        return reply

    def resolve(self, spec: Any) -> int | None:
        """The version that a request means, None when it is not there."""
        wanted = spec.version.value or self.labels.get(spec.version_label)
        return wanted if self.versions.get(wanted or 0) == _AVAILABLE else None

    def page(self) -> str:
        """The metrics page: 50 answers a second since the start."""
        now = time.time()
        since_bad = max(0.0, now - self._bad_moment(now)) if self.canary else 0.0
        bad = int(_PER_SECOND * _BAD_SHARE * since_bad)
        good = int(_PER_SECOND * (now - self.since)) - bad
        model = f'model_name="{self.name}"'
        served = f'{model},API="predict",entrypoint="GRPC"'
        return "\n".join(
            [
                f"# TYPE {_COUNT} counter",
                f'{_COUNT}{{{model},status="OK"}} {good}',
                f'{_COUNT}{{{model},status="INTERNAL"}} {bad}',
                f"# TYPE {_LATENCY} histogram",
                *(f'{_LATENCY}_bucket{{{served},le="{bound}"}} {good}' for bound in ("1000", "10000", "+Inf")),
                f"{_LATENCY}_sum{{{served}}} {good * 500}",
                f"{_LATENCY}_count{{{served}}} {good}",
                "",
            ]
        )

    def _bad_moment(self, now: float) -> float:
        try:
            moments: dict[str, float] = json.loads(self.bad.read_text())
        except FileNotFoundError:
            return now
        return moments.get(self.name, moments.get(_ALL, now))


def turn_bad(file: Path, since: float, *models: str) -> None:
    """Canaries of these models, of all others when none is named, answer with errors from this moment on."""
    known = json.loads(file.read_text()) if file.exists() else {}
    scratch = file.with_suffix(".new")
    scratch.write_text(json.dumps(known | dict.fromkeys(models or (_ALL,), since)))
    scratch.rename(file)


class _Models(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    def __init__(self, server: StubServer) -> None:
        self._server = server

    async def GetModelStatus(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - the service's own name
        return self._server.status()

    async def HandleReloadConfigRequest(self, request: Any, _context: Any) -> Any:  # noqa: N802 - as above
        self._server.configure(request.config)
        return model_management_pb2.ReloadConfigResponse()


class _Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    def __init__(self, server: StubServer) -> None:
        self._server = server

    async def GetModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802 - as above
        version = self._server.resolve(request.model_spec)
        if version is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such version")
        reply = get_model_metadata_pb2.GetModelMetadataResponse()
        reply.model_spec.name = self._server.name
        reply.model_spec.version.value = version
        return reply


async def listen(server: StubServer, address: str) -> grpc.aio.Server:
    """Serve one pod's gRPC API."""
    made = grpc.aio.server()
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(server), made)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Predictions(server), made)
    made.add_insecure_port(address)
    await made.start()
    return made


def pages(servers: Mapping[str, StubServer], address: str) -> str:
    """The metrics page of the pod at an address; empty for an address that no pod has."""
    server = servers.get(address)
    return server.page() if server else ""
