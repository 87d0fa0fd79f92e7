"""`python -m benchmarks.scale`: 100 to 5,000 objects on the real API server: start, rest, a tenth rolls out, goes bad.

Model servers, pods, controllers and gateway are stand-ins (benchmarks/stub_pods.py, benchmarks/stub_controllers.py): to
the operator they are the same, and the machine is left to it, the API server and Prometheus.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from benchmarks.command import Benchmark, Budget, attempt
from benchmarks.crowd import BAD, LIMITS, PREFIX, STABLE, TEMPLATE, manifest
from benchmarks.figures import Figure, Run
from benchmarks.stub_server import turn_bad
from benchmarks.timeline import first_over_limits, percentile, zeros
from playground import control, gateway, monitoring
from playground.box import API_ADDRESS
from playground.components import NODE_AGENT, OPERATOR
from playground.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from benchmarks.lab import Lab

_MOVERS = f"{PREFIX}mover-"
_RESTING = f"{PREFIX}rest-"
_PLAYED = ("kube-controller-manager", "kube-scheduler", gateway.NAME, NODE_AGENT, monitoring.NAME)
_PROMETHEUS = f"{API_ADDRESS}:{monitoring.PORT}"
"""Asked without the observer in between: passing a hundred questions a second on would cost as much as they do."""
_CALM_SECONDS, _CALM_SECONDS_EACH = 30.0, 1 / 40
"""A new process asks each model server once, at most fifty a second: it is not idle before that."""
_IDLE_MINUTES = 15
"""So often everything is listed and looked at without a reason; each server at rest is asked each ten minutes."""
_SECONDS_EACH = 2.0
_MOST_ROLLING = 100
"""More rollouts under way, each judged each second, are not for two cores: Prometheus alone would take one."""
_SINGLES, _APART_SECONDS = 30, 1.1
"""So many at most go bad one after another, so far apart: not at one moment of Prometheus' second."""

FIGURES = (
    Figure("objects", "objects"),
    Figure("healthySeconds", "new objects made to all healthy", "s"),
    Figure("settleSeconds", "**start of the process to the last object reconciled**", "s"),
    Figure("settleCpuSeconds", "the operator's CPU for that", "s"),
    Figure("settleReads", "reads of the API for that"),
    Figure("residentMB", "**resident memory, idle**", "MB"),
    Figure("idleCpu", "**CPU, idle for 15 minutes**", "% of a core"),
    Figure("idleReads", "reads of the API in a minute of them"),
    Figure("idleWrites", "**writes to the API in all of them, Leases aside**", worst_goal=0),
    Figure("pageSeconds", "the page of metrics", "s"),
    Figure("rolling", "rollouts under way at weight 50"),
    Figure("singles", "beside them go bad, one after another"),
    Figure("singleMedian", "going bad to weight 0 in the API, median", "s"),
    Figure("singleP99", "**going bad to weight 0 in the API, 99 %**", "s", worst_goal=2),
    Figure("rolling", "then go bad in one moment"),
    Figure("abortMedian", "going bad to weight 0 in the API, median", "s"),
    Figure("abortP99", "**going bad to weight 0 in the API, 99 %**", "s", worst_goal=2),
    Figure("provenMedian", "the scrape that proves it to weight 0 in the API, median", "s"),
    Figure("provenP99", "the scrape that proves it to weight 0 in the API, 99 %", "s"),
    Figure("highestMB", "resident memory, highest", "MB"),
)


