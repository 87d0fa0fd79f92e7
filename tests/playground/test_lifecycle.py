"""Up, down and all that is between, with the real programs: playground/cli.py."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Command:
    """The command line with one state directory."""

    dir: Path

    def __call__(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        argv = [sys.executable, "-m", "playground", name, "--dir", str(self.dir), *arguments]
        return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    def info(self) -> dict[str, Any]:
        """playground.json's content."""
        content: dict[str, Any] = json.loads((self.dir / "playground.json").read_text())
        return content


@pytest.fixture(scope="module")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A playground without the operator."""
    command = Command(tmp_path_factory.mktemp("playground"))
    up = command("up", "--no-operator")
    assert up.returncode == 0, up.stderr
    yield command
    command("down")


def _kubectl(command: Command, *arguments: str) -> str:
    done = command("exec", "--", "kubectl", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _status(url: str) -> int:
    return requests.get(url, timeout=10).status_code


def test_the_addresses_work_from_the_host(playground: Command) -> None:
    """API server (by its kubeconfig's name for it), Prometheus and gateway answer at 127.0.0.1."""
    info = playground.info()
    assert _status(f"{info['prometheus']}/-/ready") == 200
    assert _status(f"http://{info['gateway']}/") == 404
    kubeconfig = json.loads((playground.dir / "kubeconfig").read_text())
    assert kubeconfig["clusters"][0]["cluster"]["server"] == info["api"]


def test_the_nodes_have_gpus_and_mig_slices(playground: Command) -> None:
    """One node has four whole GPUs, another seven MIG slices, as the scheduler sees them."""
    nodes = {
        node["metadata"]["name"]: node["status"]["allocatable"]
        for node in json.loads(_kubectl(playground, "get", "nodes", "-o", "json"))["items"]
    }
    assert nodes["gpu-0"]["nvidia.com/gpu"] == "4"
    assert nodes["mig-0"]["nvidia.com/mig-1g.10gb"] == "7"


def test_exec_passes_the_exit_status_and_the_working_directory(playground: Command) -> None:
    """A command inside begins where the caller is, and its exit status is the caller's."""
    done = playground("exec", "--", "sh", "-c", "pwd; exit 7")
    assert (done.returncode, done.stdout.strip()) == (7, str(REPOSITORY))


def test_up_again_changes_nothing(playground: Command) -> None:
    """A second `up` finds the first one's playground and prints the same addresses."""
    before = playground.info()
    again = playground("up", "--no-operator")
    assert again.returncode == 0
    assert "already up" in again.stderr
    assert before["kubeconfig"] in again.stdout
    assert playground.info() == before


def test_prometheus_can_be_taken_away_and_brought_back(playground: Command) -> None:
    """A kill is named in the status, a start repairs it, and a stop is no death."""
    assert playground("kill", "prometheus").returncode == 0
    while (status := playground("status")).returncode == 0:
        time.sleep(0.05)
    assert "prometheus was ended by SIGKILL" in status.stdout
    assert playground("start", "prometheus").returncode == 0
    assert playground("stop", "prometheus").returncode == 0
    status = playground("status")
    assert status.returncode == 0
    assert ["prometheus", "stopped"] in [line.split() for line in status.stdout.splitlines()]
    assert playground("start", "prometheus").returncode == 0
    assert "no component 'nginx'" in playground("stop", "nginx").stderr


def test_a_second_playground_lives_beside_the_first_and_dies_with_its_holder(
    playground: Command, tmp_path: Path
) -> None:
    """Two share nothing; kill -9 of the second one's outer process ends its box, and only its box."""
    second = Command(tmp_path)
    up = second("up", "--no-operator")
    assert up.returncode == 0, up.stderr
    _kubectl(second, "create", "namespace", "only-here")
    assert "only-here" not in _kubectl(playground, "get", "namespaces")
    os.kill(second.info()["pid"], signal.SIGKILL)
    while _processes_of(tmp_path):
        time.sleep(0.05)
    assert second("status").returncode == 1
    assert playground("status").returncode == 0
    assert second("down").returncode == 0


def _processes_of(folder: Path) -> list[str]:
    """Names of the processes whose command lines name the folder, as unshare's, the supervisor's and etcd's do."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # gone meanwhile
            if os.fsencode(folder) in (process / "cmdline").read_bytes():
                found.append((process / "comm").read_text().strip())
    return found
