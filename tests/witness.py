"""States from outside what must hold during a rollout: by the route as the API server has it, and by users' answers."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Self

import requests

from playground.kube import Kube, Object, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playground.load import Answer
    from playground.scene import Scene

_PROPAGATION = 1.0
"""Seconds that proxies have for a route that every gateway has accepted (docs/design.md, "Safety rules", 4)."""
_BAD = {"HTTP 500", "INTERNAL"}
"""How the bad versions of these tests fail; anything else that fails was not the version."""


def now() -> float:
    """Seconds since the epoch, by the clock of the load generator's answers."""
    return time.time_ns() / 1e9


@dataclass(frozen=True)
class Sight:
    """The route when it was seen, in seconds since the epoch; `written` is its last write by the API server's clock.

    That clock says whole seconds. On a busy machine the sight comes later than the first answers under a new weight.
    """

    time: float
    written: float
    weight: int
    accepted: bool


class Witness:
    """Watches a scene's route while the block lasts, on a connection of its own."""

    def __init__(self, scene: Scene) -> None:
        """The scene's route need not exist yet."""
        self._scene = scene
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"witness {scene.name}", daemon=True)
        self._seen: set[str] = set()
        self.sights: list[Sight] = []

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take no more notice; the thread ends with its watch."""
        self._over.set()

    def _watch(self) -> None:
        kube = Kube.connect(self._scene.state.host_kubeconfig)
        while not self._over.is_set():
            try:
                for route in kube.watch("HTTPRoute", self._scene.name, self._scene.namespace):
                    self._note(route)
            except (requests.RequestException, RefusedError, KeyError):
                time.sleep(0.1)  # the API server is away

    def _note(self, route: Object) -> None:
        version = route["metadata"]["resourceVersion"]
        if self._over.is_set() or version in self._seen:
            return
        self._seen.add(version)
        backends = route["spec"]["rules"][0]["backendRefs"]
        weight = next(int(item["weight"]) for item in backends if item["name"].endswith("-canary"))
        self.sights.append(Sight(now(), _written(route), weight, _accepted(route)))

    def walk(self, since: float = 0.0) -> list[int]:
        """The weights one after another, from the one that was set at that moment."""
        before = [sight.weight for sight in self.sights if sight.time <= since][-1:]
        weights = before + [sight.weight for sight in self.sights if sight.time > since]
        return [weight for number, weight in enumerate(weights) if number == 0 or weight != weights[number - 1]]

    def withdrawn(self) -> float:
        """When the last weight of 0 was live."""
        zero = next(n for n in range(len(self.sights), -1, -1) if n == 0 or self.sights[n - 1].weight)
        return next(sight.time for sight in self.sights[zero:] if sight.accepted) + _PROPAGATION

    def assert_promoted(self, answers: Sequence[Answer], steps: Sequence[int], since: float = 0.0) -> None:
        """A good version: its weights go up the steps once and end, and nobody's request fails."""
        assert self.walk(since) == [0, *steps, 0]
        assert not [answer for answer in answers if answer.start > since and answer.error]

    def assert_taken_back(self, answers: Sequence[Answer], steps: Sequence[int], bad: int, since: float = 0.0) -> None:
        """A bad version: its weights go up the steps until they are 0 for good.

        Requests fail only as the bad version fails them, and once weight 0 is live it gives no answer any more.
        """
        walk = self.walk(since)
        assert walk == [0, *steps[: len(walk) - 2], 0]
        raised = next(sight.written for sight in self.sights if sight.time > since and sight.weight)
        failed = [answer for answer in answers if answer.start > since and answer.error]
        assert {answer.error for answer in failed} <= _BAD
        assert not [answer for answer in failed if answer.end < raised]
        withdrawn = self.withdrawn()
        late = [answer for answer in answers if answer.start > withdrawn]
        assert late
        assert not [answer for answer in late if answer.error or answer.version == bad]


def _written(route: Object) -> float:
    """When somebody last wrote its `spec`; gateways write its status alone."""
    entries = (entry for entry in route["metadata"]["managedFields"] if "subresource" not in entry)
    return max(datetime.fromisoformat(entry["time"]).timestamp() for entry in entries)


def _accepted(route: Object) -> bool:
    """Whether every parent has accepted exactly this generation."""
    parents, generation = route.get("status", {}).get("parents", []), route["metadata"]["generation"]
    accepted = [c for p in parents for c in p["conditions"] if c["type"] == "Accepted"]
    return bool(accepted) and all(c["status"] == "True" and c["observedGeneration"] == generation for c in accepted)
