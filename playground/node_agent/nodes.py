"""The nodes: made and kept Ready while they are played; marked lost when somebody takes them offline.

Run by :mod:`playground.node_agent.agent`, which is told which nodes are there to run pods.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import aiohttp
import yaml

from playground.node_agent.api import MERGE, Api, ApiError, Listed
from playground.node_agent.clock import now, timestamp
from playground.node_agent.model import JsonObject, NodeSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

OFFLINE = "playground.modelrollout.io/offline"
"""Annotation of a node: while it is ``"true"`` the node's processes are dead and nobody says so."""

_AGAIN = 1.0
_NODES = "/api/v1/nodes"
_VERSION = "v1.36.2"
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)
_LOST = tuple(
    (kind, "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.") for kind, *_ in _CONDITIONS
)
_OUR_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

DEFAULT = (
    {"name": "gpu-0", "resources": {"nvidia.com/gpu": "4"}, "labels": {"nvidia.com/gpu.present": "true"}},
    {
        "name": "mig-0",
        "resources": {"nvidia.com/mig-1g.10gb": "7"},
        "labels": {"nvidia.com/gpu.present": "true", "nvidia.com/mig.capable": "true"},
    },
    {"name": "cpu-0"},
)
"""The nodes of a playground that asks for no others."""


def specs(file: Path | None) -> tuple[NodeSpec, ...]:
    """The nodes to play, the default ones without a file.

    A file is a YAML list of objects with ``name`` and, as wanted, ``resources``, ``labels``, ``taints``, ``pods``,
    ``hostIP`` and ``podNetwork`` (the first three octets; two agents in one box must not share one).
    """
    entries = DEFAULT if file is None else yaml.safe_load(file.read_text())
    return tuple(_spec(index, entry) for index, entry in enumerate(entries))


def _spec(index: int, entry: JsonObject) -> NodeSpec:
    resources = {key: str(value) for key, value in entry.get("resources", {}).items()}
    return NodeSpec(
        name=entry["name"],
        host_ip=entry.get("hostIP", f"10.0.1.{index + 1}"),
        pod_network=entry.get("podNetwork", f"10.244.{index + 1}"),
        resources=resources,
        labels=entry.get("labels", {}),
        taints=tuple(entry.get("taints", ())),
        pods=entry.get("pods", 60),
    )


def manifest(node: NodeSpec) -> JsonObject:
    """The object of a new node."""
    labels = {
        "kubernetes.io/hostname": node.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        **node.labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node.name, "labels": labels},
        "spec": {"taints": list(node.taints)},
    }


def node_status(node: NodeSpec, shown: JsonObject, *, online: bool) -> JsonObject:
    """The status of `node`, as a strategic merge patch; `shown` is the object that the server has."""
    moment = timestamp(now())
    known = {c["type"]: c for c in shown.get("status", {}).get("conditions", [])}
    room = {
        "cpu": "64",
        "memory": "256Gi",
        "ephemeral-storage": "1Ti",
        "pods": str(node.pods),
        **node.resources,
    }
    conditions = []
    for kind, status, reason, message in _CONDITIONS if online else _LOST:
        before = known.get(kind, {})
        since = before["lastTransitionTime"] if before.get("status") == status else moment
        words = {"type": kind, "status": status, "reason": reason, "message": message}
        conditions.append({**words, "lastTransitionTime": since, "lastHeartbeatTime": moment})
    return {
        "capacity": room,
        "allocatable": room,
        "conditions": conditions,
        "addresses": [
            {"type": "InternalIP", "address": node.host_ip},
            {"type": "Hostname", "address": node.name},
        ],
        "nodeInfo": dict.fromkeys(_NODE_INFO, "") | {"architecture": "amd64", "operatingSystem": "linux"}
        | {"kubeletVersion": _VERSION, "osImage": "ModelRollout playground", "containerRuntimeVersion":
        "playground://1"},
    }  # fmt: skip


