"""`python -m benchmarks.promote`: what users notice while good versions are promoted: nothing, it should be.

Requests over REST and gRPC, in turn, through the gateway, during one promotion after the other, until there have been
enough. Every answer is checked: that it is right, and that its version was one that may answer at that moment.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.command import Benchmark, Budget, attempt
from benchmarks.figures import Figure, Run
from benchmarks.lab import Lab, NeverError, rollout
from benchmarks.timeline import Promotion, out_of_turn, percentile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playground.load import Answer
    from playground.scene import Scene

NAME = "bench-promote"
STABLE = 101
RATE = 200.0
_MOST = 100

FIGURES = (
    Figure("requests", "requests, total", total=True),
    Figure("failed", "**failed, total**", worst_goal=0, total=True),
    Figure("outOfTurn", "**answers from a version that should not answer, total**", worst_goal=0, total=True),
    Figure("newAtFirstStep", "share of the new version at weight 20", "%", 100),
    Figure("newAtSecondStep", "share of the new version at weight 50", "%", 100),
    Figure("millisecondsP50", "answered within, half of a run's requests", "ms"),
    Figure("millisecondsP99", "answered within, 99 % of a run's requests", "ms"),
    Figure("seconds", "new version wished for to rollout over", "s"),
)


@dataclass(frozen=True)
class Way:
    """How stable pods get the new version, and how many requests are to be sent meanwhile."""

    requests: int
    method: str


WAYS = {"reload": Way(100_000, "Reload"), "roll": Way(10_000, "Roll")}


def _promotions(way: Way, found: Lab, budget: Budget) -> Iterator[Run]:
    """Until there have been enough requests, or as many promotions as were asked for."""
    with rollout(found, NAME) as scene:
        scene.publish(STABLE)
        scene.kube.apply(_manifest(scene, STABLE, way))
        scene.wait("the first version serving", lambda status: status.get("phase") == "Healthy")
        requests = 0
        for number in budget.runs(_MOST):
            run = attempt(partial(_promotion, found, scene, way, STABLE + number))
            yield run
            requests += run.get("requests", 0)
            if budget.asked is None and requests >= way.requests:
                return


def _promotion(found: Lab, scene: Scene, way: Way, version: int) -> Run:
    scene.publish(version)
    old = scene.status()["stable"]["version"]
    with scene.traffic(RATE) as traffic:
        found.wait_for("users at work", traffic.answers)
        began = time.time()
        scene.kube.apply(_manifest(scene, version, way))
        scene.wait("the end of the rollout", lambda status: _over(status, version), 180)
        ended = time.time()
    outcome = scene.status()["history"][0]["outcome"]
    if outcome != "Promoted":
        raise NeverError(f"version {version} was not promoted: {scene.status()['history'][0]}")
    promotion = Promotion(old, version, min(found.route_writes(NAME, began)), found.seen(NAME, began, stage="Baking"))
    answers = traffic.answers()
    return {
        **_figures(promotion, began, answers),
        **_shares(found, began, version, answers),
        "seconds": round(ended - began, 2),
    }


def _over(status: dict[str, Any], version: int) -> bool:
    history = status.get("history", ())
    return "rollout" not in status and bool(history) and history[0]["version"] == version


def _figures(promotion: Promotion, began: float, answers: Sequence[Answer]) -> Run:
    spans = [1000 * (answer.end - answer.start) for answer in answers]
    wrong, failed = out_of_turn(promotion, answers), [answer for answer in answers if answer.error]
    return {
        "version": promotion.new,
        "requests": len(answers),
        "failed": len(failed),
        "errors": dict(Counter(answer.error for answer in failed)),
        "failedAfter": [round(answer.start - began, 2) for answer in (failed[:1] + failed[-1:])],
        "outOfTurn": len(wrong),
        "wrongVersions": sorted({answer.version or 0 for answer in wrong}),
        "millisecondsP50": round(percentile(spans, 0.5) or 0, 1),
        "millisecondsP99": round(percentile(spans, 0.99) or 0, 1),
    }


def _shares(found: Lab, began: float, version: int, answers: Sequence[Answer]) -> Run:
    """What part of the requests of a step the new version answered, from the moment at which its weight was live."""
    live = [found.seen(NAME, began, live=weight) for weight in (20, 50)]
    ends = [found.route_writes(NAME, live[0])[0], found.seen(NAME, began, stage="Promoting")]
    shares = []
    for begin, end in zip(live, ends, strict=True):
        of_step = [answer.version == version for answer in answers if begin <= answer.start < end]
        shares.append(round(sum(of_step) / len(of_step), 4) if of_step else None)
    return {"newAtFirstStep": shares[0], "newAtSecondStep": shares[1]}


def _manifest(scene: Scene, version: int, way: Way) -> dict[str, Any]:
    strategy = {
        "steps": [{"weight": 20, "duration": "3s"}, {"weight": 50, "duration": "3s"}], "canaryReadyDeadline": "60s",
        "drainDuration": "1s", "bake": {"duration": "3s"}, "promotion": {"method": way.method},
    }  # fmt: skip
    return scene.manifest(version, strategy=strategy)


BENCHMARK = Benchmark(
    "promote",
    str(__doc__).split("\n\n", 1)[0],
    {name: partial(_promotions, way) for name, way in WAYS.items()},
    FIGURES,
    minutes=20,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main(sys.argv[1:]))
