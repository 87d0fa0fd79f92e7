"""Writes the manifests that the GitOps parts are tested on: a ModelRollout as a real API server has it, in each phase.

    python -m playground up && python -m playground.toolchain python -m tests.gitops.export .playground

The health checks and actions for Argo CD, the expressions for Flux and the command line are tested on these files.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from playground.scene import Scene
from playground.state import State
from tests.gitops import record
from tests.gitops.argo import PHASES
from tests.situations import NEXT, STABLE, ask, ended, healthy, live, promote, quick, stage, start, wait_for_answers

if TYPE_CHECKING:
    from playground.kube import Object


class Export:
    """Keeps the last sight of each phase that one object goes through, under `prefix`; of `only` these where given."""

    def __init__(self, scene: Scene, prefix: str, *only: str) -> None:
        """Begin to watch."""
        self.scene, self.prefix, self.only = scene, prefix, only
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        for obj in self.scene.kube.watch("ModelRollout", self.scene.name):
            if not self.only or label(obj) in self.only:
                self.write(obj)

    def write(self, obj: Object) -> None:
        """One file, without what only the API server reads."""
        obj["metadata"].pop("managedFields", None)
        (PHASES / f"{self.prefix}-{label(obj)}.yaml").write_text(yaml.safe_dump(obj, width=120))


def label(obj: Object) -> str:
    """What tells a state from the others: phase, step, and whether the weight is live or the generation was seen."""
    status = obj.get("status", {})
    if not status:
        return "new"
    if status.get("observedGeneration") != obj["metadata"]["generation"]:
        return "unseen"
    rollout = status.get("rollout", {})
    parts = [status["phase"].lower()]
    if status["phase"] == "Paused":
        return next(f"paused-{item['reason'].lower()}" for item in status["conditions"] if item["type"] == "Paused")
    if rollout.get("stage") == "Progressing":
        parts += [f"step-{rollout['step']}", "live" if "stepStarted" in rollout else "set"]
    elif status["phase"] != "RolledBack" and any(item["type"] == "Stalled" for item in status["conditions"]):
        parts.append("stalled")
    return "-".join(parts)


def fresh(state: State, name: str) -> Scene:
    """A scene whose rollout does not exist yet, whatever an earlier run left."""
    scene = Scene(state, name)
    scene.kube.delete("ModelRollout", name)
    while scene.kube.get("ModelRollout", name) or scene.pods("stable"):
        time.sleep(0.2)
    return scene


def good(state: State) -> None:
    """The first version, then one that is promoted."""
    scene = fresh(state, "good")
    Export(scene, "good")
    start(scene)
    with scene.traffic() as traffic:
        wait_for_answers(traffic)
        promote(scene, NEXT)


def bad(state: State) -> None:
    """A version that answers with errors and is taken back."""
    scene = fresh(state, "bad")
    Export(scene, "bad", "progressing-step-1-live", "rollingback", "rolledback")
    start(scene)
    scene.misbehave({"versions": {str(NEXT): {"error_rate": 0.5}}})
    with scene.traffic() as traffic:
        wait_for_answers(traffic)
        scene.kube.apply(quick(scene, NEXT, drainDuration="3s"))
        scene.wait("the end", ended(NEXT))


def stuck(state: State) -> None:
    """Asks for a match that another object has; that one changes its mind under way."""
    holder, scene = fresh(state, "holder"), fresh(state, "stuck")
    start(holder)
    Export(scene, "stuck", "initializing-stalled", "degraded-stalled")
    manifest = scene.manifest(STABLE)
    manifest["spec"]["model"]["name"] = holder.name
    manifest["spec"]["traffic"]["gatewayAPI"]["hostnames"] = [holder.host]
    scene.publish(STABLE)
    scene.kube.apply(manifest)
    scene.wait("the conflict", lambda s: any(c["type"] == "Stalled" for c in s.get("conditions", ())))
    Export(holder, "cancelled", "preparing", "rollingback", "healthy")
    holder.publish(NEXT)
    holder.kube.apply(quick(holder, NEXT))
    holder.wait("the canary", stage("Preparing"))
    holder.kube.apply(quick(holder, STABLE))
    holder.wait("all as before", healthy)
    for item in (scene, holder):
        item.kube.delete("ModelRollout", item.name)


def held(state: State) -> None:
    """People hold a rollout in each way, promote it at once, and go back from it."""
    scene = fresh(state, "held")
    start(scene)
    Export(scene, "held", "paused-waitingforapproval", "paused-pauserequested", "paused-specpaused")
    steps = [{"weight": 20, "duration": "2s", "approval": "Manual"}, {"weight": 50, "duration": "60s"}]
    with scene.traffic() as traffic:
        wait_for_answers(traffic)
        manifest = quick(scene, NEXT, steps=steps)
        scene.kube.apply(manifest)
        scene.wait("the gate", lambda s: "waitingSince" in s.get("rollout", {}))
        ask(scene, "promote")
        scene.wait("step 2", live(50))
        ask(scene, "pause")
        manifest["spec"]["paused"] = True
        scene.kube.apply(manifest)
        scene.wait("spec.paused", lambda s: s.get("nextDecision") == "when spec.paused is false")
        ask(scene, "resume")
        manifest["spec"]["paused"] = False
        scene.kube.apply(manifest)
        scene.wait("nobody holding it", lambda s: s["phase"] == "Progressing")
        ask(scene, "promote-full")
        scene.wait("the end", ended(NEXT))
        Export(scene, "undone", "promoting", "rolledback")
        ask(scene, "undo")
        scene.wait("101 serving", lambda s: "rollout" not in s and s["stable"]["version"] == STABLE)


def main(directory: str) -> None:
    """Export everything from the playground in this directory."""
    for old in PHASES.glob("*.yaml"):
        old.unlink()
    state = State(Path(directory).resolve())
    for scenario in (good, bad, stuck, held):
        scenario(state)
    record.main()


if __name__ == "__main__":
    main(sys.argv[1])
