"""`python -m benchmarks.footprint`: how soon the operator works after its start, and what it takes from the machine.

With one object and its real pods, and with hundreds whose pods and model servers are stand-ins (benchmarks/crowd.py):
to the operator they are the same, it reads each server's status by gRPC.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.command import Benchmark, Budget, attempt
from benchmarks.crowd import STABLE, gathered
from benchmarks.figures import Figure, Run
from benchmarks.lab import Lab, rollout
from playground import control, monitoring
from playground.components import OPERATOR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.crowd import Crowd
    from playground.scene import Scene

NAME = "bench-footprint"
_CROWD = 500
_CALM_SECONDS = 10.0
"""After the last change, before idleness is measured."""
_IDLE_SECONDS = 60.0

FIGURES = (
    Figure("objects", "objects"),
    Figure("startToFirst", "**start of the process to first reconcile**", "s", worst_goal=3),
    Figure("residentMB", "**resident memory with one object, idle**", "MB", worst_goal=120),
    Figure("crowdResidentMB", "**resident memory with a crowd, idle**", "MB", worst_goal=154),
    Figure("highestMB", "resident memory, highest", "MB"),
    Figure("idleCpu", "**CPU, idle**", "% of a core", worst_goal=0.85),
    Figure("settleSeconds", "first object made to all healthy", "s"),
    Figure("settleCpuSeconds", "the operator's CPU for that", "s"),
)


def _one(found: Lab, budget: Budget) -> Iterator[Run]:
    """Starts with one object that has changed meanwhile."""
    with rollout(found, NAME) as scene:
        scene.publish(STABLE)
        scene.kube.apply(_manifest(scene, 1))
        scene.wait("the first version serving", _healthy)
        for number in budget.runs(3):
            yield attempt(partial(_start_and_idle, found, scene, 1 + number % 2))


def _start_and_idle(found: Lab, scene: Scene, replicas: int) -> Run:
    begin = _start(found, lambda: scene.kube.apply(_manifest(scene, replicas)))
    scene.wait("all as it should be", lambda status: _healthy(status) and status.get("replicas") == replicas)
    return {"objects": 1, "startToFirst": begin, **_idle(found)}


def _healthy(status: dict[str, Any]) -> bool:
    return status.get("phase") == "Healthy"


def _start(found: Lab, change: Callable[[], object]) -> float:
    """Change something while the operator is away; seconds from the start of its process to its first act on it."""
    control.ask(found.state, "stop", name=OPERATOR)
    change()
    away = time.time()
    control.ask(found.state, "start", name=OPERATOR)
    first: float = found.wait_for("the first reconcile", partial(_first_act, found, away))
    return round(first - _usage(found)["started"], 3)


def _first_act(found: Lab, since: float) -> float | None:
    acts = (line["timestamp"] for line in found.log(since) if line.get("event") in {"apply", "decision"})
    return next(acts, None)


def _usage(found: Lab) -> dict[str, float]:
    usage: dict[str, float] = json.loads(found.inside("usage"))
    return usage


def _idle(found: Lab) -> Run:
    """Memory and CPU while nothing happens."""
    time.sleep(_CALM_SECONDS)
    before = _usage(found)
    time.sleep(_IDLE_SECONDS)
    after = _usage(found)
    return {
        "residentMB": round(after["residentMB"], 1),
        "highestMB": round(after["highestMB"], 1),
        "idleCpu": round(100 * (after["cpuSeconds"] - before["cpuSeconds"]) / _IDLE_SECONDS, 2),
    }


def _many(found: Lab, budget: Budget) -> Iterator[Run]:
    """A crowd (`--runs` of them) that comes all at once, and then rests.

    Nothing reads metrics of what rests: Prometheus makes room.
    """
    control.ask(found.state, "stop", name=monitoring.NAME)
    try:
        with gathered(found, budget.asked or _CROWD) as crowd:
            yield attempt(partial(_come_and_rest, found, crowd))
    finally:
        control.ask(found.state, "start", name=monitoring.NAME)


def _come_and_rest(found: Lab, crowd: Crowd) -> Run:
    control.ask(found.state, "stop", name=OPERATOR)
    control.ask(found.state, "start", name=OPERATOR)
    before, began = _usage(found), time.time()
    crowd.apply(STABLE)
    crowd.wait_healthy()
    settled = max(found.seen(name, began, phase="Healthy") for name in crowd.names) - began
    settling = _usage(found)["cpuSeconds"] - before["cpuSeconds"]
    idle = _idle(found)
    run = {
        "objects": len(crowd.names),
        "settleSeconds": round(settled, 1),
        "settleCpuSeconds": round(settling, 1),
        "crowdResidentMB": idle.pop("residentMB"),
        **idle,
    }
    return {**run, "startToFirst": _start(found, partial(crowd.scale, crowd.names[-1], 2))}


def _manifest(scene: Scene, replicas: int) -> dict[str, Any]:
    made = scene.manifest(STABLE)
    made["spec"]["serving"]["replicas"] = replicas
    return made


BENCHMARK = Benchmark(
    "footprint",
    str(__doc__).split("\n\n", 1)[0],
    {"one": _one, "crowd": _many},
    FIGURES,
    minutes=25,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main(sys.argv[1:]))
