"""The safety rules of docs/design.md as a witness states them: it sees the world, not what the operator thinks.

The world asks it before every write and after every tick; a rule that does not hold ends the test.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING, Any

from modelrollout.core.names import ANNOTATION_ABORT, ANNOTATION_REQUEST, Track
from modelrollout.core.route import canary_weight
from modelrollout.core.suspicion import OUT_WEIGHT
from modelrollout.core.values import parse_duration
from tests.simulation.api import NAME

if TYPE_CHECKING:
    from modelrollout.core.model_config import ModelTarget
    from modelrollout.core.values import JSON
    from tests.simulation.pods import SimPod
    from tests.simulation.world import World

TICK = 0.25
"""Seconds between two looks."""
HISTORY_LIMIT = 10
_PROBED = 1.0
"""Seconds: what the operator knows of a server may be that old."""


class BrokenRuleError(AssertionError):
    """A safety rule did not hold."""


@dataclass
class Rules:
    """What the witness remembers: attempts whose weight an abort lowered, steps that were walked, versions that served.

    `told` are stable pods that had been told the version when somebody held it.
    `live` is for how long the weight of the current (attempt, step) has been live. `disturbed` is set by faults that
    cost answers whatever an operator does. `broken` lists what did not hold: an operator catches what is raised.
    """

    aborted: set[int] = field(default_factory=set)
    steps: list[tuple[int, int]] = field(default_factory=list)
    live: dict[tuple[int, int], float] = field(default_factory=dict)
    served: set[int] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    disturbed: bool = False
    broken: list[str] = field(default_factory=list)

    # Before a write

    def before_route(self, world: World, new: JSON) -> None:
        """Weight rises only as the step on record says, to a canary that can carry it, and not after an abort."""
        after = canary_weight(NAME, new) or 0
        rollout = world.status.get("rollout", {})
        if ANNOTATION_ABORT in new["metadata"].get("annotations", {}) and world.weight and rollout:
            self.aborted.add(rollout["attempt"])
        if after <= (world.weight or 0):
            return
        _require(world, rollout.get("attempt") not in self.aborted, "no weight rises after an abort lowered it")
        _require(world, rollout.get("stage") in {"Progressing", "Promoting"}, "weight rises only while progressing")
        step = rollout["steps"][rollout["step"] - 1]
        if "suspectedSince" in rollout:
            step = rollout["steps"][0]
        wanted = {step["weight"], min(step["weight"], OUT_WEIGHT)} if "suspectedSince" in rollout else {step["weight"]}
        _require(world, after in wanted, "weight is what the step on record says, or the first or less while suspected")
        needed = step.get("replicas") or max(1, ceil(world.spec["serving"]["replicas"] * after / 100))
        version, horizon = world.status["canary"]["version"], world.seconds - world.lag - _PROBED - 2 * TICK
        pods = [pod for pod in world.pods.of(Track.CANARY) if pod.answered_at.get(version, -1.0) >= horizon]
        _require(world, len(pods) >= needed, "weight rises only to a canary that answers and is large enough")

    def before_config(self, world: World, name: str, new: JSON) -> None:
        """The file that a restarted stable pod comes up with names nothing that is not in every pod that mounts it."""
        if not name.startswith(f"{NAME}-{Track.STABLE}") or "stable" not in world.status:
            return
        versions = _versions(new["data"]["models.config"])
        for version in versions - {world.status["stable"]["version"]}:
            pods = [pod for pod in world.pods.of(Track.STABLE) if pod.mounts == name]
            has = all(version in pod.server.available for pod in pods if not pod.exits and _known(world, pod))
            _require(world, has, f"the ConfigMap names {version} only when every pod has it")

    def before_reload(self, world: World, pod: SimPod, target: ModelTarget) -> None:
        """A server is never pointed elsewhere, and one that is to go back is not told the new version."""
        _require(world, pod.server.base_path in {"", target.base_path}, "a server keeps its base path")
        if world.stage in {"Preparing", "Progressing", "RollingBack"} and pod.track is Track.STABLE:
            new = set(target.versions) - {world.status["stable"]["version"]}
            _require(world, new <= set(pod.server.states), "only a promotion loads something new into stable pods")

    def before_delete(self, world: World, kind: str, name: str) -> None:
        """Canary pods stay for as long as requests that they were sent may take."""
        if (kind, name) == ("Deployment", f"{NAME}-{Track.CANARY}"):
            drain = parse_duration(world.spec["strategy"]["drainDuration"]).total_seconds()
            idle = world.seconds - world.traffic.live_since if not world.traffic.live else 0.0
            _require(world, idle + 2 * TICK >= drain, "canary pods go once weight 0 has been live for drainDuration")

    def before_status(self, world: World, new: JSON) -> None:
        """Steps are walked in order and held; ends are on record once; a rejected revision needs a request."""
        old, rollout = world.status, new.get("rollout", {})
        if rollout.get("stage") == "RollingBack":
            _require(world, world.weight in {0, None}, "weight 0 comes before the status that announces the rollback")
            self.aborted.add(rollout["attempt"])
        self._step(world, old.get("rollout", {}), rollout, new)
        self._start(world, old, new)
        self._end(world, old, new)

    def _step(self, world: World, old: JSON, new: JSON, status: JSON) -> None:
        if new.get("stage") == "Progressing":
            mine = [step for attempt, step in self.steps if attempt == new["attempt"]]
            last = mine[-1] if mine else 0
            _require(world, new["step"] in {last, last + 1}, f"step {last} is followed by itself or the next")
            if new["step"] > last:
                self.steps.append((new["attempt"], new["step"]))
        left = old.get("stage") == "Progressing" and (
            new.get("stage") == "Promoting" or (new.get("stage") == "Progressing" and new["step"] != old["step"])
        )
        if left:
            step = old["steps"][old["step"] - 1]
            if _waived(world, old, new, status):
                return
            stays = _paused(world, old) and not _asked(world, status, "resume")
            _require(world, not stays, "no step is left while somebody holds it")
            _require(world, step.get("approval") != "Manual", "a step with approval is left when somebody says so")
            lived = self.live.get((old["attempt"], old["step"]), 0.0)
            long = parse_duration(step["duration"]).total_seconds()
            _require(world, lived + TICK >= long, f"step {old['step']} is held for {long} s, not {lived} s")

    def _start(self, world: World, old: JSON, new: JSON) -> None:
        if "rollout" in old or "rollout" not in new:
            return
        attempts = [entry["attempt"] for entry in old.get("history", ())]
        _require(world, new["rollout"]["attempt"] > max(attempts, default=0), "attempts are counted upwards")
        rejected = old.get("rejected", {}).get("revision")
        if rejected == new["canary"]["revision"]:
            asked = world.api.rollout["metadata"].get("annotations", {}).get(ANNOTATION_REQUEST, "")
            named = asked.startswith(f"retry:{rejected}.") or (asked.startswith("undo:") and asked.endswith(rejected))
            _require(world, named, "a rejected revision is not tried again")

    def _end(self, world: World, old: JSON, new: JSON) -> None:
        before, after = old.get("history", []), new.get("history", [])
        if before == after:
            return
        grown = len(after) == len(before) + 1 and after[1:] == before
        _require(world, grown or len(after) == HISTORY_LIMIT, "history only grows, one at a time")
        rollout, entry = old["rollout"], after[0]
        _require(world, entry["attempt"] == rollout["attempt"], "what ended is what was under way")
        if entry["outcome"] == "Promoted":
            self.served.add(entry["version"])
            walked = [step for attempt, step in self.steps if attempt == entry["attempt"]]
            steps = rollout.get("steps", []) if "stable" in old else []
            _require(world, not (steps and _paused(world, rollout)), "nothing is promoted while somebody holds it")
            _require(world, walked == list(range(1, len(steps) + 1)), "what is promoted walked every step")
            _require(world, bool(steps) or entry["version"] in self.served, "only what served before skips its steps")
            return
        for pod in world.pods.of(Track.STABLE):
            later = _versions(pod.config) - {new["stable"]["version"]} if pod.config else set()
            _require(world, entry["version"] not in later, "a pod that restarts after a rollback goes back as well")

    # After a tick

    def after_tick(self, world: World) -> None:
        """Who answers, who changes, and who is missing."""
        self._hold(world)
        self._halt(world)
        if "stable" in world.status:
            self._answers(world)
            self._stable_pods(world)
        if not self.disturbed:
            _require(world, not world.traffic.unanswered, "every request finds somebody who answers")

    def _hold(self, world: World) -> None:
        rollout = world.status.get("rollout", {})
        if rollout.get("stage") == "Progressing":
            key = (rollout["attempt"], rollout["step"])
            weight = rollout["steps"][rollout["step"] - 1]["weight"] if rollout["step"] else 0
            self.live[key] = self.live.get(key, 0.0) + TICK if world.traffic.live == weight else 0.0

    def _halt(self, world: World) -> None:
        rollout, version = world.status.get("rollout", {}), world.status.get("canary", {}).get("version")
        pods = world.pods.of(Track.STABLE)
        told = {pod.uid for pod in pods if version in pod.server.told}
        if rollout.get("method") == "Roll":
            told = {pod.uid for pod in pods if pod.made_in == rollout["attempt"]}
        if rollout.get("steps") and rollout["stage"] == "Promoting" and _paused(world, rollout):
            _require(world, told <= self.told, "no further pod gets the version while somebody holds it")
        else:
            self.told = told

    def _answers(self, world: World) -> None:
        stable, rollout = world.status["stable"]["version"], world.status.get("rollout", {})
        canary = world.status.get("canary", {}).get("version")
        may = {stable, canary} if rollout.get("stage") in {"Promoting", "Baking", "RollingBack"} else {stable}
        for pod in world.pods.of(Track.STABLE):
            # A restarted container comes up on its node's copy of the ConfigMap, which may be of the version before.
            allowed = may | self.served if pod.exits else may
            if pod.ready:
                version = pod.server.answers_with
                _require(world, version in allowed, f"{pod.name} answers with {version}, not one of {allowed}")
        for pod in world.pods.of(Track.CANARY) if world.traffic.live else ():
            if pod.ready:
                version = pod.server.answers_with
                _require(world, version == canary, f"{pod.name} answers with {version}, not {canary}")

    def _stable_pods(self, world: World) -> None:
        """Judged are pods that nothing happened to, and that had a moment to come up."""
        rollout, stable = world.status.get("rollout", {}), world.status["stable"]["version"]
        pods = [pod for pod in world.pods.of(Track.STABLE) if pod.ready and not pod.exits]
        for pod in pods:
            if world.seconds - pod.up_since >= 2 * _PROBED:
                _require(world, pod.server.labels["stable"] in pod.server.available, "label stable always resolves")
        if not rollout or rollout.get("stage") == "Initializing":
            return
        new, ours = world.status["canary"]["version"], world.status["stable"].get("template", 0)
        stays = new > stable and rollout["method"] == "Reload"
        for pod in pods:
            kept = stable in pod.server.available or not stays or pod.made_in != ours
            _require(world, kept, f"{pod.name} keeps the stable version until the bake is over")
        if rollout["stage"] in {"Preparing", "Progressing"} and new != stable:
            told = any(new in pod.server.told for pod in pods)
            _require(world, not told, "no stable pod changes before promotion")
        if rollout["stage"] == "Promoting" and rollout["method"] == "Reload" and rollout.get("steps"):
            changing = [pod for pod in pods if new in pod.server.told and not _through(pod, new, stays)]
            parallel = world.spec["strategy"].get("promotion", {}).get("maxParallel", 1)
            _require(world, len(changing) <= parallel, "at most maxParallel stable pods change at a time")


def _paused(world: World, rollout: JSON) -> bool:
    """Whether somebody held it, as the operator has it on record, or had long enough to read."""
    return "pausedSince" in rollout or world.seconds - world.paused_since > world.lag + 2 * TICK


def _waived(world: World, old: JSON, new: JSON, status: JSON) -> bool:
    """Whether somebody let the step off what was left of it, in this write or before."""
    asked = _asked(world, status, "promote", "promote-full", "skip") and new["attempt"] == old["attempt"]
    return asked or "approved" in old


def _asked(world: World, status: JSON, *verbs: str) -> bool:
    """Whether this write of `status` answers a request with one of these verbs."""
    token = status.get("lastRequest", {}).get("token", "")
    fresh = token != world.status.get("lastRequest", {}).get("token")
    return fresh and token.split(":")[0] in verbs


def _known(world: World, pod: SimPod) -> bool:
    """Whether the operator can know that the pod is there and what it has."""
    return pod.up and world.seconds - pod.up_since > world.lag + _PROBED + TICK


def _through(pod: SimPod, version: int, stays: bool) -> bool:
    server = pod.server
    return server.labels.get("stable") == version in server.available and (stays or server.available == {version})


def _versions(config: str) -> set[int]:
    return {int(version) for version in re.findall(r"versions: (\d+)", config)}


def _require(world: World, holds: bool, rule: str) -> None:
    if not holds:
        text = f"{rule} (at {world.seconds} s, status {summary(world.status)})"
        world.rules.broken.append(text)
        raise BrokenRuleError(text)


def summary(status: JSON) -> dict[str, Any]:
    """The part of a status that a failure message needs."""
    keys = ("phase", "message", "stable", "canary", "rollout", "rejected")
    return {key: status[key] for key in keys if key in status}
