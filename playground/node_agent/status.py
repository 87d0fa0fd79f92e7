"""Pod status from container states: phase, conditions and container statuses by the kubelet's rules.

Pure: every fact comes in as an argument, the clock too. Called by :mod:`playground.node_agent.pods`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from playground.node_agent.clock import timestamp
from playground.node_agent.model import ContainerView, JsonObject, Running, Terminated, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

MESSAGE_LIMIT = 4096
"""Bytes of a termination message that the kubelet keeps in all."""


@dataclass(frozen=True)
class PodFacts:
    """What the agent knows of one pod at one moment."""

    pod: JsonObject
    host_ip: str
    pod_ip: str
    """Empty until the pod has an address and its volumes are there."""
    started_at: datetime
    inits: tuple[ContainerView, ...]
    containers: tuple[ContainerView, ...]


def pod_status(facts: PodFacts, moment: datetime) -> JsonObject:
    """The status of `facts.pod` at `moment`, in the form of a strategic merge patch of ``status``.

    A condition keeps its transition time while its status stays what the API server shows.
    """
    status: JsonObject = {
        "phase": phase(facts),
        "hostIP": facts.host_ip,
        "hostIPs": [{"ip": facts.host_ip}],
        "startTime": timestamp(facts.started_at),
        "conditions": _conditions(facts, moment),
        "containerStatuses": [container_status(view) for view in facts.containers],
    }
    if facts.pod_ip:
        # The list merges by address: without the directive a new address would stand beside the old one.
        status |= {"podIP": facts.pod_ip, "podIPs": [{"$patch": "replace"}, {"ip": facts.pod_ip}]}
    if facts.inits:
        status["initContainerStatuses"] = [container_status(view) for view in facts.inits]
    return status


def phase(facts: PodFacts) -> str:
    """The pod's phase: Pending, Running, Succeeded or Failed."""
    policy = facts.pod["spec"].get("restartPolicy", "Always")
    if not initialized(facts.inits):
        failed = any(_failed(view) for view in facts.inits)
        return "Failed" if failed and policy == "Never" else "Pending"
    if any(isinstance(view.state, Waiting) and view.last is None for view in facts.containers):
        return "Pending"
    over = all(isinstance(view.state, Terminated) for view in facts.containers)
    leaving = "deletionTimestamp" in facts.pod["metadata"]
    if not over or (policy == "Always" and not leaving):
        return "Running"
    if not any(_failed(view) for view in facts.containers):
        return "Succeeded"
    return "Failed" if policy == "Never" or leaving else "Running"


def initialized(inits: Iterable[ContainerView]) -> bool:
    """Whether every init container has ended well."""
    return all(_succeeded(view) for view in inits)


def _failed(view: ContainerView) -> bool:
    return isinstance(view.state, Terminated) and view.state.exit_code != 0


def container_status(view: ContainerView) -> JsonObject:
    """One entry of ``containerStatuses``."""
    status: JsonObject = {
        "name": view.name,
        "image": view.image,
        "imageID": "",
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
        "state": _state(view.state),
        "lastState": _state(view.last) if view.last else {},
    }
    if view.container_id:
        status |= {"containerID": view.container_id, "imageID": f"playground://{view.image}"}
    return status


def _state(state: Waiting | Running | Terminated) -> JsonObject:
    if isinstance(state, Waiting):
        words = {"reason": state.reason, "message": state.message}
        return {"waiting": {key: value for key, value in words.items() if value}}
    if isinstance(state, Running):
        return {"running": {"startedAt": timestamp(state.started_at)}}
    ended: JsonObject = {
        "exitCode": state.exit_code,
        "reason": state.reason,
        "startedAt": timestamp(state.started_at),
        "finishedAt": timestamp(state.finished_at),
    }
    extra = {"message": state.message, "signal": state.signal, "containerID": state.container_id}
    return {"terminated": ended | {key: value for key, value in extra.items() if value}}


def _conditions(facts: PodFacts, moment: datetime) -> list[JsonObject]:
    unready = [view.name for view in facts.containers if not view.ready]
    uninitialized = [] if initialized(facts.inits) else [view.name for view in facts.inits if not _succeeded(view)]
    done = phase(facts) == "Succeeded"
    containers = (
        ("PodCompleted", "") if done else _lacking("ContainersNotReady", "containers with unready status: ", unready)
    )
    wanted = {
        "PodReadyToStartContainers": ("", "") if facts.pod_ip else None,
        "Initialized": _lacking("ContainersNotInitialized", "containers with incomplete status: ", uninitialized),
        "ContainersReady": containers,
        "Ready": containers if containers != ("", "") else _gates(facts.pod),
        "PodScheduled": ("", ""),
    }
    shown = {c["type"]: c for c in facts.pod.get("status", {}).get("conditions", [])}
    return [_condition(kind, why, shown.get(kind), moment) for kind, why in wanted.items()]


def _succeeded(view: ContainerView) -> bool:
    return isinstance(view.state, Terminated) and view.state.exit_code == 0


def resumed(view: ContainerView, shown: JsonObject, moment: datetime) -> ContainerView:
    """The state to begin with when an agent finds a pod whose container has lived under an earlier agent.

    Args:
        view: the state of a container that has never run.
        shown: the container's entry in the pod's status, empty if there is none.
        moment: when the agent found it.
    """
    state = shown.get("state", {})
    if not ("running" in state or "terminated" in state or shown.get("restartCount") or shown.get("lastState")):
        return view
    message = "The container was running when its node's agent ended."
    ended = Terminated(255, "Unknown", message, moment, moment, shown.get("containerID", ""))
    return replace(view, last=ended, restarts=shown.get("restartCount", 0))


def _lacking(reason: str, words: str, names: Sequence[str]) -> tuple[str, str]:
    return (reason, f"{words}[{' '.join(names)}]") if names else ("", "")


def _gates(pod: JsonObject) -> tuple[str, str]:
    """Why the pod's readiness gates keep it from being ready; empty when they do not."""
    shown = {c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])}
    complaints = []
    for gate in pod["spec"].get("readinessGates", []):
        kind = gate["conditionType"]
        if kind not in shown:
            complaints.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif shown[kind] != "True":
            complaints.append(f'the status of pod readiness gate "{kind}" is not "True", but {shown[kind]}')
    return ("ReadinessGatesNotReady", ", ".join(complaints)) if complaints else ("", "")


def _condition(kind: str, why: tuple[str, str] | None, shown: JsonObject | None, moment: datetime) -> JsonObject:
    """A condition that is True when `why` is ``("", "")`` and False otherwise; None means False without a
    reason.
    """
    reason, message = why or ("", "")
    status = "True" if why == ("", "") else "False"
    since = shown["lastTransitionTime"] if shown and shown.get("status") == status else timestamp(moment)
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": since,
        "reason": reason or None,
        "message": message or None,
    }


def termination_message(own: bytes, log: bytes, policy: str, exit_code: int) -> str:
    """What a terminated container says about its end.

    Args:
        own: what it wrote to its ``terminationMessagePath``.
        log: what this run of it printed.
        policy: ``File`` or ``FallbackToLogsOnError``.
        exit_code: 0 never falls back to the log.
    """
    if own or policy != "FallbackToLogsOnError" or exit_code == 0:
        return own[:MESSAGE_LIMIT].decode(errors="replace")
    lines = log[-2048:].splitlines(keepends=True)[-80:]
    return b"".join(lines).decode(errors="replace")
