"""Many rollouts at once, with stand-in pods (benchmarks/stub_pods.py): two cores carry no 60 model servers.

Used by `abort` (all go bad in one moment) and `footprint` (hundreds that only have to be looked after).
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import requests

from benchmarks.command import attempt
from benchmarks.lab import RELAY, Lab
from benchmarks.stub_server import turn_bad
from benchmarks.timeline import Limits, first_over_limits, spans, zeros
from playground import control
from playground.components import NODE_AGENT
from playground.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.figures import Run
    from playground.kube import Kube

PREFIX = "crowd-"
STABLE, BAD = 101, 102
LIMITS = Limits(share=0.01, window=2.0, requests=10)
_PATIENCE = 180.0
_PATIENCE_EACH = 2.0
TEMPLATE = "crowd-template"


@dataclass(frozen=True)
class Crowd:
    """So many rollouts. `bad` is the file that makes all canaries go bad, `ready` the notes of the pods."""

    found: Lab
    template: Scene
    names: tuple[str, ...]
    bad: Path
    ready: Path

    def apply(self, version: int) -> None:
        """Wish for a version everywhere."""
        for name in self.names:
            self.template.kube.apply(manifest(self.template, name, version))

    def scale(self, name: str, replicas: int) -> None:
        """Wish for so many pods of one of them."""
        wish = manifest(self.template, name, STABLE)
        wish["spec"]["serving"]["replicas"] = replicas
        self.template.kube.apply(wish)

    def statuses(self) -> list[dict[str, Any]]:
        """The status of every rollout."""
        items = self.template.kube.list("ModelRollout")
        return [item.get("status", {}) for item in items if item["metadata"]["name"].startswith(PREFIX)]

    @property
    def patience(self) -> float:
        """Seconds that the whole crowd may take for anything."""
        return _PATIENCE + _PATIENCE_EACH * len(self.names)

    def wait_healthy(self) -> None:
        """All serve the first version."""
        self._wait("all healthy", lambda status: status.get("phase") == "Healthy")

    def wait_live(self, weight: int) -> None:
        """The weight is live everywhere."""
        self._wait(f"weight {weight} everywhere", lambda status: status.get("rollout", {}).get("weightLive") == weight)

    def _wait(self, what: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        def everywhere() -> bool:
            time.sleep(0.5 + len(self.names) / 100)  # a list of hundreds is no light question
            try:
                found = self.statuses()
            except requests.Timeout:
                return False  # the API server has too much to do with them
            return len(found) == len(self.names) and all(map(condition, found))

        self.found.wait_for(what, everywhere, self.patience)


@contextmanager
def gathered(found: Lab, count: int) -> Iterator[Crowd]:
    """Names for a crowd, and its pods played, for the block; then everything of it is gone."""
    template = Scene(found.state, TEMPLATE)
    names = tuple(f"{PREFIX}{number:03}" for number in range(count))
    crowd = Crowd(found, template, names, found.folder / "all-go-bad", found.folder / "ready.ndjson")
    crowd.bad.unlink(missing_ok=True)
    control.ask(found.state, "stop", name=NODE_AGENT)
    words = (
        "-m", "benchmarks.stub_pods", "--prefix", PREFIX, "--bad", str(crowd.bad), "--events", str(crowd.ready),
    )  # fmt: skip
    try:
        with found.process(*words) as pods:
            found.wait_for_start(pods, crowd.ready.exists)
            try:
                yield crowd
            finally:
                for name in names:
                    template.kube.delete("ModelRollout", name)
                found.wait_for("the end of all pods", lambda: not _pods(template.kube), crowd.patience)
    finally:
        control.ask(found.state, "start", name=NODE_AGENT)
        template.kube.session.close()


def _pods(kube: Kube) -> int:
    time.sleep(0.5)
    pods = kube.list("Pod", labelSelector="app.kubernetes.io/managed-by=modelrollout")
    return sum(1 for pod in pods if pod["metadata"]["name"].startswith(PREFIX))


def manifest(template: Scene, name: str, version: int, prometheus: str = RELAY) -> dict[str, Any]:
    """One of the crowd: a step at weight 50 that only ends badly, judged each second over two."""
    metric = {
        "name": "error-rate", "kind": "ErrorRate", "test": "Limits", "window": "2s", "minRequests": LIMITS.requests,
        "failures": 1, "limits": {"max": str(LIMITS.share)},
    }  # fmt: skip
    analysis = {
        "prometheus": {"address": f"http://{prometheus}", "timeout": "2s"}, "interval": "1s", "metrics": [metric],
    }  # fmt: skip
    strategy = {
        "steps": [{"weight": 50, "duration": "10m"}], "canaryReadyDeadline": "5m", "drainDuration": "1s",
        "bake": {"duration": "4s"},
    }  # fmt: skip
    made = template.manifest(version, strategy=strategy, analysis=analysis)
    made["spec"]["serving"]["replicas"] = 1
    renamed: dict[str, Any] = json.loads(json.dumps(made).replace(TEMPLATE, name))
    return renamed


def go_bad_at_once(found: Lab, count: int) -> list[Run]:
    """So many rollouts at weight 50 go bad in one moment; a run for each."""
    with gathered(found, count) as crowd:
        crowd.apply(STABLE)
        crowd.wait_healthy()
        crowd.apply(BAD)
        crowd.wait_live(50)
        time.sleep(5)  # the window is full of good answers
        flipped = time.time()
        turn_bad(crowd.bad, flipped)
        found.wait_for("weight 0 everywhere", lambda: zeros(found.events(flipped)) >= set(crowd.names), 60)
        time.sleep(2)
        return [attempt(partial(_figures, crowd, name, flipped)) for name in crowd.names]


def _figures(crowd: Crowd, name: str, flipped: float) -> Run:
    """Of one rollout among many. There are no users, so it begins with the moment of going bad."""
    found = crowd.found
    seen = found.aborted(name, flipped)
    over = first_over_limits(seen.scrapes, LIMITS, flipped)
    return {"rollout": name, **spans(seen), **found.in_writes(seen), "scrapeToZero": round(seen.weight_zero - over, 4)}
