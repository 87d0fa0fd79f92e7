"""Free GPUs (or MIG slices) on the nodes: implements `ports.Capacities`. The arithmetic is pure, below."""

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from modelrollout.adapters.kube import Forbidden, KubeClient
from modelrollout.core.readings import CapacityQuestion
from modelrollout.core.snapshot import Capacity
from modelrollout.core.values import JSON
from modelrollout.resources import NODES, PODS

_LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed"
_FRESH_SECONDS = 2.0
"""Rollouts that ask at about the same time share one listing: pods of the whole cluster are no small answer."""


@dataclass(frozen=True, slots=True)
class _Cluster:
    """Nodes, and of each pod on one the containers alone."""

    nodes: tuple[JSON, ...]
    pods: tuple[JSON, ...]


class NodeCapacities:
    """Reads nodes and pods of the whole cluster when asked."""

    def __init__(self, client: KubeClient) -> None:
        """The client belongs to the running event loop."""
        self._client = client
        self._reading = asyncio.Lock()
        self._last: tuple[float, _Cluster] | None = None

    async def read(self, question: CapacityQuestion) -> Capacity:
        """Free slots for such pods; `slots` None without the right to read nodes. Raises ClusterUnavailable."""
        try:
            cluster = await self._cluster()
        except Forbidden as error:
            return Capacity(None, f"unknown: {error}")
        return free_slots(question, cluster.nodes, cluster.pods)

    async def _cluster(self) -> _Cluster:
        async with self._reading:
            if self._last is None or time.monotonic() - self._last[0] > _FRESH_SECONDS:
                nodes = await self._client.list(NODES)
                pods = await self._client.list(PODS, fields=_LIVE_PODS)
                on_nodes = (pod for pod in pods.items if pod["spec"].get("nodeName"))
                self._last = time.monotonic(), _Cluster(nodes.items, tuple({"spec": p["spec"]} for p in on_nodes))
            return self._last[1]


def free_slots(question: CapacityQuestion, nodes: Iterable[JSON], pods: Iterable[JSON]) -> Capacity:
    """How many more such pods the nodes have room for, by this one resource, and in words what was counted."""
    resource, count = question.gpu.resource, question.gpu.count
    used: dict[str, Decimal] = {}
    for pod in pods:
        node = pod["spec"].get("nodeName", "")
        used[node] = used.get(node, Decimal(0)) + requested(pod["spec"], resource)
    offering = [(node, room) for node in nodes if (room := _allocatable(node, resource)) > 0]
    usable = [(node, room) for node, room in offering if _usable(node, question)]
    free = {
        node["metadata"]["name"]: max(Decimal(0), room - used.get(node["metadata"]["name"], Decimal(0)))
        for node, room in usable
    }
    return Capacity(sum(int(room // count) for room in free.values()), _detail(resource, offering, usable))


def requested(spec: JSON, resource: str) -> Decimal:
    """What a pod asks of a resource: its containers together, or its greediest init container if that is more."""
    sidecars, peak = Decimal(0), Decimal(0)
    for container in spec.get("initContainers") or ():
        asked = _asked(container, resource)
        if container.get("restartPolicy") == "Always":
            sidecars += asked
            peak = max(peak, sidecars)
        else:
            peak = max(peak, sidecars + asked)
    running = sum((_asked(container, resource) for container in spec.get("containers") or ()), sidecars)
    return max(running, peak)


def _asked(container: JSON, resource: str) -> Decimal:
    resources = container.get("resources") or {}
    for kind in ("requests", "limits"):
        if resource in (resources.get(kind) or {}):
            return _quantity(resources[kind][resource])
    return Decimal(0)


def _allocatable(node: JSON, resource: str) -> Decimal:
    return _quantity((node.get("status", {}).get("allocatable") or {}).get(resource, 0))


def _quantity(value: str | int) -> Decimal:
    """A count of an extended resource: whole numbers, which the API server may write as 1k."""
    text = str(value)
    factor = {"k": 1000, "M": 1_000_000}.get(text[-1:], 1)
    try:
        return Decimal(text.rstrip("kM")) * factor
    except InvalidOperation:
        return Decimal(0)


def _usable(node: JSON, question: CapacityQuestion) -> bool:
    spec, labels = node.get("spec", {}), node["metadata"].get("labels") or {}
    if spec.get("unschedulable") or not _ready(node):
        return False
    # Model server pods tolerate the taint that is named after their resource, besides what serving.pod says.
    tolerations = [*question.pod.get("tolerations", ()), {"key": question.gpu.resource, "operator": "Exists"}]
    if not all(_tolerated(taint, tolerations) for taint in spec.get("taints") or ()):
        return False
    selector = question.pod.get("nodeSelector") or {}
    return all(labels.get(key) == value for key, value in selector.items()) and _affine(labels, question.pod)


def _ready(node: JSON) -> bool:
    conditions = node.get("status", {}).get("conditions") or ()
    return any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)


def _tolerated(taint: JSON, tolerations: Iterable[JSON]) -> bool:
    return taint.get("effect") == "PreferNoSchedule" or any(_tolerates(item, taint) for item in tolerations)


def _tolerates(toleration: JSON, taint: JSON) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    exists = toleration.get("operator") == "Exists"
    if not toleration.get("key"):
        return exists
    same_value = (toleration.get("value") or "") == (taint.get("value") or "")
    return toleration["key"] == taint["key"] and (exists or same_value)


def _affine(labels: Mapping[str, str], pod: JSON) -> bool:
    """Whether a node meets the required node affinity: one of its terms, and of that every expression on labels."""
    affinity = (pod.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    terms = required.get("nodeSelectorTerms") or ()
    return any(all(_matches(labels, item) for item in term.get("matchExpressions") or ()) for term in terms)


def _matches(labels: Mapping[str, str], expression: JSON) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    answers: dict[str, Any] = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    # Gt and Lt are left to the scheduler: too hopeful an answer costs a Pending pod, not a rollout.
    return bool(answers.get(expression["operator"], True))


def _detail(
    resource: str,
    offering: list[tuple[JSON, Decimal]],
    usable: list[tuple[JSON, Decimal]],
) -> str:
    if not offering:
        return f"no node has {resource}"
    if not usable:
        return f"none of the {len(offering)} node(s) with {resource} is ready and open to these pods"
    # No count of what is free: that moves with everybody's pods, and this ends up in status.
    total = sum(room for _, room in usable)
    return f"too few of the {total} {resource} on {len(usable)} node(s) are free"