@dataclass(frozen=True)
class Stage:
    """The objects that there are, and those who play what is around them."""

    found: Lab
    template: Scene
    count: int
    bad: Path

    @property
    def movers(self) -> list[str]:
        """A tenth of all, a hundred at most."""
        return [f"{_MOVERS}{number:04}" for number in range(min(_MOST_ROLLING, self.count // 10))]

    @property
    def singles(self) -> list[str]:
        """Those that move beside them and go bad one after another."""
        return [f"{_MOVERS}single-{number:02}" for number in range(min(_SINGLES, self.count // 20))]

    @property
    def names(self) -> list[str]:
        """All of them."""
        moving = self.movers + self.singles
        return moving + [f"{_RESTING}{number:04}" for number in range(self.count - len(moving))]

    def apply(self, names: list[str], version: int) -> None:
        """Wish for a version."""
        for name in names:
            self.template.kube.apply(manifest(self.template, name, version, _PROMETHEUS))

    def wait(self, what: str, names: list[str], fact: str, value: object) -> float:
        """Until the observer has last seen this fact of all these objects; the moment at which the last came to it."""
        wanted = set(names)

        def moments() -> dict[str, float]:
            last = {e.name: e for e in self.found.events() if e.what == "status" and e.name in wanted}
            return {name: e.at for name, e in last.items() if e.facts.get(fact) == value}

        patience = 120 + _SECONDS_EACH * len(names)
        self.found.wait_for(what, lambda: _slowly(moments).keys() >= wanted, patience)
        return max(moments().values())

    def metrics(self) -> dict[str, float]:
        """The operator's own counters: `reads` and `writes` of the API, `passes`, and `seconds` for the page."""
        counted: dict[str, float] = json.loads(self.found.inside("metrics"))
        return counted

    def usage(self) -> dict[str, float]:
        """See benchmarks.inside."""
        used: dict[str, float] = json.loads(self.found.inside("usage"))
        return used


def _slowly(look: Callable[[], dict[str, float]]) -> dict[str, float]:
    time.sleep(0.5)
    return look()


@contextmanager
def _staged(found: Lab, count: int) -> Iterator[Stage]:
    """Stand-ins at work for the block, outside of which the operator rests. Objects stay for the next variant."""
    stage = Stage(found, Scene(found.state, TEMPLATE), count, found.folder / "movers-go-bad")
    stage.bad.unlink(missing_ok=True)
    notes = found.folder / "stub-pods.ndjson"
    notes.unlink(missing_ok=True)
    for name in (OPERATOR, *_PLAYED):
        control.ask(found.state, "stop", name=name)
    words = ("--prefix", PREFIX, "--bad", str(stage.bad), "--events", str(notes))
    with (
        found.process("-m", "benchmarks.stub_pods", *words) as pods,
        found.process("-m", "benchmarks.stub_controllers", "--prefix", PREFIX),
    ):
        found.wait_for_start(pods, notes.exists)
        try:
            yield stage
        finally:
            control.ask(found.state, "stop", name=OPERATOR)
            stage.template.kube.session.close()


def _measured(count: int, found: Lab, _budget: Budget) -> Iterator[Run]:
    with _staged(found, count) as stage:
        yield attempt(partial(_run, stage))


def _run(stage: Stage) -> Run:
    stage.apply(stage.names, STABLE)
    began = time.time()
    control.ask(stage.found.state, "start", name=OPERATOR)
    healthy = stage.wait("all healthy", stage.names, "phase", "Healthy") - began
    run = {"objects": stage.count, "healthySeconds": round(healthy, 1)}
    return run | _settle(stage) | _idle(stage) | _roll_out(stage)


def _settle(stage: Stage) -> Run:
    """A new process over objects that are as they should be."""
    control.ask(stage.found.state, "stop", name=OPERATOR)
    control.ask(stage.found.state, "start", name=OPERATOR)
    stage.found.wait_for("a pass over every object", lambda: stage.metrics()["passes"] >= stage.count, 600)
    usage, seen = stage.usage(), stage.metrics()
    return {
        "settleSeconds": round(time.time() - usage["started"], 1),
        "settleCpuSeconds": round(usage["cpuSeconds"], 1),
        "settleReads": seen["reads"],
    }


def _idle(stage: Stage) -> Run:
    time.sleep(_CALM_SECONDS + _CALM_SECONDS_EACH * stage.count)
    counted, before = stage.metrics(), stage.usage()
    time.sleep(60 * _IDLE_MINUTES)
    after, now = stage.usage(), stage.metrics()
    return {
        "residentMB": round(after["residentMB"], 1),
        "idleCpu": round(100 * (after["cpuSeconds"] - before["cpuSeconds"]) / (60 * _IDLE_MINUTES), 2),
        "idleReads": round((now["reads"] - counted["reads"]) / _IDLE_MINUTES),
        "idleWrites": now["writes"] - counted["writes"],
        "pageSeconds": round(now["seconds"], 3),
    }


def _roll_out(stage: Stage) -> Run:
    """A tenth and a few roll out. Prometheus scrapes those alone: it would not do more each second."""
    moving = stage.movers + stage.singles
    control.ask(stage.found.state, "start", name=monitoring.NAME)
    stage.found.inside("scrape", str(stage.found.state.data / "prometheus.yml"), f"{_MOVERS}.*")
    stage.apply(moving, BAD)
    stage.wait("weight 50 everywhere", moving, "live", 50)
    time.sleep(5)  # the window is full of good answers
    figures = {"rolling": len(stage.movers)} | _one_by_one(stage) | _at_once(stage)
    highest = stage.usage()["highestMB"]
    stage.wait("all taken back", moving, "phase", "RolledBack")
    control.ask(stage.found.state, "stop", name=monitoring.NAME)
    return figures | {"highestMB": round(highest, 1)}


def _one_by_one(stage: Stage) -> Run:
    flipped = {}
    for name in stage.singles:
        flipped[name] = time.time()
        turn_bad(stage.bad, flipped[name], name)
        time.sleep(_APART_SECONDS)
    zero = _zeros(stage, flipped)
    since_bad = [zero[name] - at for name, at in flipped.items()]
    return {
        "singles": len(flipped),
        "singleMedian": percentile(since_bad, 0.5),
        "singleP99": percentile(since_bad, 0.99),
    }


def _at_once(stage: Stage) -> Run:
    flipped = time.time()
    turn_bad(stage.bad, flipped)
    zero = _zeros(stage, dict.fromkeys(stage.movers, flipped))
    since_bad = [zero[name] - flipped for name in stage.movers]
    since_read = [zero[name] - _read(stage, name, flipped) for name in stage.movers]
    return {
        "abortMedian": percentile(since_bad, 0.5),
        "abortP99": percentile(since_bad, 0.99),
        "provenMedian": percentile(since_read, 0.5),
        "provenP99": percentile(since_read, 0.99),
    }


def _zeros(stage: Stage, flipped: Mapping[str, float]) -> dict[str, float]:
    """When each of these was first seen at weight 0 after it had gone bad."""
    found, since = stage.found, min(flipped.values())
    found.wait_for("weight 0 everywhere", lambda: zeros(found.events(since)) >= flipped.keys(), 120)
    return {e.name: e.at for e in reversed(found.events(since)) if e.what == "weight" and e.facts["weight"] == 0}


def _read(stage: Stage, name: str, flipped: float) -> float:
    """When Prometheus had read what proves it."""
    seconds = int(time.time() - flipped) + 10
    return first_over_limits(stage.found.scrapes(name, seconds), LIMITS, flipped)


BENCHMARK = Benchmark(
    "scale",
    str(__doc__).split("\n\n", 1)[0],
    {f"{count:,}": partial(_measured, count) for count in (100, 500, 1000, 5000)},
    FIGURES,
    minutes=180,
)

if __name__ == "__main__":
    sys.exit(BENCHMARK.main(sys.argv[1:]))
