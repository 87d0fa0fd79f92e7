"""`python -m benchmarks.abort`: how quick a version that goes bad at weight 50 is out of the traffic.

One rollout is used again with rising version numbers. Each version is good until its weight has been live for a while,
then answers with errors, at a moment that no clock of the operator or of Prometheus knows of.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks import crowd
from benchmarks.command import Benchmark, Budget, attempt
from benchmarks.figures import Figure, Run
from benchmarks.lab import RELAY, Lab, rollout
from benchmarks.timeline import Limits, abort_figures, zeros
from playground.scene import Scene, Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "bench-abort"
STABLE = 101
RATE = 100.0
LIMITS = Limits(share=0.01, window=2.0, requests=10)
_FAULT = {"error_rate": 0.8, "error_code": "INTERNAL"}
_SETTLED_SECONDS = 3.0
"""At weight 50 before the version goes bad: longer than the window, so that nothing of the step's start counts."""
_SLOW_LOAD = 15.0

FIGURES = (
    Figure("firstBadScrape", "first bad answer to first bad scrape", "s"),
    Figure("queryAnswered", "first bad answer to query answered", "s"),
    Figure("writeSent", "first bad answer to write sent", "s"),
    Figure("weightZero", "first bad answer to weight 0 in the API", "s"),
    Figure("lastBadAnswer", "first bad answer to last bad answer", "s"),
    Figure("answeredToZero", "**query answered to weight 0 in the API**", "ms", 1000, 50, 100),
    Figure("answeredToZeroInWrites", "the same in API writes of this machine"),
    Figure("measuredToZero", "the operator had the answer to weight 0 in the API", "ms", 1000),
    Figure("scrapeToLastBad", "**first scrape over the limits to last bad answer**", "s", worst_goal=1.5),
    Figure("badAnswers", "bad answers"),
    Figure("scrapeToZero", "first scrape over the limits to weight 0 in the API", "s"),
    Figure("flipToZero", "going bad to weight 0 in the API", "s", worst_goal=2),
)

Cause = Callable[[Lab, Scene], AbstractContextManager[object]]


@dataclass(frozen=True)
class Trouble:
    """What else goes wrong just before the version goes bad, how many canary pods there are, how long it goes on.

    A rollback does not end while a stable pod's server is silent, so that trouble ends before it.
    """

    runs: int
    cause: Cause
    canaries: int = 1
    until_rolled_back: bool = True


@contextmanager
def _stable_unready(found: Lab, scene: Scene) -> Iterator[None]:
    """A stable pod is replaced by one that loads for longer than the abort can take."""
    scene.misbehave({"versions": {str(STABLE): {"load_seconds": _SLOW_LOAD}}})
    victim = scene.pods("stable")[0]["metadata"]["name"]
    scene.kube.delete("Pod", victim)
    found.wait_for("an unready stable pod", lambda: any(not _ready(pod) for pod in scene.pods("stable")))
    yield


@contextmanager
def _canary_gone(_: Lab, scene: Scene) -> Iterator[None]:
    """One of the canary's pods goes."""
    scene.kube.delete("Pod", scene.pods("canary")[0]["metadata"]["name"])
    yield


@contextmanager
def _prometheus_gone(found: Lab, _: Scene) -> Iterator[None]:
    """Prometheus answers the round that shows the first bad answers, and nothing after it until all is over."""
    found.gone.touch()
    try:
        yield
    finally:
        found.gone.unlink()


@contextmanager
def _server_silent(found: Lab, scene: Scene) -> Iterator[None]:
    """The process of a stable pod's model server is stopped: it takes connections and never answers."""
    pod = scene.pods("stable")[0]["metadata"]["name"]
    found.inside("signal", pod, str(int(signal.SIGSTOP)))
    try:
        yield
    finally:
        found.inside("signal", pod, str(int(signal.SIGCONT)))


def _rolled_back(status: dict[str, Any]) -> bool:
    return "rollout" not in status


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


TROUBLES = {
    "plain": Trouble(30, lambda _lab, _scene: nullcontext()),
    "stable-unready": Trouble(5, _stable_unready),
    "canary-gone": Trouble(5, _canary_gone, canaries=2),
    "prometheus-gone": Trouble(5, _prometheus_gone),
    "server-silent": Trouble(5, _server_silent, until_rolled_back=False),
}
_CROWD = 30


def _alone(trouble: Trouble, found: Lab, budget: Budget) -> Iterator[Run]:
    """One bad version after the other, on one rollout, under one stream of traffic."""
    with rollout(found, NAME) as scene:
        scene.publish(STABLE)
        scene.kube.apply(_manifest(scene, STABLE, 1))
        scene.wait("the first version serving", lambda status: status.get("phase") == "Healthy")
        with scene.traffic(RATE) as traffic:
            for number in budget.runs(trouble.runs):
                yield attempt(partial(_run, found, scene, traffic, trouble, STABLE + number))


def _together(found: Lab, budget: Budget) -> Iterator[Run]:
    """Many rollouts that go bad in one moment; a run is one of them."""
    yield from crowd.go_bad_at_once(found, budget.asked or _CROWD)


def _run(found: Lab, scene: Scene, traffic: Traffic, trouble: Trouble, version: int) -> Run:
    scene.publish(version)
    scene.misbehave({})
    scene.kube.apply(_manifest(scene, version, trouble.canaries))
    scene.wait("weight 50 live", lambda status: status.get("rollout", {}).get("weightLive") == 50)
    time.sleep(_SETTLED_SECONDS + random.random())  # noqa: S311 - to meet the clocks at any phase
    with trouble.cause(found, scene):
        flipped = time.time()
        scene.misbehave({"versions": {str(version): _FAULT}})
        found.wait_for("weight 0", lambda: zeros(found.events(flipped)), 60)
        time.sleep(2)  # whatever is still on its way
        seen = found.aborted(NAME, flipped)
        result = abort_figures(seen, traffic.answers(), LIMITS)
        if trouble.until_rolled_back:
            scene.wait("the end of the rollback", _rolled_back)
    scene.wait("the end of the rollback", _rolled_back)
    ended = time.time()
    scene.misbehave({})
    scene.wait("all stable pods ready", lambda _: all(map(_ready, scene.pods("stable"))))
    return {**result, **found.in_writes(seen), "rolledBack": round(ended - flipped, 2)}


def _manifest(scene: Scene, version: int, canaries: int) -> dict[str, Any]:
    """Weight 50 at once and for long; limits that a few errors break."""
    metric = {
        "name": "error-rate", "kind": "ErrorRate", "test": "Limits", "window": "2s", "minRequests": LIMITS.requests,
        "failures": 1, "limits": {"max": str(LIMITS.share)},
    }  # fmt: skip
    strategy = {
        "steps": [{"weight": 50, "duration": "10m", "replicas": canaries}],
        "canaryReadyDeadline": "60s", "drainDuration": "1s", "bake": {"duration": "4s"},
    }  # fmt: skip
    analysis = {
        "prometheus": {"address": f"http://{RELAY}", "timeout": "2s"}, "interval": "1s", "metrics": [metric],
    }  # fmt: skip
    return scene.manifest(version, strategy=strategy, analysis=analysis)


BENCHMARK = Benchmark(
    "abort",
    str(__doc__).split("\n\n", 1)[0],
    {**{name: partial(_alone, trouble) for name, trouble in TROUBLES.items()}, "many-at-once": _together},
    FIGURES,
    minutes=15,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main(sys.argv[1:]))
