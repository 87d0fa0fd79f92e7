"""The faults of the stand-in, and what its process does: flags, exit statuses, signals. Never against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from playground.model_server.states import State
from playground.models import break_version, make_version
from tests.playground.model_server_subject import Subject, command, environment, free_port, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_MODEL = """model_config_list {{ config {{ name: "m" base_path: "{base}" model_platform: "tensorflow"
  model_version_policy {{ specific {{ {versions} }} }} }} }}"""


def _config(folder: Path, *versions: int) -> str:
    listed = " ".join(f"versions: {version}" for version in versions)
    return _MODEL.format(base=folder / "models" / "m", versions=listed)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Subject]:
    """A stand-in with version 1 of model m, version 2 on disk."""
    for version in (1, 2):
        make_version(tmp_path / "models" / "m", version)
    with stand_in(tmp_path, config=_config(tmp_path, 1)) as subject:
        yield subject


def _misbehave(subject: Subject, faults: dict[str, Any]) -> None:
    target = subject.here / "m" / "faults.json"
    scratch = target.with_suffix(".new")
    scratch.write_text(json.dumps(faults))
    scratch.rename(target)


def _until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (result := condition()):
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.02)
    return result


def _code(call: Callable[[], Any]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def test_errors_come_and_go_with_the_file(served: Subject) -> None:
    """A changed fault file takes effect in a running server, over both protocols, and its removal heals."""
    _misbehave(served, {"versions": {"1": {"error_rate": 1.0, "error_code": "UNAVAILABLE"}}})
    _until(lambda: _code(lambda: served.predict("m", 1.0)) == "UNAVAILABLE")
    assert served.rest("/v1/models/m:predict", {"instances": [1.0]})[0] == 503
    (served.here / "m" / "faults.json").unlink()
    _until(lambda: _code(lambda: served.predict("m", 1.0)) == "OK")


def test_a_broken_fault_file_changes_nothing(served: Subject) -> None:
    """What does not parse leaves the faults that were in force."""
    _misbehave(served, {"versions": {"1": {"error_rate": 1.0}}})
    _until(lambda: _code(lambda: served.predict("m", 1.0)) == "INTERNAL")
    _misbehave(served, {"versions": {"1": {"no_such_fault": 1.0}}})
    _until(lambda: "no file of faults" in (served.here.parent / "log").read_text())
    assert _code(lambda: served.predict("m", 1.0)) == "INTERNAL"


def test_wrong_answers_keep_their_version(served: Subject) -> None:
    """A wrong answer has other numbers and the right version."""
    _misbehave(served, {"versions": {"1": {"wrong_rate": 1.0}}})
    reply = _until(lambda: (found := served.predict("m", 1.0)).outputs["y"].float_val[0] != 1.5 and found)
    assert list(reply.outputs["version"].int64_val) == [1]


def test_added_latency_shows_in_the_histogram(served: Subject) -> None:
    """Slow answers are counted above the delay."""
    _misbehave(served, {"versions": {"1": {"latency": 0.05}}})
    _until(lambda: "are in force" in (served.here.parent / "log").read_text())
    served.predict("m", 1.0)
    page = served.http("/monitoring/prometheus/metrics")[1]
    bucket = 'request_latency_bucket{model_name="m",API="Predict",entrypoint="GRPC",le='
    assert f'{bucket}"37481.3"}} 0' in page
    assert f'{bucket}"+Inf"}} 1' in page


def test_refused_and_oversized_loads(served: Subject) -> None:
    """A load can be refused, and two versions together can be too much for the memory."""
    _misbehave(served, {"versions": {"2": {"refuse_load": "no such kernel"}}})
    _until(lambda: "are in force" in (served.here.parent / "log").read_text())
    served.reload(served.model("m", 1, 2))
    assert served.wait("m", 2, State.END).status.error_message == "no such kernel"
    served.reload(served.model("m", 1))
    _misbehave(served, {"memory_limit": 10, "versions": {"1": {"memory": 6}, "3": {"memory": 6}}})
    _until(lambda: (served.here.parent / "log").read_text().count("are in force") == 2)
    make_version(served.here / "m", 3)
    served.reload(served.model("m", 1, 3))
    assert served.wait("m", 3, State.END).status.error_code == 8


def test_a_slow_load_shows_as_loading(served: Subject) -> None:
    """While a version loads slowly it is LOADING and the other one serves; dropped meanwhile, it still finishes."""
    _misbehave(served, {"versions": {"2": {"load_seconds": 1}}})
    _until(lambda: "are in force" in (served.here.parent / "log").read_text())
    served.reload(served.model("m", 1, 2))
    served.wait("m", 2, State.LOADING)
    served.reload(served.model("m", 1))
    assert served.predict("m", 1.0).model_spec.version.value == 1
    served.wait("m", 2, State.END)
    assert "version: 2}" in (served.here.parent / "log").read_text()


def test_an_unload_waits_for_requests_under_way(served: Subject) -> None:
    """A version stays UNLOADING until the last request that uses it is answered."""
    _misbehave(served, {"versions": {"1": {"latency": 1.0}}})
    _until(lambda: "are in force" in (served.here.parent / "log").read_text())
    served.reload(served.model("m", 1, 2))
    served.wait("m", 2, State.AVAILABLE)
    request = served.predictions.Predict.future
    message = _pinned(1)
    answer = request(message)
    served.reload(served.model("m", 2))
    served.wait("m", 1, State.UNLOADING)
    assert answer.result().model_spec.version.value == 1
    served.wait("m", 1, State.END)


def _pinned(version: int) -> Any:
    from tensorflow_serving.apis.predict_pb2 import PredictRequest

    message = PredictRequest()
    message.model_spec.name = "m"
    message.model_spec.version.value = version
    message.inputs["x"].dtype = 1
    message.inputs["x"].tensor_shape.dim.add(size=1)
    message.inputs["x"].float_val.append(1.0)
    return message


def test_reloads_that_do_nothing_or_never_end(served: Subject) -> None:
    """A reload can answer OK and change nothing, or never answer."""
    _misbehave(served, {"server": {"ignore_reload": True}})
    _until(lambda: (served.here.parent / "log").read_text().count("are in force") == 1)
    served.reload(served.model("m", 1, 2))
    assert set(served.states("m")) == {1}
    _misbehave(served, {"server": {"hang_reload": True}})
    _until(lambda: (served.here.parent / "log").read_text().count("are in force") == 2)
    assert _code(lambda: served.reload(served.model("m", 1), 0.3)) == "DEADLINE_EXCEEDED"


def test_reloads_that_are_refused_or_late(served: Subject) -> None:
    """A reload can be refused, changing nothing, or take effect after its caller has given up."""
    _misbehave(served, {"server": {"refuse_reload": "not today"}})
    _until(lambda: (served.here.parent / "log").read_text().count("are in force") == 1)
    assert _code(lambda: served.reload(served.model("m", 1, 2))) == "INTERNAL"
    assert set(served.states("m")) == {1}
    _misbehave(served, {"server": {"reload_seconds": 1}})
    _until(lambda: (served.here.parent / "log").read_text().count("are in force") == 2)
    assert _code(lambda: served.reload(served.model("m", 1, 2), 0.3)) == "DEADLINE_EXCEEDED"
    served.wait("m", 2, State.AVAILABLE)


def test_a_closed_grpc_port_opens_again(served: Subject) -> None:
    """The gRPC port can be closed while REST goes on; both answer again when the fault is gone."""
    _misbehave(served, {"server": {"close_grpc": True}})
    _until(lambda: _code(lambda: served.predict("m", 1.0)) == "UNAVAILABLE")
    assert served.rest("/v1/models/m:predict", {"instances": [1.0]})[0] == 200
    (served.here / "m" / "faults.json").unlink()
    _until(lambda: _code(lambda: served.predict("m", 1.0)) == "OK")


def test_an_unready_server_still_predicts(served: Subject) -> None:
    """What readiness probes ask fails over REST, predictions do not, nor does the same question over gRPC."""
    _misbehave(served, {"server": {"unready": True}})
    _until(lambda: served.rest("/v1/models/m/metadata")[0] == 503)
    assert served.rest("/v1/models/m:predict", {"instances": [1.0]})[0] == 200
    assert served.metadata("m").model_spec.version.value == 1


def test_server_faults_of_chosen_pods(tmp_path: Path) -> None:
    """Faults of servers may name pods by how they begin; a server elsewhere is sound."""
    make_version(tmp_path / "models" / "m", 1)
    with stand_in(tmp_path, config=_config(tmp_path, 1), HOSTNAME="m-stable-7f-x2") as subject:
        for pods, status in (("m-canary", 200), ("m-stable", 503)):
            _misbehave(subject, {"server": {"unready": True, "pods": pods}})
            _until(lambda: subject.rest("/v1/models/m/metadata")[0] == status)  # noqa: B023 - called at once


def test_a_crash_on_the_nth_request(tmp_path: Path) -> None:
    """The process ends with the given status at the n-th request of the version."""
    make_version(tmp_path / "models" / "m", 1)
    faults = tmp_path / "faults.json"
    faults.write_text(json.dumps({"versions": {"1": {"crash_on_request": 2, "exit_code": 134}}}))
    (tmp_path / "models.txt").write_text(_config(tmp_path, 1))
    port = free_port()
    process = _start(tmp_path, f"--port={port}", PLAYGROUND_FAULTS=str(faults))
    subject = Subject("127.0.0.1", port, 0, tmp_path, tmp_path)
    _until(lambda: _code(lambda: subject.predict("m", 1.0)) == "OK")
    assert _code(lambda: subject.predict("m", 1.0)) == "UNAVAILABLE"
    assert process.wait(20) == 134
    subject.channel.close()


def _start(folder: Path, *flags: str, **extra: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            command(f"--model_config_file={folder / 'models.txt'}", "--max_num_load_retries=1", *flags),
            env=environment(**extra), stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip


def test_a_bad_first_version_ends_the_process(tmp_path: Path) -> None:
    """The server exits with 255 and says which servable failed and why, after its retries."""
    break_version(tmp_path / "models" / "m", 7, "no-pb")
    (tmp_path / "models.txt").write_text(_config(tmp_path, 7))
    process = _start(tmp_path, f"--port={free_port()}")
    assert process.wait(30) == 255
    log = (tmp_path / "log").read_text()
    last = log.strip().splitlines()[-1]
    assert last.startswith(
        "Failed to start server. Error: UNKNOWN: 1 servable(s) did not become available: "
        "{{name: m version: 7} due to error: NOT_FOUND: Could not find SavedModel"
    )
    assert log.count("Loading servable: {name: m version: 7} failed") == 2


def test_labels_at_the_start_need_their_flag(tmp_path: Path) -> None:
    """A label in the start file without the flag ends the process; a file that does not parse as well."""
    make_version(tmp_path / "models" / "m", 1)
    labelled = _config(tmp_path, 1).replace("} } } }", '} } version_labels { key: "stable" value: 1 } } }')
    assert "version_labels" in labelled
    for text, message in (
        (labelled, "Error: FAILED_PRECONDITION: Request to assign label"),
        ("x {", "Invalid protobuf file"),
    ):
        (tmp_path / "models.txt").write_text(text)
        assert _start(tmp_path, f"--port={free_port()}").wait(30) == 255
        assert message in (tmp_path / "log").read_text()


def test_flags_health_and_signals(tmp_path: Path) -> None:
    """Unknown flags are printed and ignored, known ones without effect are not mentioned, and health is SERVING."""
    flags = ("--no_such_flag=1", "--enable_batching", "--enable_grpc_healthcheck_service")
    with stand_in(tmp_path, *flags, PLAYGROUND_PID1="1") as subject:
        log = (tmp_path / "log").read_text()
        assert "unknown argument: --no_such_flag=1" in log
        assert "enable_batching" not in log
        check = subject.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        for service in ("", "ModelService", "PredictionService"):
            assert (
                check(health_pb2.HealthCheckRequest(service=service)).status == health_pb2.HealthCheckResponse.SERVING
            )


@pytest.mark.parametrize(("as_process_1", "ends"), [("1", False), ("0", True)])
def test_sigterm(tmp_path: Path, as_process_1: str, *, ends: bool) -> None:
    """SIGTERM ends the process at once, unless it plays process 1."""
    make_version(tmp_path / "models" / "m", 1)
    (tmp_path / "models.txt").write_text(_config(tmp_path, 1))
    port = free_port()
    process = _start(tmp_path, f"--port={port}", PLAYGROUND_PID1=as_process_1)
    subject = Subject("127.0.0.1", port, 0, tmp_path, tmp_path)
    _until(lambda: _code(lambda: subject.predict("m", 1.0)) == "OK")
    os.kill(process.pid, signal.SIGTERM)
    if ends:
        assert process.wait(20) == -signal.SIGTERM
    else:
        assert _code(lambda: subject.predict("m", 1.0)) == "OK"
    subject.channel.close()
    process.kill()
    process.wait()


def test_the_config_file_is_applied_again_and_again(tmp_path: Path) -> None:
    """With a poll of the config file a changed file takes effect, a broken one is only logged."""
    for version in (1, 2):
        make_version(tmp_path / "models" / "m", version)
    with stand_in(tmp_path, config=_config(tmp_path, 1), PLAYGROUND_CONFIG_POLL_MS="50") as subject:
        (tmp_path / "models.txt").write_text("x {")
        _until(lambda: "Invalid protobuf file" in (tmp_path / "log").read_text())
        (tmp_path / "models.txt").write_text(_config(tmp_path, 2))
        subject.wait("m", 2, State.AVAILABLE)
        subject.wait("m", 1, State.END)


def test_own_counters_and_gpu_memory_are_exported(served: Subject) -> None:
    """What no TensorFlow Serving exports is there only when asked for: predicted classes, and memory that grows."""
    assert "prediction_class_total" not in served.http("/monitoring/prometheus/metrics")[1]
    _misbehave(served, {"versions": {"1": {"classes": {"cat": 1}, "gpu_memory": 100, "gpu_memory_per_request": 10}}})
    _until(lambda: "are in force" in (served.here.parent / "log").read_text())
    served.predict("m", 1.0)
    served.predict("m", 1.0)
    page = served.http("/monitoring/prometheus/metrics")[1]
    assert 'prediction_class_total{model_name="m",class="cat"} 2' in page
    assert "# TYPE gpu_memory_used_bytes gauge" in page
    assert 'gpu_memory_used_bytes{model_name="m"} 120' in page
