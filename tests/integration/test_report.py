"""`report` of rollouts that took place: what it says was answered is what the users counted."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.values import parse_time
from playground import box, lifecycle
from playground.supervisor import environment
from tests.situations import NEXT, STABLE, ended, failures, outcome, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from playground.load.records import Answer
    from playground.scene import Scene


def reported(here: Scene, picture: Path) -> tuple[list[str], dict[str, tuple[int, int]]]:
    """The lines that people read, and (answers, bad) of each side."""
    argv = [sys.executable, "-m", "modelrollout", "report", here.name, "--picture", str(picture)]
    env = environment(here.state, lifecycle.binaries())
    done = subprocess.run(box.enter(here.state, argv), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    numbers = {}
    for line in lines:
        side, _, rest = line.strip().partition(": ")
        if side in {"canary", "stable"}:
            answers, _, bad = rest.partition(" answers, ")
            numbers[side] = int(answers.replace(",", "")), int(bad.split()[0].replace(",", ""))
    return lines, numbers


def answered(answers: list[Answer], status: dict[str, Any]) -> list[Answer]:
    """What users were answered while the last rollout was under way."""
    entry = status["history"][0]
    begins, ends = (parse_time(entry[name]).timestamp() for name in ("started", "ended"))
    return [answer for answer in answers if begins <= answer.end <= ends]


def about(reported: int, counted: int) -> bool:
    """The same but for what came in between the last look of Prometheus and the end of the rollout."""
    return abs(reported - counted) <= 0.1 * counted + 20


@pytest.mark.long
def test_a_promoted_rollout_is_reported_as_users_saw_it(scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """Both sides' answers together are those that users got; none was bad; the picture is there."""
    here = scene("report-good")
    start(here)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT))
        status = here.wait("the end", ended(NEXT))
        wait_for_answers(traffic, len(traffic.answers()) + 100)
        users = answered(traffic.answers(), status)
    assert outcome(status, NEXT) == "Promoted", status
    lines, numbers = reported(here, tmp_path / "good.png")
    assert f"version {NEXT}, attempt 2: Promoted" in lines[0]
    assert any(line.endswith("  WeightLive") for line in lines)
    assert about(numbers["canary"][0] + numbers["stable"][0], len(users))
    assert numbers["canary"][1] == numbers["stable"][1] == 0
    assert (tmp_path / "good.png").stat().st_size > 10_000


def test_an_aborted_rollout_is_reported_as_users_saw_it(scene: Callable[[str], Scene], tmp_path: Path) -> None:
    """The canary's bad answers are the users' bad answers, and the evidence is told."""
    here = scene("report-bad")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"error_rate": 0.5}}})
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(here.manifest(NEXT))
        status = here.wait("the end", ended(NEXT))
        wait_for_answers(traffic, len(traffic.answers()) + 100)
        users = answered(traffic.answers(), status)
    assert outcome(status, NEXT) == "RolledBack", status
    lines, numbers = reported(here, tmp_path / "bad.html")
    assert f"version {NEXT}, attempt 2: RolledBack (AnalysisFailed)" in lines[0]
    assert any(line.startswith("  evidence: ") for line in lines)
    assert about(numbers["stable"][0], sum(answer.version == STABLE for answer in users))
    assert abs(numbers["canary"][1] - len(failures(users))) <= 3
    assert "data:image" in (tmp_path / "bad.html").read_text()
