"""`python -m benchmarks.undo`: how long a version that people go back from still answers, per pod and over all.

Going back is asked for by `spec` alone: while the new version bakes, when the old one is still loaded, or after it is
promoted, when the one before it has to be loaded again.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.command import Benchmark, Budget, attempt
from benchmarks.figures import Figure, Run
from benchmarks.lab import Lab, callers, rollout
from benchmarks.timeline import IncompleteError, last_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playground.scene import Scene, Traffic

NAME = "bench-undo"
STABLE = 101
REPLICAS = 3
_GATEWAY_RATE, _POD_RATE = 60.0, 50.0
_GRPC_PORT = 8500
_RUNS = 5

FIGURES = (
    Figure("quickestPod", "request to last answer of the version left, quickest pod", "s"),
    Figure("slowestPod", "request to last answer of the version left, slowest pod", "s"),
    Figure("overAll", "**request to last answer of the version left, over all (through the gateway)**", "s"),
    Figure("over", "request to rollout over", "s"),
    Figure("failed", "requests that failed, total", total=True, worst_goal=0),
)


@dataclass(frozen=True)
class Way:
    """From where people go back: the bake that is chosen for it, the phase to wait for, how the history shows it."""

    bake: str
    phase: str
    outcome: str
    undoes: bool


WAYS = {
    "bake-revert": Way("10m", "Baking", "Cancelled", undoes=False),
    "fast-path": Way("1s", "Healthy", "Promoted", undoes=True),
}


def _undone(way: Way, found: Lab, budget: Budget) -> Iterator[Run]:
    """A new version, and back to the one before, again and again."""
    with rollout(found, NAME) as scene:
        scene.publish(STABLE)
        scene.kube.apply(_manifest(scene, STABLE, way))
        scene.wait("the first version serving", lambda status: status.get("phase") == "Healthy")
        for number in budget.runs(_RUNS):
            yield attempt(partial(_go_and_come_back, found, scene, way, STABLE + number))


def _go_and_come_back(found: Lab, scene: Scene, way: Way, version: int) -> Run:
    scene.publish(version)
    scene.kube.apply(_manifest(scene, version, way))
    scene.wait(way.phase, lambda status: _there(status, way, version), 180)
    pods = {pod["metadata"]["name"]: f"{pod['status']['podIP']}:{_GRPC_PORT}" for pod in scene.pods("stable")}
    with scene.traffic(_GATEWAY_RATE) as users, callers(found, NAME, list(pods.values()), _POD_RATE) as of_pods:
        everybody = [users, *of_pods]
        found.wait_for("users at work", lambda: all(len(traffic.answers()) > _POD_RATE for traffic in everybody))
        asked = time.time()
        scene.kube.apply(_manifest(scene, STABLE, way))
        scene.wait("the way back", lambda status: _back(status, way, version))
        ended = time.time()
        time.sleep(1)
    lasts = [_last(traffic, version, asked) for traffic in everybody]
    failed = [answer for traffic in everybody for answer in traffic.answers() if answer.error]
    return {
        "version": version,
        "pods": dict(zip(pods, lasts[1:], strict=True)),
        "quickestPod": min(lasts[1:]),
        "slowestPod": max(lasts[1:]),
        "overAll": lasts[0],
        "over": round(ended - asked, 2),
        "requests": len(users.answers()),
        "failed": len(failed),
        "errors": sorted({f"{answer.error} after {answer.start - asked:.2f} s" for answer in failed}),
    }


def _there(status: dict[str, Any], way: Way, version: int) -> bool:
    """Everybody is answered by the new version."""
    serving = status.get("stable" if way.undoes else "canary", {}).get("version")
    return status.get("phase") == way.phase and serving == version


def _back(status: dict[str, Any], way: Way, version: int) -> bool:
    """The rollout back is over: an undo is a rollout of its own, a revert is the end of the one under way."""
    wanted = (STABLE if way.undoes else version, way.outcome)
    last = next(iter(status.get("history", ())), None)
    return "rollout" not in status and last is not None and (last["version"], last["outcome"]) == wanted


def _last(traffic: Traffic, version: int, since: float) -> float:
    seconds = last_answer(traffic.answers(), version, since)
    if seconds is None:
        raise IncompleteError(f"version {version} gave no answer after the request")
    return seconds


def _manifest(scene: Scene, version: int, way: Way) -> dict[str, Any]:
    strategy = {
        "steps": [{"weight": 50, "duration": "1s"}], "canaryReadyDeadline": "60s", "drainDuration": "1s",
        "bake": {"duration": way.bake},
    }  # fmt: skip
    made = scene.manifest(version, strategy=strategy)
    made["spec"]["serving"]["replicas"] = REPLICAS
    return made


BENCHMARK = Benchmark(
    "undo",
    str(__doc__).split("\n\n", 1)[0],
    {name: partial(_undone, way) for name, way in WAYS.items()},
    FIGURES,
    minutes=20,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main(sys.argv[1:]))
