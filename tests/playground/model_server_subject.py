"""The model server under test: the playground's stand-in, or whatever MODEL_SERVER_ADDRESS names.

`MODEL_SERVER_ADDRESS=host:grpc port:rest port` together with `MODEL_SERVER_MODELS=directory here:directory there` runs
test_model_server.py unchanged against another server, such as a tensorflow/serving container that was started with an
empty `model_config_list {}`, `--allow_version_labels_for_unavailable_models`, `--max_num_load_retries=0`,
`--num_load_threads=2 --num_unload_threads=2` and a monitoring file, the directory mounted.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
from tensorflow_serving.apis.get_model_metadata_pb2 import GetModelMetadataRequest
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusRequest
from tensorflow_serving.apis.model_management_pb2 import ReloadConfigRequest
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.predict_pb2 import PredictRequest
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from playground.paths import PYTHONPATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playground.model_server.states import State

REAL = os.environ.get("MODEL_SERVER_ADDRESS")
_QUICK = {"PLAYGROUND_TICK_MS": "10", "PLAYGROUND_POLL_MS": "50", "PLAYGROUND_RETRY_MS": "50"}
_PATIENCE = 30.0


@dataclass
class Subject:
    """A running server: `here` is the model directory for tests, `there` the same as the server sees it."""

    host: str
    grpc_port: int
    rest_port: int
    here: Path
    there: Path
    channel: grpc.Channel = field(init=False)

    def __post_init__(self) -> None:
        """Open the channel."""
        options = [("grpc.enable_http_proxy", 0)]
        self.channel = grpc.insecure_channel(f"{self.host}:{self.grpc_port}", options=options)
        self.models = ModelServiceStub(self.channel)
        self.predictions = PredictionServiceStub(self.channel)

    def model(
        self, name: str, *versions: int, labels: Mapping[str, int] | None = None, **changes: str
    ) -> ReloadConfigRequest:
        """A configuration with this one model; without versions the newest one on disk."""
        request = ReloadConfigRequest()
        config = request.config.model_config_list.config.add(
            name=name, base_path=str(self.there / name), model_platform="tensorflow"
        )
        if versions:
            config.model_version_policy.specific.versions.extend(versions)
        for label, version in (labels or {}).items():
            config.version_labels[label] = version
        for key, value in changes.items():
            setattr(config, key, value)
        return request

    def reload(self, request: ReloadConfigRequest, seconds: float = _PATIENCE) -> None:
        """Apply a configuration."""
        self.models.HandleReloadConfigRequest(request, timeout=seconds)

    def states(self, name: str) -> dict[int, Any]:
        """Status entries by version."""
        request = GetModelStatusRequest()
        request.model_spec.name = name
        return {entry.version: entry for entry in self.models.GetModelStatus(request).model_version_status}

    def wait(self, name: str, version: int, state: State) -> Any:
        """The status entry of a version once it has that state."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            with contextlib.suppress(grpc.RpcError):
                entry = self.states(name).get(version)
                if entry is not None and entry.state == state:
                    return entry
            assert time.monotonic() < deadline, f"{name} {version} never became {state.name}"
            time.sleep(0.02)

    def predict(self, name: str, x: float, *, key: str = "x", **spec: Any) -> Any:
        """The reply to one value; `spec` may have version, version_label, signature_name."""
        request = PredictRequest()
        fill_spec(request.model_spec, name, spec)
        tensor = request.inputs[key]
        tensor.dtype = 1
        tensor.tensor_shape.dim.add(size=1)
        tensor.float_val.append(x)
        return self.predictions.Predict(request, timeout=_PATIENCE)

    def metadata(self, name: str, **spec: Any) -> Any:
        """The metadata reply."""
        request = GetModelMetadataRequest(metadata_field=["signature_def"])
        fill_spec(request.model_spec, name, spec)
        return self.predictions.GetModelMetadata(request, timeout=_PATIENCE)

    def rest(self, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of a GET, or of a POST where there is a body."""
        status, text = self.http(path, None if body is None else json.dumps(body).encode())
        return status, json.loads(text)

    def http(self, path: str, data: bytes | None = None) -> tuple[int, str]:
        """Status and text of a request."""
        url = f"http://{self.host}:{self.rest_port}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, data=data, timeout=_PATIENCE) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


def fill_spec(target: Any, name: str, spec: Mapping[str, Any]) -> None:
    """Write name, version, label and signature into a ModelSpec."""
    target.name = name
    for key, value in spec.items():
        if key == "version":
            target.version.value = value
        else:
            setattr(target, key, value)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def command(*flags: str) -> list[str]:
    """The command line of the stand-in."""
    return [sys.executable, "-m", "playground.model_server", *flags]


def environment(**extra: str) -> dict[str, str]:
    """Its environment, with short periods."""
    return {**os.environ, **_QUICK, "POD_IP": "127.0.0.1", "PYTHONPATH": PYTHONPATH, **extra}


@contextlib.contextmanager
def stand_in(folder: Path, *flags: str, config: str = "model_config_list {}", **extra: str) -> Iterator[Subject]:
    """A stand-in for the length of a block, its files below `folder`, ports open."""
    (folder / "models.txt").write_text(config)
    (folder / "monitoring.txt").write_text("prometheus_config { enable: true }")
    models = folder / "models"
    models.mkdir(exist_ok=True)
    subject = Subject("127.0.0.1", free_port(), free_port(), models, models)
    started = command(
        f"--port={subject.grpc_port}", f"--rest_api_port={subject.rest_port}",
        f"--model_config_file={folder / 'models.txt'}", f"--monitoring_config_file={folder / 'monitoring.txt'}",
        "--allow_version_labels_for_unavailable_models", "--max_num_load_retries=0",
        "--num_load_threads=2", "--num_unload_threads=2", *flags,
    )  # fmt: skip
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(started, env=environment(**extra), stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait_until_open(process, subject.rest_port, folder / "log")
        yield subject
    finally:
        subject.channel.close()
        process.kill()
        process.wait()


def _wait_until_open(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def real() -> Subject:
    """The server that the environment names."""
    host, grpc_port, rest_port = (REAL or "").rsplit(":", 2)
    here, there = os.environ["MODEL_SERVER_MODELS"].split(":")
    return Subject(host, int(grpc_port), int(rest_port), Path(here), Path(there))
