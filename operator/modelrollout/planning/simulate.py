"""A rollout played through in virtual time: the operator's own rules and judge over made-up or recorded traffic.

What decides here is `core.decide` and `measuring.measure`, the same code that runs in the cluster; only what surrounds
it is simulated (`world`). Called by `cli.commands.simulate`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from modelrollout.core.actions import Emit
from modelrollout.core.counters import Counters, increase, total
from modelrollout.core.decide import decide
from modelrollout.core.names import Track
from modelrollout.core.readings import MetricsPlan, readings_wanted
from modelrollout.core.spec import MetricKind
from modelrollout.core.spec_json import parse_spec
from modelrollout.core.status import HistoryEntry
from modelrollout.core.values import JSON
from modelrollout.errors import MetricsUnavailable
from modelrollout.measuring import measure
from modelrollout.planning.scenario import Scenario
from modelrollout.planning.trace import Point, evidence_of
from modelrollout.planning.traffic import Made, Source, Users
from modelrollout.planning.world import Happening, World, of_version, simulated
from modelrollout.ports import Look, MetricSource, Question

_MOST_PASSES = 200
_AGAIN = timedelta()
_GRACE = timedelta(hours=2)
"""Past the longest that its steps may take, a rollout that has not ended is left as it is."""


class Restless(RuntimeError):
    """The rules never come to rest over an unchanged world: a defect of theirs."""


@dataclass(frozen=True, slots=True)
class Played:
    """What would have happened. `end` is None for a rollout that had not ended after `seconds`; `waits` says why.

    `extra` is how many bad answers users got beyond what stable would have given them. `left_out` are metrics that
    cannot be simulated.
    """

    points: tuple[Point, ...]
    told: tuple[Happening, ...]
    end: HistoryEntry | None
    waits: str
    seconds: float
    answers: float
    bad: float
    extra: float
    suspicions: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class SimulatedPrometheus:
    """`ports.Metrics` over the world's pods."""

    world: World
    scenario: Scenario

    async def look(self, source: MetricSource, question: Question, at: datetime) -> Look:
        """See Metrics. Alerts are not made up: none fires."""
        self._answer(source)
        return Look(self._read(question, at), {past: self._read(question, past) for past in question.before})

    async def query(self, source: MetricSource, promql: str, _at: datetime) -> tuple[float, ...]:
        """See Metrics. The text is a metric's name and pods of one side."""
        self._answer(source)
        metric, _, pods = promql.partition(" ")
        values = self.scenario.queries[metric]
        tracks = {pod.track for pod in self.world.pods if pod.name in pods.split("|")}
        return (values.canary if Track.CANARY in tracks else values.stable,)

    async def series(
        self, source: MetricSource, promql: str, at: datetime
    ) -> Sequence[tuple[Mapping[str, str], float]]:
        """See Metrics. A gauge's value of each pod, or how often it predicted each class."""
        self._answer(source)
        metric, _, pods = promql.partition(" ")
        found: list[tuple[Mapping[str, str], float]] = []
        for pod in self.world.pods:
            counters = pod.read_at(at.timestamp()) if pod.name in pods.split("|") else None
            if counters is not None and metric in counters.gauges:
                found.append(({"pod": pod.name}, counters.gauges[metric]))
            elif counters is not None:
                cells = counters.cells.get(metric, {})
                found += [({"pod": pod.name, "class": name}, count) for name, count in cells.items()]
        return found

    def _read(self, question: Question, moment: datetime) -> dict[str, Counters]:
        known = {pod.name: pod.read_at(moment.timestamp()) for pod in self.world.pods if pod.name in question.pods}
        return {name: counters for name, counters in known.items() if counters is not None}

    def _answer(self, source: MetricSource) -> None:
        for away in self.scenario.away:
            if away.begins <= self.world.seconds < away.begins + away.length:
                raise MetricsUnavailable(f"{source.address} cannot be reached")


