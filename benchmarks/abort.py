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
from typing import TYPE_CHECKING, Any

from benchmarks import crowd, figures, options
from benchmarks.figures import Figure
from benchmarks.lab import RELAY, Lab, NeverError, lab, rollout
from benchmarks.timeline import Abort, IncompleteError, Limits, abort_figures, zeros
from playground.scene import NeverHappenedError, Scene, Traffic
from playground.toolchain.progress import say

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
    Figure("answeredToZeroInWrites", "the same in API writes of this machine", ""),
    Figure("scrapeToLastBad", "**first scrape over the limits to last bad answer**", "s", worst_goal=1.5),
    Figure("badAnswers", "bad answers", ""),
    Figure("flipToZero", "going bad to weight 0 in the API", "s", worst_goal=2),
)

Trouble = Callable[[Lab, Scene], AbstractContextManager[object]]


@dataclass(frozen=True)
class Variant:
    """What else goes wrong just before the version goes bad, and how many canary pods there are."""

    runs: int
    trouble: Trouble
    canaries: int = 1


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


def _ready(pod: dict[str, Any]) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


VARIANTS = {
    "plain": Variant(30, lambda _lab, _scene: nullcontext()),
    "stable-unready": Variant(5, _stable_unready),
    "canary-gone": Variant(5, _canary_gone, canaries=2),
    "prometheus-gone": Variant(5, _prometheus_gone),
    "server-silent": Variant(5, _server_silent),
}
_CROWD = "thirty-at-once"


def main(arguments: list[str]) -> int:
    """Measure, keep and publish; 1 when a run did not show an abort."""
    parser = options.parser("abort", str(__doc__).split("\n\n", 1)[0], [*VARIANTS, _CROWD])
    chosen = parser.parse_args(arguments)
    results, failed = figures.load("abort"), 0
    wanted = [] if chosen.table else chosen.variant or [*VARIANTS, _CROWD]
    for name in wanted:
        results = results if chosen.append else figures.without(results, name)
    alone = [name for name in wanted if name in VARIANTS]
    if alone:
        with lab(chosen.dir) as found:
            environment = found.describe()
            for run in _alone(found, alone, chosen.runs):
                failed += "problem" in run
                run["answeredToZeroInWrites"] = _in_writes(run, environment)
                results = figures.keep(results, run, environment)
    if _CROWD in wanted:
        with lab(chosen.dir) as found:
            environment = found.describe()
            for run in crowd.go_bad_at_once(found, 30):
                results = figures.keep(results, {"variant": _CROWD, **run}, environment)
    figures.publish(results, figures.table(results["runs"], FIGURES))
    return int(failed > 0)


def _in_writes(run: figures.Run, environment: dict[str, Any]) -> float | None:
    span = run.get("answeredToZero")
    return None if span is None else round(1000 * span / environment["apiWriteMs"], 2)


def _alone(found: Lab, names: list[str], runs: int | None) -> Iterator[figures.Run]:
    """One bad version after the other, on one rollout, under one stream of traffic."""
    with rollout(found, NAME) as scene:
        scene.publish(STABLE)
        scene.misbehave({})
        scene.kube.apply(_manifest(scene, STABLE, 1))
        scene.wait("the first version serving", lambda status: status.get("phase") == "Healthy")
        version = STABLE
        with scene.traffic(RATE) as traffic:
            for name in names:
                for number in range(runs or VARIANTS[name].runs):
                    version += 1
                    run = _attempt(found, scene, traffic, VARIANTS[name], version)
                    say(f"{name} {number + 1}: {run}")
                    yield {"variant": name, "version": version, **run}


def _attempt(found: Lab, scene: Scene, traffic: Traffic, variant: Variant, version: int) -> figures.Run:
    """One run; what went wrong with it, if it did, is a result too."""
    try:
        return _run(found, scene, traffic, variant, version)
    except (IncompleteError, NeverError, NeverHappenedError) as error:
        return {"problem": str(error)[:500]}


def _run(found: Lab, scene: Scene, traffic: Traffic, variant: Variant, version: int) -> figures.Run:
    scene.publish(version)
    scene.kube.apply(_manifest(scene, version, variant.canaries))
    scene.wait("weight 50 live", lambda status: status.get("rollout", {}).get("weightLive") == 50)
    time.sleep(_SETTLED_SECONDS + random.random())  # noqa: S311 - to meet the clocks at any phase
    with variant.trouble(found, scene):
        flipped = time.time()
        scene.misbehave({"versions": {str(version): _FAULT}})
        found.wait_for("weight 0", lambda: zeros(found.events(flipped)), 60)
        time.sleep(2)  # whatever is still on its way
        seen = _abort(found, flipped, found.route_writes(NAME, flipped))
        result = abort_figures(seen, traffic.answers(), LIMITS)
        scene.wait("the end of the rollback", lambda status: "rollout" not in status)
    ended = time.time()
    scene.misbehave({})
    scene.wait("all stable pods ready", lambda _: all(map(_ready, scene.pods("stable"))))
    return {**result, "flipToZero": round(seen.weight_zero - flipped, 4), "rolledBack": round(ended - flipped, 2)}


def _abort(found: Lab, flipped: float, writes: tuple[float, ...] | list[float]) -> Abort:
    events = [event for event in found.events(flipped) if event.what == "answer" or event.name == NAME]
    return Abort(flipped, events, writes, found.scrapes(NAME, 60) if writes else ())


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
