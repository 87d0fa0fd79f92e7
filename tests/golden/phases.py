"""A ModelRollout in each of its phases, from the simulated world: virtual time, so the same to the second each time."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from tests.gitops.export import label
from tests.simulation.operator import SimOperator
from tests.simulation.repertoire import SCENARIOS, at
from tests.simulation.rules import TICK
from tests.simulation.scenarios import SPEC, Scenario, begin, run_until, settled
from tests.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulation.scenarios import Run

Phases = dict[str, dict[str, Any]]
"""Objects by a name for their phase."""

_TAKEN_BACK = ("rollingback", "rolledback")
_ALERT = {"alertname": "FewerClicks", "namespace": "default", "severity": "page"}


def phases() -> Phases:
    """Every phase that people may meet, in the order of their names."""
    found: Phases = {}
    for name, shown in (("good", ()), ("bad", _TAKEN_BACK), ("alert", _TAKEN_BACK), ("undone", ())):
        played = _played(SCENARIOS[name]).items()
        found |= {f"{name}-{phase}": obj for phase, obj in played if not shown or phase in shown}
    found |= {f"first-{phase}": obj for phase, obj in _first().items()}
    found |= {"paused": _paused(), "waits-approval": _gate()}
    found |= {"waits-alert": _alert_before(), "waits-gpu": _no_gpu(), "stalled": _refused()}
    return dict(sorted(found.items()))


def _played(scenario: Scenario) -> Phases:
    """The last sight of each phase of a scenario."""
    with begin(scenario) as run:
        return {label(obj): obj for obj in _sights(run)}


def _sights(run: Run) -> Iterator[dict[str, Any]]:
    while not run.over:
        run.step()
        yield _seen(run.world)


def _first() -> Phases:
    """The first version ever, until it serves."""
    world = World()
    world.create(SPEC)
    found: Phases = {}
    with SimOperator(world) as operator:
        while not settled(world):
            operator.step(TICK)
            found[label(_seen(world))] = _seen(world)
    return found


def _seen(world: World) -> dict[str, Any]:
    return deepcopy(dict(world.api.rollout))


def _paused() -> dict[str, Any]:
    """Somebody wrote `paused: true` into spec while a step was judged."""
    with begin(Scenario((), 101, ())) as run:
        run.world.edit(102)
        run_until(run.operator, at("Progressing", 10))
        run.world.api.store("ModelRollout", {**_seen(run.world), "spec": {**run.world.spec, "paused": True}}, 0)
        run_until(run.operator, lambda world: world.status["phase"] == "Paused")
        return _seen(run.world)


def _gate() -> dict[str, Any]:
    """The first step waits for somebody's word."""
    steps = [{"weight": 10, "duration": "2s", "approval": "Manual"}, {"weight": 50, "duration": "2s"}]
    with begin(Scenario((), 101, (), strategy={"steps": steps})) as run:
        run.world.edit(102)
        run_until(run.operator, lambda world: world.status["phase"] == "Paused")
        return _seen(run.world)


def _alert_before() -> dict[str, Any]:
    """An alert fires before the canary has traffic."""
    scenario = Scenario((), 101, (), analysis={"alerts": [{"matchLabels": {"severity": "page"}}]})
    with begin(scenario) as run:
        run.world.traffic.firing = (_ALERT,)
        run.world.edit(102)
        run_until(run.operator, lambda world: "fires already" in world.status["message"])
        return _seen(run.world)


def _no_gpu() -> dict[str, Any]:
    """All GPUs are taken when the canary is to start."""
    with begin(Scenario((), 101, ())) as run:
        run.world.pods.slots = 3
        run.world.edit(102)
        run_until(run.operator, lambda world: "no room" in world.status["message"])
        return _seen(run.world)


def _refused() -> dict[str, Any]:
    """The operator may not write Deployments."""
    with begin(Scenario((), 101, ())) as run:
        run.world.api.refuses = {"Deployment"}
        run.world.edit(102)
        run_until(run.operator, lambda world: any(c["type"] == "Stalled" for c in world.status["conditions"]))
        return _seen(run.world)
