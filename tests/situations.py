"""What a rollout's status says, and how its users fare: the words of the tests on the real parts."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.cli import request
from playground.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from playground.load import Answer
    from playground.scene import Traffic

STABLE, NEXT, LATER = 101, 102, 103


def healthy(status: dict[str, Any]) -> bool:
    """The rollout is settled and all stable pods answer."""
    return status.get("phase") == "Healthy"


def ended(version: int) -> Callable[[dict[str, Any]], bool]:
    """The rollout of a version is over."""
    return lambda status: "rollout" not in status and outcome(status, version) is not None


def outcome(status: dict[str, Any], version: int) -> str | None:
    """How the last rollout of a version ended."""
    return next((e["outcome"] for e in status.get("history", ()) if e["version"] == version), None)


def attempts(count: int) -> Callable[[dict[str, Any]], bool]:
    """So many attempts are over, and none is under way."""
    return lambda status: "rollout" not in status and len(status.get("history", ())) == count


def stage(name: str) -> Callable[[dict[str, Any]], bool]:
    """The rollout is in this stage."""
    return lambda status: status.get("rollout", {}).get("stage") == name


def live(weight: int) -> Callable[[dict[str, Any]], bool]:
    """This weight is live."""
    return lambda status: status.get("rollout", {}).get("weightLive") == weight


def start(scene: Scene, **spec: Any) -> None:
    """Version 101 serves, 102 is published; both are good, whatever an earlier run left."""
    scene.publish(STABLE, NEXT)
    scene.misbehave({})
    scene.kube.apply(scene.manifest(STABLE, **spec))
    scene.wait("the first version serving", healthy)


def wait_for_answers(traffic: Traffic, count: int = 50) -> None:
    """Users have been answered."""
    while len(traffic.answers()) < count:
        time.sleep(0.1)


def more_answers(traffic: Traffic, count: int = 100) -> int:
    """Wait for that many; returns how many there were before."""
    before = len(traffic.answers())
    wait_for_answers(traffic, before + count)
    return before


def failures(answers: list[Answer]) -> list[Answer]:
    """Answers that were no right answers."""
    return [answer for answer in answers if answer.error]


def containers(scene: Scene) -> set[tuple[str, int]]:
    """Stable pods with their restarts: the same before and after a promotion."""
    return {
        (pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in scene.pods("stable")
    }


def last_version(scene: Scene) -> int | None:
    """Who answers now."""
    with scene.traffic(rate=20) as traffic:
        wait_for_answers(traffic, 10)
    versions = {answer.version for answer in traffic.answers()}
    assert len(versions) == 1, versions
    return versions.pop()


PHASES = ("Preparing", "step 1", "step 2", "Promoting half way", "Baking", "RollingBack", "RolledBack")
"""Every phase in which people change their minds; `reach` brings a rollout there."""


def some_often(every: Iterable[str], *often: str) -> list[Any]:
    """Parameters for a test in each of these phases: `often` ones by `make test`, the others by `make test-all`."""
    return [pytest.param(phase, marks=[] if phase in often else pytest.mark.long) for phase in every]


_SLOW_LOAD = {"versions": {str(NEXT): {"load_seconds": 3}}}
_SLOW_ANSWERS = {"versions": {str(NEXT): {"latency": 0.4}}}
_FAULTS: dict[str, dict[str, Any]] = {
    "Preparing": _SLOW_LOAD,
    "Promoting half way": _SLOW_LOAD,
    "RollingBack": _SLOW_ANSWERS,
    "RolledBack": _SLOW_ANSWERS,
}


def quick(scene: Scene, version: int, replicas: int = 2, **strategy: Any) -> dict[str, Any]:
    """A manifest with two steps of 2 s, a drain of 1 s, a bake of 2 s; answers over 0.2 s are bad, errors too."""
    fields = scene.manifest(version)
    fields["spec"]["serving"]["replicas"] = replicas
    fields["spec"]["strategy"] = {
        "steps": [{"weight": 20, "duration": "2s"}, {"weight": 50, "duration": "2s"}],
        "canaryReadyDeadline": "60s",
        "drainDuration": "1s",
        "bake": {"duration": "2s"},
        **strategy,
    }
    fields["spec"]["analysis"]["metrics"] = [
        {
            "name": "errors", "kind": "ErrorRate", "test": "Limits", "window": "3s", "minRequests": 5,
            "limits": {"max": "0.2"},
        },
        {
            "name": "latency", "kind": "Latency", "test": "Limits", "quantile": "0.5", "window": "3s",
            "minRequests": 5, "limits": {"max": "0.2"},
        },
    ]  # fmt: skip
    return fields


def reach(scene: Scene, phase: str, replicas: int = 2) -> None:
    """Roll 102 out beside 101, and be back when it is in this phase; the phase then lasts for some seconds."""
    scene.misbehave(_FAULTS.get(phase, {}))
    longer: dict[str, dict[str, Any]] = {
        "step 1": {"steps": [{"weight": 20, "duration": "5s"}, {"weight": 50, "duration": "2s"}]},
        "step 2": {"steps": [{"weight": 20, "duration": "2s"}, {"weight": 50, "duration": "5s"}]},
        "Baking": {"bake": {"duration": "6s"}},
        "RollingBack": {"drainDuration": "5s"},
    }
    scene.kube.apply(quick(scene, NEXT, replicas, **longer.get(phase, {})))
    reached = {
        "step 1": live(20),
        "step 2": live(50),
        "Promoting half way": half_promoted,
        "RolledBack": ended(NEXT),
    }
    scene.wait(phase, reached.get(phase, stage(phase)), 120)


def promote(scene: Scene, version: int, replicas: int = 2, **strategy: Any) -> dict[str, Any]:
    """Ask for a version and wait until it is promoted; returns the status at that moment."""
    before = len(scene.status()["history"])
    scene.kube.apply(quick(scene, version, replicas, **strategy))
    promoted = (version, "Promoted")
    return scene.wait(
        f"{version} promoted",
        lambda s: "rollout" not in s and history(s)[:1] == [promoted] and len(s["history"]) > before,
        120,
    )


def ask(scene: Scene, verb: str, target: str = "") -> dict[str, Any]:
    """Ask for something as the command line would; returns the status once the operator has answered."""
    token = request.token(verb, scene.rollout(), target)
    url = f"{scene.kube.url}/apis/modelrollout.io/v1alpha1/namespaces/default/modelrollouts/{scene.name}"
    patch = {"metadata": {"annotations": {"modelrollout.io/request": token}}}
    scene.kube.session.patch(
        url,
        json=patch,
        params={"fieldManager": "somebody-at-night"},
        headers={"Content-Type": "application/merge-patch+json"},
        timeout=10,
    ).raise_for_status()
    return scene.wait("an answer", lambda s: s.get("lastRequest", {}).get("token") == token)


def scale(scene: Scene, replicas: int) -> None:
    """Set the replicas through the scale subresource, as a HorizontalPodAutoscaler does."""
    url = f"{scene.kube.url}/apis/modelrollout.io/v1alpha1/namespaces/default/modelrollouts/{scene.name}/scale"
    patch = {"spec": {"replicas": replicas}}
    headers = {"Content-Type": "application/merge-patch+json"}
    scene.kube.session.patch(url, json=patch, headers=headers, timeout=10).raise_for_status()


def serving(scene: Scene) -> list[str]:
    """Names of the stable pods that are there to stay."""
    pods = (pod["metadata"] for pod in scene.pods("stable"))
    return sorted(pod["name"] for pod in pods if "deletionTimestamp" not in pod)


def half_promoted(status: dict[str, Any]) -> bool:
    """Some stable pods have the new version, not all."""
    progress = str(status.get("progress", "")).split()
    return stage("Promoting")(status) and progress[:1] != ["0"]


def history(status: dict[str, Any]) -> list[tuple[int, str]]:
    """Version and outcome of every rollout that is over, the last one first."""
    return [(entry["version"], entry["outcome"]) for entry in status.get("history", ())]


def over_at(status: dict[str, Any], version: int) -> float:
    """When the last rollout of a version was over, in seconds since the epoch."""
    entry = next(entry for entry in status["history"] if entry["version"] == version)
    return datetime.fromisoformat(entry["ended"]).timestamp()


def versions_since(traffic: Traffic, moment: float) -> set[int | None]:
    """Who answered requests that left after a moment."""
    return {answer.version for answer in traffic.answers() if answer.start > moment}


def settled(scene: Scene, phase: str = "Healthy") -> dict[str, Any]:
    """Wait for a phase without a rollout, then for three seconds in which nothing is written; returns the status."""
    scene.wait(phase, lambda s: s.get("phase") == phase and "rollout" not in s)
    deadline = time.monotonic() + 60
    before, now = _written(scene), _written(scene)
    while True:
        time.sleep(3)
        before, now = now, _written(scene)
        if before == now:
            return scene.status()
        assert time.monotonic() < deadline, f"still being written: {before} -> {now}"


def _written(scene: Scene) -> list[str]:
    """What changes when the operator writes: the object with its status, the route, the configurations."""
    own = {"labelSelector": f"modelrollout.io/rollout={scene.name}"}
    items = [scene.rollout(), *scene.kube.list("HTTPRoute", **own), *scene.kube.list("ConfigMap", **own)]
    return [f"{item['metadata']['uid']}/{item['metadata']['resourceVersion']}" for item in items]


def model_server(pod: dict[str, Any]) -> int:
    """The process id of a pod's model server, as this machine sees it."""
    name = f"HOSTNAME={pod['metadata']['name']}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if name in (folder / "environ").read_bytes().split(b"\0"):
                return int(folder.name)
        except (FileNotFoundError, PermissionError, ProcessLookupError):  # it ended, or is somebody else's
            continue
    raise AssertionError(f"{pod['metadata']['name']} has no process")


def is_ready(pod: dict[str, Any]) -> bool:
    """The pod is an endpoint of its Service."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


@contextmanager
def weights(scene: Scene) -> Iterator[list[int]]:
    """The canary's shares in the route from now on until the block ends, each change once, the first one included."""
    seen: list[int] = []
    over = threading.Event()

    def look() -> None:
        own = Scene(scene.state, scene.name)
        while not over.is_set():
            weight = own.weight()
            if weight is not None and seen[-1:] != [weight]:
                seen.append(weight)
            over.wait(0.05)
        own.kube.session.close()

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        try:
            yield seen
        finally:
            over.set()
            looking.result()