@dataclass
class _Player:
    """The operator's process over the world: passes, and looks of the judge at its interval."""

    world: World
    prometheus: SimulatedPrometheus
    loop: asyncio.AbstractEventLoop
    points: list[Point] = field(default_factory=list)
    suspicions: int = 0
    _plan: MetricsPlan | None = None
    _key: str = ""
    _look: float = 0.0
    _seen: dict[str, Counters] = field(default_factory=dict)

    def settle(self) -> float | None:
        """Looks and passes until nothing changes; returns when time alone makes the next pass due."""
        for _ in range(_MOST_PASSES):
            if self._plan is not None and self._due(self._plan):
                self._judge(self._plan)
            requeue = self._pass()
            if requeue is _AGAIN or (self._plan is not None and self._due(self._plan)):
                continue
            return self.world.seconds + requeue.total_seconds() if requeue else None
        raise Restless(f"no rest at {self.world.seconds:.0f} s: {self.world.status.story.message}")

    @property
    def next_look(self) -> float | None:
        """When the judge looks again, None when it does not."""
        return self._look if self._plan else None

    def _pass(self) -> timedelta | None:
        snapshot = self.world.snapshot()
        decision = decide(snapshot)
        actions = (*decision.first, *decision.then)
        changed = decision.status != self.world.status
        self.world.status = decision.status
        if decision.status.rollout is not None:
            self.suspicions = decision.status.rollout.suspicions
        weight = self.world.weight
        for action in actions:
            self.world.carry_out(action)
        if self.world.weight != weight:
            self.draw_weight()
        if changed or any(not isinstance(action, Emit) for action in actions):
            return _AGAIN
        self._plan = readings_wanted(snapshot).metrics
        if self._plan is None:
            self.world.analysed, self._key = None, ""
        return decision.requeue

    def _due(self, plan: MetricsPlan) -> bool:
        """Whether the judge looks now: a comparison begins, or its interval is over. No scrapes are waited for."""
        return plan.key != self._key or self.world.seconds >= self._look

    def _judge(self, plan: MetricsPlan) -> None:
        self._key, self._look = plan.key, self.world.seconds + plan.analysis.interval.total_seconds()
        looking = measure(plan, self.world.analysed, self.prometheus, self.world.now)
        self.world.analysed = self.loop.run_until_complete(looking)
        self._draw(plan)

    def draw_weight(self) -> None:
        """A point for the weight alone."""
        stage = str(self.world.status.rollout.stage) if self.world.status.rollout else ""
        self.points.append(Point(self.world.seconds, self.world.weight, stage, Counters(), Counters()))

    def _draw(self, plan: MetricsPlan) -> None:
        world, rollout = self.world, self.world.status.rollout
        increases = {pod.name: increase(self._seen.get(pod.name, Counters()), pod.counters) for pod in world.pods}
        self._seen = {pod.name: pod.counters for pod in world.pods}
        new = {window.pod for window in plan.canary}
        assert world.analysed is not None
        self.points.append(
            Point(
                at=world.seconds,
                weight=world.weight,
                stage=str(rollout.stage) if rollout else "",
                canary=total(counts for name, counts in increases.items() if name in new),
                stable=total(counts for name, counts in increases.items() if name not in new),
                evidence=evidence_of(world.analysed.memory, plan.analysis.sequential),
                verdicts={name: str(state.verdict) for name, state in world.analysed.metrics.items()},
            )
        )


def play(name: str, raw: JSON, scenario: Scenario, source: Source | None = None) -> Played:
    """Roll the version that `raw`, a `spec`, asks for out over the one before it."""
    spec, left_out = simulated(raw, scenario)
    version, analysis = spec["model"]["version"], parse_spec(spec, name).analysis
    timed = analysis is not None and any(metric.kind is MetricKind.LATENCY for metric in analysis.metrics)
    users = Users(scenario, source or Made(scenario), Random(scenario.seed), timed)  # noqa: S311 - the same each time
    history = (analysis.baseline if analysis else timedelta()) + timedelta(minutes=2)
    world = World(name, of_version(spec, version - 1), users, -history.total_seconds())
    loop = asyncio.new_event_loop()
    try:
        player = _Player(world, SimulatedPrometheus(world, scenario), loop)
        _serve(player)
        world.loads = scenario.loads
        world.ask_for(spec)
        _roll_out(player, scenario.until or _limit(world))
    finally:
        loop.close()
    return _played(player, left_out)


def _played(player: _Player, left_out: tuple[str, ...]) -> Played:
    world, users = player.world, player.world.users
    rollout = world.status.rollout
    return Played(
        points=tuple(player.points),
        told=tuple(item for item in world.told if item.at >= 0),
        end=None if rollout else world.status.history[0],
        waits=world.status.story.message if rollout else "",
        seconds=world.seconds,
        answers=users.answers,
        bad=users.bad,
        extra=users.extra,
        suspicions=player.suspicions,
        left_out=left_out,
    )


def _serve(player: _Player) -> None:
    """The version before serves, since before the judge's history begins."""
    world = player.world
    while world.status.stable is None or world.status.rollout is not None:
        due = player.settle()
        world.pass_time(due if due is not None and due > world.seconds else world.seconds + 1)
    player.points.clear()
    world.pass_time(0.0)


def _roll_out(player: _Player, limit: float) -> None:
    world = player.world
    while True:
        due = player.settle()
        if world.status.rollout is None or world.seconds >= limit:
            player.draw_weight()
            return
        moments = [moment for moment in (due, player.next_look) if moment is not None]
        world.pass_time(min(limit, max(min(moments, default=limit), world.seconds + 0.001)))


def _limit(world: World) -> float:
    strategy = world.spec.strategy
    longest = sum((step.max_duration for step in strategy.steps), strategy.bake + _GRACE)
    return longest.total_seconds()
