"""The simulated gateway, its users, and Prometheus, which counts what they were answered."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING

from modelrollout.core.counters import Counters
from modelrollout.core.names import Track
from modelrollout.core.route import canary_weight
from tests.simulation.api import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from modelrollout.core.values import JSON
    from tests.simulation.pods import Pods, SimPod

RATE = 200.0
"""Requests a second."""


@dataclass
class Traffic:
    """`live` is the weight that proxies follow: the route's, a while after it was written; `live_since` is since when.

    `bad` versions fail a share of the requests, `wrong`, and `odd` pods whatever their version. `prometheus` is `up`,
    `away` or `empty`. `firing` are the labels of alerts.
    """

    bad: set[int] = field(default_factory=set)
    wrong: float = 0.5
    odd: set[str] = field(default_factory=set)
    shifted: set[int] = field(default_factory=set)
    firing: tuple[Mapping[str, str], ...] = ()
    prometheus: str = "up"
    delay: float = 0.25
    live: int = 0
    live_since: float = 0.0
    written: tuple[int, float] = (0, 0.0)
    answers: Counter[tuple[Track, int]] = field(default_factory=Counter)
    unanswered: float = 0.0

    def accept(self, route: JSON | None, now: float) -> JSON | None:
        """Take a route in once it has been there for `delay`; its new status, None when there is no news."""
        if route is None:
            return None
        generation = route["metadata"]["generation"]
        if self.written[0] != generation:
            self.written = (generation, now)
        if now < self.written[1] + self.delay:
            return None
        before, self.live = self.live, canary_weight(NAME, route) or 0
        self.live_since = self.live_since if self.live == before else now
        types = ("Accepted", "ResolvedRefs")
        conditions = [{"type": kind, "status": "True", "observedGeneration": generation} for kind in types]
        status = {"parents": [{"parentRef": {"name": "inference"}, "conditions": conditions}]}
        return None if route.get("status") == status else status

    def advance(self, pods: Pods, seconds: float, now: float) -> None:
        """Users ask; servers count."""
        for track, share in ((Track.CANARY, self.live), (Track.STABLE, 100 - self.live)):
            ready = [pod for pod in pods.of(track) if pod.ready]
            count = RATE * seconds * share / 100
            if not ready:
                self.unanswered += count
            for pod in ready:
                self._count(pod, count / len(ready), now)

    def _count(self, pod: SimPod, count: float, now: float) -> None:
        version = pod.server.answers_with
        assert version is not None
        self.answers[pod.track, version] += round(count)
        before = pod.samples[-1][1] if pod.samples else Counters()
        wrong = count * self.wrong if version in self.bad or pod.name in self.odd else 0.0
        good = before.good + count - wrong
        pod.samples.append((now, Counters(before.bad + wrong, {10_000.0: good, inf: good})))

    def classes(self, pods: Pods, moment: float) -> list[tuple[Mapping[str, str], float]]:
        """How often each pod predicted each class: one answer in ten is a cat, of `shifted` versions two."""
        found: list[tuple[Mapping[str, str], float]] = []
        for pod in pods.all.values():
            index = bisect_right(pod.samples, moment, key=lambda sample: sample[0])
            answers = pod.samples[index - 1][1].answers if index else 0.0
            cats = answers * (0.2 if self.shifted & pod.server.available else 0.1)
            found += [({"pod": pod.name, "class": "cat"}, cats), ({"pod": pod.name, "class": "dog"}, answers - cats)]
        return found

    def counters(self, pods: Pods, names: tuple[str, ...], moment: float) -> dict[str, Counters]:
        """Each pod's counters at a moment."""
        found = {}
        for pod in pods.all.values() if self.prometheus == "up" else ():
            index = bisect_right(pod.samples, moment, key=lambda sample: sample[0])
            if pod.name in names and index:
                found[pod.name] = pod.samples[index - 1][1]
        return found