_NODE_INFO = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip


def taints(node: NodeSpec, shown: JsonObject, *, online: bool) -> list[JsonObject]:
    """The taints of the node `shown`: everybody else's stay, ours say whether it can be reached."""
    kept = [taint for taint in shown["spec"].get("taints") or [] if taint["key"] not in _OUR_TAINTS]
    kept += [dict(taint) for taint in node.taints if dict(taint) not in kept]
    if online:
        return kept
    return kept + [{"key": _OUR_TAINTS[1], "effect": effect} for effect in ("NoSchedule", "NoExecute")]


class Nodes:
    """Keeps the nodes of `specs` in the API server; `turned(name, online)` is called when one comes or
    goes.
    """

    def __init__(
        self, api: Api, specs: tuple[NodeSpec, ...], offline_grace: float, turned: Callable[[str, bool], None]
    ) -> None:
        self._api = api
        self._specs = {node.name: node for node in specs}
        self._grace = offline_grace
        self._turned = turned
        self._online: dict[str, bool] = dict.fromkeys(self._specs, False)

    async def run(self) -> None:
        """Makes the nodes, then follows what people do with them, for ever. A deleted node is not made
        again.
        """
        for node in self._specs.values():
            try:
                await self._api.create(_NODES, manifest(node))
            except ApiError as refused:
                if refused.reason != "AlreadyExists":
                    raise
        async with asyncio.TaskGroup() as group:
            async for event in self._api.follow(_NODES):
                if isinstance(event, Listed):
                    present = {shown["metadata"]["name"] for shown in event.objects}
                    for name in self._specs.keys() - present:
                        self._turn(name, online=False)
                shown_now = event.objects if isinstance(event, Listed) else (event.object,)
                gone = not isinstance(event, Listed) and event.kind == "DELETED"
                for shown in shown_now:
                    self._saw(shown, group, gone=gone)

    def _saw(self, shown: JsonObject, group: asyncio.TaskGroup, *, gone: bool) -> None:
        name = shown["metadata"]["name"]
        if name not in self._specs:
            return
        online = not gone and shown["metadata"].get("annotations", {}).get(OFFLINE) != "true"
        if self._turn(name, online=online) and not gone:
            group.create_task(self._tell(self._specs[name], shown, online=online))

    def _turn(self, name: str, *, online: bool) -> bool:
        """Whether this is news."""
        news = self._online[name] != online
        self._online[name] = online
        if news:
            self._turned(name, online)
        return news

    async def _tell(self, node: NodeSpec, shown: JsonObject, *, online: bool) -> None:
        """Writes what the node's kubelet would, or what others write about a node that has fallen silent."""
        if not online:
            await asyncio.sleep(self._grace)
        while self._online[node.name] == online:
            try:
                await self._write(node, shown, online=online)
            except (ApiError, aiohttp.ClientError, TimeoutError) as problem:
                log.warning("node %s: %s", node.name, problem)
                await asyncio.sleep(_AGAIN)
            else:
                return

    async def _write(self, node: NodeSpec, shown: JsonObject, *, online: bool) -> None:
        where = f"{_NODES}/{node.name}"
        shown = await self._api.patch(f"{where}/status", {"status": node_status(node, shown, online=online)})
        await self._api.patch(where, {"spec": {"taints": taints(node, shown, online=online)}}, MERGE)
        if not online:
            await self._mark_pods(node.name)

    async def _mark_pods(self, node: str) -> None:
        """Takes the pods of a silent node out of their Services, as the node lifecycle controller does."""
        pods = await self._api.get("/api/v1/pods", fieldSelector=f"spec.nodeName={node}")
        for pod in pods["items"]:
            metadata = pod["metadata"]
            unready = {"type": "Ready", "status": "False", "lastTransitionTime": timestamp(now())}
            where = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
            await self._api.patch(where, {"status": {"conditions": [unready]}})
