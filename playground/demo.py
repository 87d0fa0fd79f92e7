"""`make demo`: the product at work. A bad version is caught and taken back, a good one is promoted, then a summary."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from playground import lifecycle
from playground.demo_report import describe, rollout_report
from playground.kube import Kube
from playground.scene import Scene
from playground.state import State
from playground.toolchain.progress import say

if TYPE_CHECKING:
    from pathlib import Path

    from playground.kube import Object
    from playground.scene import Traffic

NAME = "recsys"
STABLE, BAD, GOOD = 101, 102, 103
RATE = 100.0
_GPU = {"resource": "nvidia.com/mig-1g.10gb", "count": 1}
_FAULTS = {"versions": {str(BAD): {"error_rate": 0.15, "error_code": "INTERNAL"}}}


def main(directory: Path) -> int:
    """Run the demo in a playground of this state directory; 0 when both rollouts ended as they should."""
    state = State(directory)
    began = time.monotonic()
    lifecycle.up(state, operator=True)
    scene = Scene(state, NAME)
    try:
        summary = _play(scene)
    finally:
        scene.kube.delete("ModelRollout", NAME)
        say("taking the playground down (make up brings one up that stays)")
        lifecycle.down(state)
    summary["seconds"] = round(time.monotonic() - began, 1)
    target = directory / "demo.json"
    target.write_text(json.dumps(summary, indent=2) + "\n")
    print(describe(summary))
    print(f"The same as JSON: {target}")
    wanted = ["RolledBack", "Promoted"]
    return int([rollout["outcome"] for rollout in summary["rollouts"]] != wanted)


def _play(scene: Scene) -> dict[str, Any]:
    say("making three versions of a model: real SavedModels; 102 will turn bad in its second step")
    scene.publish(STABLE, BAD, GOOD)
    scene.misbehave({})
    say(f"kubectl apply: ModelRollout {NAME}, version {STABLE}, 2 replicas on MIG slices")
    scene.kube.apply(_manifest(scene, STABLE))
    scene.wait(f"version {STABLE} serving", lambda status: status.get("phase") == "Healthy")
    with scene.traffic(RATE) as traffic:
        say(f"users arrive: {RATE:.0f} requests per second, REST and gRPC in turn")
        _settle(scene, traffic)
        bad = _roll_out(scene, BAD, turn_bad=True)
        good = _roll_out(scene, GOOD)
        time.sleep(2)  # some answers after the end of it
    answers = traffic.answers()
    return {"rollouts": [rollout_report(watched, answers) for watched in (bad, good)], "requests": len(answers)}


def _settle(scene: Scene, traffic: Traffic) -> None:
    """Let the first users be answered, and Prometheus read it, so that stable has something to be compared by."""
    while len(traffic.answers()) < 2 * RATE or not scene.scraped("stable"):
        time.sleep(0.1)


def _roll_out(scene: Scene, version: int, turn_bad: bool = False) -> dict[str, Any]:
    """Change the version and watch until the rollout has ended; returns what was seen on the way."""
    say(f"kubectl apply: spec.model.version {version}")
    watch = _Watch(scene, version)
    scene.kube.apply(_manifest(scene, version))
    if turn_bad:
        scene.wait("the second step", lambda status: status.get("rollout", {}).get("weightLive") == 25, seconds=180)
        say(f"  version {version} now answers 15 % of its requests with INTERNAL")
        scene.misbehave(_FAULTS)
    watch.join()
    status = scene.wait(f"an end of the rollout of {version}", lambda status: _ended(status, version), seconds=5)
    entry = next(item for item in status["history"] if item["version"] == version)
    say(f"version {version}: {entry['outcome']}: {entry['message']}")
    return {"entry": entry, "seen": watch.seen, "restarts": _restarts(scene)}


def _ended(status: Object, version: int) -> bool:
    ended = any(entry["version"] == version for entry in status.get("history", ()))
    return ended and "rollout" not in status


def _restarts(scene: Scene) -> int:
    return sum(c["restartCount"] for pod in scene.pods("stable") for c in pod["status"].get("containerStatuses", ()))


class _Watch(threading.Thread):
    """Follows the object's status, notes when the story of a rollout changes, and says it; ends with the rollout."""

    def __init__(self, scene: Scene, version: int) -> None:
        super().__init__(daemon=True)
        self.seen: list[dict[str, Any]] = []
        self._kube = Kube.connect(scene.state.host_kubeconfig)
        self._name, self._version = scene.name, version
        self.start()

    def run(self) -> None:
        """Until the version's rollout is in the history."""
        for rollout in self._kube.watch("ModelRollout", self._name):
            status = rollout.get("status", {})
            if status.get("canary", {}).get("version") == self._version or _ended(status, self._version):
                self._note(status)
            if _ended(status, self._version):
                return

    def _note(self, status: Object) -> None:
        rollout = status.get("rollout", {})
        now = {
            "phase": status["phase"],
            "step": status.get("currentStep", ""),
            "progress": status.get("progress", ""),
            "weightSet": rollout.get("weightSet", 0),
            "weightLive": rollout.get("weightLive") if rollout else 0,
        }
        before: dict[str, Any] = self.seen[-1] if self.seen else {}
        if any(before.get(key) != now[key] for key in ("phase", "progress")):
            say(f"  {now['phase']:12} {now['progress']}")
        if any(before.get(key) != value for key, value in now.items()):
            self.seen.append({"time": time.time_ns() / 1e9, **now})


def _manifest(scene: Scene, version: int) -> Object:
    manifest = scene.manifest(version)
    spec = manifest["spec"]
    spec["serving"]["gpu"] = _GPU
    spec["strategy"]["steps"] = [
        {"weight": 10, "duration": "5s"},
        {"weight": 25, "duration": "5s"},
        {"weight": 50, "duration": "5s"},
    ]
    spec["strategy"]["bake"] = {"duration": "8s"}
    # Judged as by default: against what the stable pods answer at the same time.
    spec["analysis"]["metrics"] = [{"name": "error-rate", "kind": "ErrorRate"}]
    return manifest
