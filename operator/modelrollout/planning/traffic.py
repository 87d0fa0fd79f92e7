"""What requests arrive and how each pod answers them, from a scenario or from a recording. Called by `world`.

Times are seconds since the rollout began; before it only stable pods answer.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import pi, sin
from random import Random
from typing import Protocol

from modelrollout.core.counters import Counters
from modelrollout.core.names import Track
from modelrollout.planning.answers import Behaviour, answer
from modelrollout.planning.chance import poisson, scattered, varying
from modelrollout.planning.scenario import Change, Noise, OddPod, Scenario


@dataclass(frozen=True, slots=True)
class Answering:
    """A pod that gets requests: its number within its track, whether the new version answers, its part of them."""

    name: str
    track: Track
    number: int
    new: bool
    part: float


class Source(Protocol):
    """Where requests come from, and what the stable version makes of them."""

    def requests(self, begins: float, ends: float) -> float:
        """How many are expected in between."""
        ...

    def stable(self, at: float) -> Behaviour:
        """How the stable version answers then."""
        ...


@dataclass(frozen=True, slots=True)
class Made:
    """Traffic as a scenario describes it."""

    scenario: Scenario

    def requests(self, begins: float, ends: float) -> float:
        """See Source."""
        traffic = self.scenario.traffic
        middle = (begins + ends) / 2
        return traffic.rate * (ends - begins) * (1 + traffic.swing * sin(2 * pi * middle / traffic.period))

    def stable(self, at: float) -> Behaviour:  # noqa: ARG002 - a recording changes with time
        """See Source."""
        return self.scenario.stable


@dataclass(frozen=True, slots=True)
class Recorded:
    """Traffic as it was: requests per second and behaviour from each moment on; over again when it ends."""

    moments: tuple[float, ...]
    rates: tuple[float, ...]
    behaviours: tuple[Behaviour, ...]
    length: float

    def requests(self, begins: float, ends: float) -> float:
        """See Source."""
        return self.rates[self._index((begins + ends) / 2)] * (ends - begins)

    def stable(self, at: float) -> Behaviour:
        """See Source."""
        return self.behaviours[self._index(at)]

    def _index(self, at: float) -> int:
        return max(0, bisect_right(self.moments, at % self.length) - 1)


@dataclass
class _Side:
    """One side's bursts: until when the one under way lasts, when the next begins."""

    until: float = -1e9
    begins: float | None = None


@dataclass
class Users:
    """Everything that sends requests. `extra` is how many bad answers there were beyond what stable would have given.

    `bad` and `answers` count all since the rollout began. Times are only made where somebody wants them (`timed`).
    """

    scenario: Scenario
    source: Source
    chance: Random
    timed: bool = True
    answers: float = 0.0
    bad: float = 0.0
    extra: float = 0.0
    _sides: dict[bool, _Side] = field(default_factory=dict)

    def send(self, begins: float, ends: float, pods: Iterable[Answering]) -> Mapping[str, Counters]:
        """What each pod answered in between."""
        expected, at = self.source.requests(begins, ends), (begins + ends) / 2
        factors = {new: self._factor(new, begins, ends) for new in (False, True)}
        if self.scenario.noise.common:
            factors[True] = factors[False]
        found = {}
        for pod in pods:
            count = poisson(self.chance, expected * pod.part)
            wanted, usual = behaviour(self.scenario, self.source, pod, at), self.source.stable(at)
            noisy = replace(wanted, errors=min(1.0, wanted.errors * factors[pod.new]))
            counts = answer(self.chance, count, noisy, timed=self.timed)
            found[pod.name] = replace(counts, cells=self._predicted(pod, counts.good), gauges=self._gauges(pod, at))
            if ends > 0:
                self.answers += counts.answers
                self.bad += counts.bad
                self.extra += count * (wanted.errors - usual.errors) * pod.new
        return found

    def _predicted(self, pod: Answering, good: float) -> dict[str, dict[str, float]]:
        """How many good answers were of each class, for each metric that asks for that."""
        found = {}
        for metric, versions in self.scenario.predictions.items():
            shares = versions.canary if pod.new else versions.stable
            counts = scattered(self.chance, round(good), tuple(shares.values()))
            found[metric] = dict(zip(shares, map(float, counts), strict=True))
        return found

    def _gauges(self, pod: Answering, at: float) -> dict[str, float]:
        """The values that each metric's query has for a pod now."""
        return {
            metric: ((values.canary + values.growth * max(0.0, at) / 60) if pod.new else values.stable)
            * varying(self.chance, values.jitter)
            for metric, values in self.scenario.queries.items()
        }

    def _factor(self, new: bool, begins: float, ends: float) -> float:
        noise, side = self.scenario.noise, self._sides.setdefault(new, _Side())
        bursting = noise.factor != 1 and _in_burst(self.chance, noise, side, begins, ends)
        return varying(self.chance, noise.jitter) * (noise.factor if bursting else 1.0)


def _in_burst(chance: Random, noise: Noise, side: _Side, begins: float, ends: float) -> bool:
    if side.begins is None:
        side.begins = begins + chance.expovariate(1 / noise.every)
    if ends > side.begins:
        side.until = side.begins + noise.length
        side.begins = side.until + chance.expovariate(1 / noise.every)
    return begins < side.until


def behaviour(scenario: Scenario, source: Source, pod: Answering, at: float) -> Behaviour:
    """How a pod answers at a moment: the stable version, changed by what the new one does, and by its own faults."""
    found = source.stable(at)
    due = [change for change in scenario.canary if change.begins <= at] if pod.new else []
    if due:
        found = _changed(found, due[-1])
    for odd in scenario.pods:
        if _is(odd, pod) and odd.change.begins <= at and (odd.ends is None or at < odd.ends):
            found = _changed(found, odd.change)
    return found


def _is(odd: OddPod, pod: Answering) -> bool:
    return odd.pod == f"{pod.track}-{pod.number}"


def _changed(usual: Behaviour, change: Change) -> Behaviour:
    errors = usual.errors * change.ratio if change.errors is None else change.errors
    return replace(
        usual,
        errors=min(1.0, errors),
        median=usual.median * change.slower,
        tail=change.tail or usual.tail,
        tail_factor=change.tail_factor if change.tail else usual.tail_factor,
    )
