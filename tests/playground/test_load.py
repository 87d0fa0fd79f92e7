"""The load generator against a model server: playground/load."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from playground.load import Answer, Generator, Recorder, Target, read_records
from playground.load.records import report
from playground.model_server.states import State
from tests.playground.model_server_subject import environment, free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.playground.model_server_subject import Subject


def _target(server: Subject, name: str) -> Target:
    return Target(name, f"http://{server.host}:{server.rest_port}", f"{server.host}:{server.grpc_port}")


async def _send(target: Target, count: int, recorder: Recorder) -> None:
    generator = Generator(target, rate=400, recorder=recorder, users=5)
    await generator.start()
    while len(recorder.answers) < count:  # noqa: ASYNC110 - the recorder tells nobody
        await asyncio.sleep(0.01)
    await generator.stop()


async def test_answers_are_counted_per_version_and_protocol(server: Subject, name: str) -> None:
    """Both protocols get answers, each with its version, user and times; after a reload the new version's."""
    server.reload(server.model(name, 1))
    recorder = Recorder()
    await _send(_target(server, name), 50, recorder)
    await asyncio.to_thread(server.reload, server.model(name, 2))
    await asyncio.to_thread(server.wait, name, 1, State.END)
    await _send(_target(server, name), 100, recorder)
    whole = report(recorder.answers)
    assert whole["failed"] == 0
    assert set(whole["versions"]) == {"1", "2"}
    assert set(whole["versions"]["2"]["protocols"]) == {"rest", "grpc"}
    assert {answer.user for answer in recorder.answers} <= {f"user-{number}" for number in range(5)}
    assert all(answer.start <= answer.end for answer in recorder.answers)


async def test_errors_are_answers_too(server: Subject) -> None:
    """A server's refusal and a closed port are recorded with their code and without a version."""
    refused, closed = Recorder(), Recorder()
    await _send(_target(server, "nobody"), 10, refused)
    await _send(Target("m", f"http://127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"), 10, closed)
    assert {(answer.version, answer.error) for answer in refused.answers} == {(None, "HTTP 404"), (None, "NOT_FOUND")}
    assert {answer.error for answer in closed.answers} == {"ClientConnectorError", "UNAVAILABLE"}


def test_the_command_line_writes_records_and_a_report(server: Subject, name: str, tmp_path: Path) -> None:
    """`python -m playground.load` leaves a report and one line per answer."""
    server.reload(server.model(name, 1))
    target = _target(server, name)
    arguments = [
        "--rest", str(target.rest), "--grpc", str(target.grpc), "--model", name, "--rate", "50", "--duration", "1",
        "--report", str(tmp_path / "report.json"), "--records", str(tmp_path / "records"),
    ]  # fmt: skip
    subprocess.run([sys.executable, "-m", "playground.load", *arguments], check=True, env=environment())
    whole = json.loads((tmp_path / "report.json").read_text())
    assert whole["answers"] == len(read_records(tmp_path / "records")) > 0
    assert whole["failed"] == 0


def test_an_unfinished_record_is_left_out(tmp_path: Path) -> None:
    """A reader beside the writer never sees half a line."""
    path = tmp_path / "records"
    with path.open("w") as file:
        Recorder(file).add(Answer(1.0, 2.0, "rest", "user-1", 101))
        file.write('{"start": 1')
    assert read_records(path) == [Answer(1.0, 2.0, "rest", "user-1", 101)]


def test_wrong_values_are_failures_of_their_version() -> None:
    """The report groups by version, and tells errors and percentiles of each."""
    answers = [Answer(0.0, 0.001 * number, "grpc", "u", 1) for number in range(100)]
    whole = report(
        [*answers, Answer(0.0, 1.0, "grpc", "u", 2, "WRONG"), Answer(0.0, 1.0, "rest", "u", None, "HTTP 503")]
    )
    assert whole["failed"] == 2
    assert whole["versions"]["2"]["errors"] == {"WRONG": 1}
    assert whole["versions"]["none"]["errors"] == {"HTTP 503": 1}
    assert whole["versions"]["1"]["milliseconds"] == {"p50": 50.0, "p95": 95.0, "p99": 99.0}
