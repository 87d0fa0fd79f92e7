"""What the log looks like."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import Any

import pytest
import structlog

from modelrollout.logs import configure_logging
from modelrollout.ports import Key

pytestmark = pytest.mark.usefixtures("restored_logging")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """Every line as JSON."""
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_decision_is_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With level, time, logger and the rollout as people write it."""
    configure_logging("json", "INFO")
    structlog.get_logger("x").info("decision", rollout=Key("default", "recsys"), weight=5)
    (line,) = lines(capsys)
    assert (line["event"], line["rollout"], line["weight"]) == ("decision", "default/recsys", 5)
    assert (line["level"], line["logger"]) == ("info", "x")
    assert line["timestamp"].endswith("Z")


def test_other_libraries_come_out_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Their warnings are shown, their chatter is not."""
    configure_logging("json", "INFO")
    logging.getLogger("kopf.objects").info("Handler succeeded")
    logging.getLogger("kopf.reactor").warning("trouble with %s", "a stream")
    (line,) = lines(capsys)
    assert line["event"] == "trouble with a stream"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(log_format: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Credentials are among local variables and must not get into logs."""
    configure_logging(log_format, "INFO")

    def fail() -> None:
        token = "top" + "-secret"
        raise ValueError(len(token))

    try:
        fail()
    except ValueError:
        structlog.get_logger("x").exception("failed")
    told = capsys.readouterr().err
    assert "ValueError" in told
    assert "top-secret" not in told


def test_the_process_tells_why_it_ends_and_exits_with_1() -> None:
    """Without usable credentials nothing can be done; whoever started the process sees it."""
    command = [sys.executable, "-m", "modelrollout", "run", "--kubeconfig", "/nowhere"]
    environment = {"PYTHONPATH": ":".join(path for path in sys.path if path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert json.loads(done.stderr.splitlines()[-1])["event"] == "the operator ends"
