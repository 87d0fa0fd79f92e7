"""How much an operator writes: nothing while nothing happens, and only what changed while something does."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from playground import box, control, lifecycle
from playground.components import NODE_AGENT
from playground.interference import WRITES, Operator, Rule
from playground.kube import Kube
from playground.scene import Scene
from playground.supervisor import environment
from tests.disruption.witness import now
from tests.situations import NEXT, ended, healthy, outcome, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playground.interference import Interference
    from playground.interference.journal import Entry
    from playground.state import State
    from tests.disruption.conftest import Staged

PREFIX = "quiet-"
STATUS = "modelrollouts/status"
_WRITE = Rule(method=WRITES, target=r"^(?!.*/leases)")


def writes(entries: list[Entry], since: float) -> Counter[str]:
    """How many writes of each kind came after a moment; leases left out."""
    return Counter(_kind(entry.target) for entry in entries if entry.time > since and _WRITE.matches(entry.request))


def _kind(target: str) -> str:
    """The plural, with the subresource."""
    found = re.search(r"/namespaces/[^/]+/([a-z]+)(?:/[^/?]+)?(/status)?", target)
    assert found is not None, target
    return found[1] + (found[2] or "")


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
        assert writes(lane.journal(), since) == Counter()
    control.ask(playground, "start", name="operator")


def _settling(here: Scene) -> dict[str, Any]:
    manifest = here.manifest(1)
    manifest["spec"]["serving"]["replicas"] = 1
    return manifest


def test_a_good_rollout_writes_only_what_changed(staged: Callable[[str], Staged]) -> None:
    """Every write of a rollout's status says something new, and there are few writes of each kind."""
    stand = staged("frugal")
    here = stand.here
    start(here)
    statuses: list[dict[str, Any]] = []
    threading.Thread(target=_follow, args=(here, statuses), daemon=True).start()
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        time.sleep(5)  # what the first version still settles
        since = now()
        here.kube.apply(here.manifest(NEXT))
        status = here.wait("the end", ended(NEXT), 150)
        time.sleep(5)
    assert outcome(status, NEXT) == "Promoted", status
    counted = writes(stand.lane.journal(), since)
    told = [one for number, one in enumerate(statuses) if number and one != statuses[number - 1]]
    assert counted[STATUS] <= len(told)
    assert counted[STATUS] <= 40
    assert counted["httproutes"] == 3
    assert counted["deployments"] <= 3
    assert counted["configmaps"] <= 4
    assert counted["controllerrevisions"] <= 2
    assert counted["events"] <= 10
    assert set(counted) <= {STATUS, "httproutes", "deployments", "configmaps", "controllerrevisions", "events"}


def _follow(here: Scene, statuses: list[dict[str, Any]]) -> None:
    """Note every status that the object has from now on, until its watch ends."""
    kube = Kube.connect(here.state.host_kubeconfig)
    statuses.extend(item.get("status", {}) for item in kube.watch("ModelRollout", here.name))
