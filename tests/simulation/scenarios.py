"""Whole rollouts as scripts: who does what when, and how it has to end. A run may be forked at any write."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from modelrollout.core.names import ANNOTATION_ABORT, ANNOTATION_REQUEST
from modelrollout.core.revisions import revision_of
from tests.simulation.operator import SimOperator
from tests.simulation.rules import TICK
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from modelrollout.core.values import JSON

    When = Callable[[World], bool]
    Do = Callable[[World], None]

SPEC: dict[str, Any] = {
    "model": {"basePath": "/models/recsys", "version": 101},
    "serving": {"image": "tensorflow/serving:2.20", "replicas": 3, "storage": {"hostPath": {"path": "/models"}}},
    "traffic": {"gatewayAPI": {"parentRefs": [{"name": "inference"}]}},
    "strategy": {
        "steps": [{"weight": 10, "duration": "2s"}, {"weight": 50, "duration": "2s"}],
        "canaryReadyDeadline": "20s",
        "drainDuration": "2s",
        "bake": {"duration": "4s"},
    },
    "analysis": {
        "prometheus": {"address": "http://prometheus"},
        "interval": "1s",
        "metrics": [
            {
                "name": "errors",
                "kind": "ErrorRate",
                "test": "Limits",
                "window": "4s",
                "minRequests": 10,
                "limits": {"max": "0.1"},
            }
        ],
    },
}


@dataclass(frozen=True)
class Scenario:
    """`before` brings the world to where the scenario begins; `acts` follow, each when its moment has come.

    `version` serves in the end, and `history` has these (version, outcome, reason), the latest first.
    """

    acts: tuple[tuple[When, Do], ...]
    version: int
    history: tuple[tuple[int, str, str], ...]
    before: tuple[Do, ...] = ()
    strategy: JSON = field(default_factory=dict)
    analysis: JSON = field(default_factory=dict)


@dataclass
class Run:
    """A scenario under way; `done` counts its acts."""

    scenario: Scenario
    operator: SimOperator
    done: int = 0

    def __enter__(self) -> Self:
        self.operator.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.operator.__exit__()

    @property
    def world(self) -> World:
        """The world."""
        return self.operator.world

    @property
    def over(self) -> bool:
        """Every act was played, and nothing is under way any more."""
        return self.done == len(self.scenario.acts) and settled(self.world)

    def step(self) -> None:
        """A tick passes; the next act is played once its moment has come."""
        acts = self.scenario.acts
        if self.done < len(acts) and acts[self.done][0](self.world):
            acts[self.done][1](self.world)
            self.done += 1
        self.operator.step(TICK)

    def finish(self) -> None:
        """Play on to the end."""
        for _ in range(1600):
            if self.over:
                return
            self.step()
        raise AssertionError(f"never ends; status {self.world.status}")

    def fork(self) -> Run:
        """The same run with a new process over a world of its own."""
        return Run(self.scenario, SimOperator(self.world.fork()), self.done)


def settled(world: World) -> bool:
    """No rollout is under way, and none is to start: what spec asks for serves, or was rejected."""
    status, metadata = world.status, world.api.rollout["metadata"]
    known = {status.get(which, {}).get("revision") for which in ("stable", "rejected")}
    request = metadata.get("annotations", {}).get(ANNOTATION_REQUEST)
    answered = request is None or status.get("lastRequest", {}).get("token") == request
    return "rollout" not in status and answered and revision_of(world.spec).name in known


def begin(scenario: Scenario) -> Run:
    """Version 101 serves and what comes before the scenario is over; to be entered as a context."""
    world = World()
    parts = {"strategy": scenario.strategy, "analysis": scenario.analysis}
    world.create({**SPEC, **{name: {**SPEC[name], **part} for name, part in parts.items()}})
    with SimOperator(world) as operator:
        for act in (lambda _: None, *scenario.before):
            act(world)
            operator.step()
            run_until(operator, settled)
    return Run(scenario, SimOperator(world))


def run_until(operator: SimOperator, condition: When, seconds: int = 300) -> None:
    """Let time pass until the condition holds."""
    for _ in range(seconds):
        if condition(operator.world):
            return
        operator.step()
    raise AssertionError(f"never happened; status {operator.world.status}")


def rest(run: Run) -> None:
    """Play to the end and a few seconds on, until servers have let go of what they had; then nothing is written."""
    run.finish()
    run.operator.step(4)
    writes = len(run.operator.writes)
    run.operator.wake()
    run.operator.step(2)
    assert not run.operator.writes[writes:], f"once at rest, a pass writes {run.operator.writes[writes:]}"


def kill_points(run: Run, at_most: int = 1000) -> Iterator[tuple[str, Run]]:
    """Play a run to its end; a fork, whose process just died, from before each write and after the last of each tick.

    After a write and before the next one of the same tick the world is the same, so that is every moment there is.
    `at_most` ends it after so many writes.
    """
    with run:
        yield from _forks(run, at_most)


def _forks(run: Run, at_most: int) -> Iterator[tuple[str, Run]]:
    forks: list[tuple[str, Run]] = []

    def meddle(_: SimOperator, what: str, after: bool) -> None:
        if not after:
            forks.append((f"before {what}", run.fork()))

    run.operator.meddle = meddle
    while not run.over and len(run.operator.writes) < at_most:
        forks.clear()
        run.step()
        if forks:
            forks.append((f"after {run.operator.writes[-1]}", run.fork()))
        yield from forks


def end_of(world: World) -> tuple[JSON, dict[tuple[str, str], JSON], list[JSON]]:
    """What a scenario ended with: status, objects and servers, without times, counts and identities."""
    kinds = {"ModelRollout", "Pod"}
    objects = {key: _plain(obj) for key, obj in world.api.objects.items() if key[0] not in kinds}
    pods: list[JSON] = [{"template": p.template, "has": p.server.available} for p in world.pods.all.values()]
    return _masked(_kept(world.status)), objects, pods


def _kept(status: JSON) -> JSON:
    history = [{key: entry[key] for key in _OF_ENTRY if key in entry} for entry in status["history"]]
    # How far the last measurement before the end had come is a matter of seconds, which a kill costs.
    told = [item for item in status["conditions"] if item["type"] != "AnalysisSucceeded"]
    conditions = [{key: item[key] for key in ("type", "status", "reason")} for item in told]
    kept = {key: status[key] for key in _OF_STATUS if key in status}
    if "lastRequest" in kept:
        # What a request that was done still waited for is a matter of seconds, too.
        kept["lastRequest"] = {**kept["lastRequest"], "answer": kept["lastRequest"]["answer"].partition(";")[0]}
    return {**kept, "history": history, "conditions": conditions}


_OF_STATUS = (
    "schemaVersion",
    "phase",
    "message",
    "stable",
    "canary",
    "rejected",
    "lastRequest",
    "replicas",
    "selector",
)
_OF_ENTRY = ("attempt", "revision", "version", "outcome", "reason", "message")


def _masked(value: Any) -> Any:
    """With numbers in texts replaced: counts of requests differ with every second that a kill costs."""
    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    if not isinstance(value, str) or " " not in value:
        return value
    return re.sub(r"stable #%? \([^)]*\)", "stable #", re.sub(r"[0-9][0-9.]*", "#", value))


def _plain(obj: JSON) -> JSON:
    """Without what the API server adds or leaves out, and without the evidence in the marker of an abort."""
    annotations = {k: v for k, v in obj["metadata"].get("annotations", {}).items() if k != ANNOTATION_ABORT}
    metadata = {"labels": obj["metadata"].get("labels"), "annotations": annotations}
    plain = {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
    if plain.get("spec", {}).get("paused") is False:
        # The API server leaves out a Deployment's pause that is over.
        plain["spec"] = {key: value for key, value in plain["spec"].items() if key != "paused"}
    return plain
