"""`make plugin`: one file that kubectl finds on PATH and runs."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from playground import lifecycle
from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the file is on PATH, and nothing of this repository can be imported."""
    folder = tmp_path_factory.mktemp("plugin")
    made = {**os.environ, "PEX_ROOT": str(folder / "root"), "PYTHON_COLORS": "0"}
    command = ["make", "plugin", f"PLUGIN={folder}/kubectl-modelrollout", f"PYTHON={sys.executable}"]
    subprocess.run(command, cwd=REPOSITORY, env=made, check=True, capture_output=True)
    del made["PYTHONPATH"]
    path = f"{folder}:{lifecycle.binaries().controlplane}:{os.environ['PATH']}"
    return {**made, "PATH": path, "KUBECONFIG": str(folder / "none")}


def _do(environment: dict[str, str], folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_kubectl_runs_it(environment: dict[str, str], tmp_path: Path) -> None:
    """`kubectl modelrollout` is the program, and calls itself so."""
    assert _do(environment, tmp_path, "kubectl", "modelrollout", "version").stdout == "0.1.0\n"
    shown = _do(environment, tmp_path, "kubectl", "modelrollout", "get", "--help").stdout
    assert shown.startswith("Usage: kubectl modelrollout get [OPTIONS] [NAME]")


def test_it_has_the_definition_in_it(environment: dict[str, str], tmp_path: Path) -> None:
    """`lint` needs neither cluster nor checkout."""
    done = _do(environment, tmp_path, "kubectl", "modelrollout", "lint", str(REPOSITORY / "examples" / "cpu.yaml"))
    assert (done.returncode, done.stdout.endswith("half-plus-two: ok\n")) == (0, True)


def test_the_operator_is_not_in_it(environment: dict[str, str], tmp_path: Path) -> None:
    """Nobody starts an operator with it by mistake."""
    done = _do(environment, tmp_path, "kubectl", "modelrollout", "run")
    assert done.returncode == 3
    assert "the operator is not part of this file" in done.stderr


def test_a_cluster_that_does_not_answer_is_told(environment: dict[str, str], tmp_path: Path) -> None:
    """Without any kubeconfig kubectl tries this machine."""
    done = _do(environment, tmp_path, "kubectl", "modelrollout", "get")
    assert done.returncode == 3
    assert "The API server does not answer" in done.stderr
