"""An operator whose rollouts are settled: it writes nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from playground import box, control, lifecycle
from playground.components import NODE_AGENT
from playground.interference import Operator
from playground.kube import Kube
from playground.scene import Scene
from playground.supervisor import environment
from tests.situations import healthy
from tests.witness import now

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playground.interference import Interference
    from playground.state import State

PREFIX = "quiet-"


@contextmanager
def _stand_in_pods(state: State, folder: Path) -> Iterator[None]:
    """Pods of one process in place of model servers: two cores carry no fifty of those."""
    notes = folder / "pods.ndjson"
    argv = [
        sys.executable, "-m", "benchmarks.stub_pods", "--prefix", PREFIX, "--bad", str(folder / "never"),
        "--events", str(notes),
    ]  # fmt: skip
    shell = 'echo $$ > "$0"; exec "$@"'
    pid = folder / "pid"
    env = environment(state, lifecycle.binaries())
    control.ask(state, "stop", name=NODE_AGENT)
    with subprocess.Popen(box.enter(state, ["sh", "-c", shell, str(pid), *argv]), env=env) as process:
        while not notes.exists():
            assert process.poll() is None
            time.sleep(0.1)
        yield
        subprocess.run(box.enter(state, ["sh", "-c", 'kill "$0"', pid.read_text().strip()]), env=env, check=True)
    control.ask(state, "start", name=NODE_AGENT)


@contextmanager
def _crowd(state: State, folder: Path, count: int) -> Iterator[list[Scene]]:
    """So many rollouts, and their pods; at the end nothing of it is left."""
    scenes = [Scene(state, f"{PREFIX}{number:02}") for number in range(count)]
    kube = Kube.connect(state.host_kubeconfig)
    with _stand_in_pods(state, folder):
        yield scenes
        for here in scenes:
            kube.delete("ModelRollout", here.name)
        while any(pod["metadata"]["name"].startswith(PREFIX) for pod in kube.list("Pod")):
            time.sleep(0.5)
    kube.session.delete(f"{kube.url}/api/v1/nodes/crowd", timeout=10)
    for here in scenes:
        here.kube.session.close()
    kube.session.close()


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        pytest.param(5, 30.0, id="5 for 30 s"),
        pytest.param(50, 600.0, id="50 for 10 minutes", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ],
)
def test_nothing_is_written_while_nothing_happens(
    playground: State, interference: Interference, tmp_path: Path, count: int, seconds: float
) -> None:
    """With rollouts that are settled an operator writes nothing at all."""
    lane = interference.lane(f"idle-{count}")
    control.ask(playground, "stop", name="operator")
    with _crowd(playground, tmp_path, count) as scenes, Operator(playground, lane):
        for here in scenes:
            here.kube.apply(_settling(here))
        for here in scenes:
            here.wait("the first version serving", healthy, 300)
        time.sleep(15)  # events and the last endpoints are still on their way
        since = now()
        time.sleep(seconds)
        assert not lane.written(since)
    control.ask(playground, "start", name="operator")


def _settling(here: Scene) -> dict[str, Any]:
    manifest = here.manifest(1)
    manifest["spec"]["serving"]["replicas"] = 1
    return manifest
