"""How many more pods fit: the arithmetic of free GPUs."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.adapters.capacity import free_slots, requested
from modelrollout.core.readings import CapacityQuestion
from modelrollout.core.spec import Gpu

GPU = "nvidia.com/gpu"


def node(name: str = "gpu-0", room: str = "4", **more: Any) -> dict[str, Any]:
    """A ready node with this many GPUs."""
    return {
        "metadata": {"name": name, "labels": {"pool": "a"}},
        "spec": more.pop("spec", {}),
        "status": {
            "allocatable": {GPU: room},
            "conditions": [{"type": "Ready", "status": more.pop("ready", "True")}],
        },
    }


def asking(count: int | str, **more: Any) -> dict[str, Any]:
    """A container that asks for GPUs."""
    return {"resources": {"limits": {GPU: count}}, **more}


def pod(*containers: dict[str, Any], on: str = "gpu-0", init: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    """A pod on a node."""
    return {"spec": {"nodeName": on, "containers": list(containers), "initContainers": list(init)}}


def question(count: int = 1, **serving_pod: Any) -> CapacityQuestion:
    """Room for pods with this many GPUs each."""
    return CapacityQuestion(Gpu(GPU, count), serving_pod)


CASES = {
    "an empty node offers all": (question(), [node()], [], 4),
    "what pods ask for is taken": (question(), [node()], [pod(asking(1)), pod(asking("2"))], 1),
    "several containers add up": (question(), [node()], [pod(asking(1), asking(2))], 1),
    "pods elsewhere do not count": (question(), [node()], [pod(asking(4), on="other")], 4),
    "a pod's GPUs must be on one node": (question(2), [node("a", "3"), node("b", "1")], [], 1),
    "more taken than there is leaves nothing": (question(), [node(room="1")], [pod(asking(2))], 0),
    "a node without the resource offers nothing": (question(), [node(room="0")], [], 0),
    "a cordoned node is out": (question(), [node(spec={"unschedulable": True})], [], 0),
    "a node that is not ready is out": (question(), [node(ready="Unknown")], [], 0),
    "a tainted node is out": (question(), [node(spec={"taints": [{"key": "x", "effect": "NoSchedule"}]})], [], 0),
    "a taint that only prefers is no obstacle": (
        question(),
        [node(spec={"taints": [{"key": "x", "effect": "PreferNoSchedule"}]})],
        [],
        4,
    ),
    "the taint named after the resource is tolerated": (
        question(),
        [node(spec={"taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}]})],
        [],
        4,
    ),
    "a toleration with the value is met": (
        question(tolerations=[{"key": "x", "value": "y", "effect": "NoSchedule"}]),
        [node(spec={"taints": [{"key": "x", "value": "y", "effect": "NoSchedule"}]})],
        [],
        4,
    ),
    "a toleration of another value is not": (
        question(tolerations=[{"key": "x", "value": "z"}]),
        [node(spec={"taints": [{"key": "x", "value": "y", "effect": "NoExecute"}]})],
        [],
        0,
    ),
    "a toleration of everything is met": (
        question(tolerations=[{"operator": "Exists"}]),
        [node(spec={"taints": [{"key": "x", "effect": "NoExecute"}]})],
        [],
        4,
    ),
    "a node selector that matches": (question(nodeSelector={"pool": "a"}), [node()], [], 4),
    "a node selector that does not": (question(nodeSelector={"pool": "b"}), [node()], [], 0),
    "quantities with a suffix are read": (question(), [node(room="1k")], [], 1000),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_free_slots(case: tuple[CapacityQuestion, list[dict[str, Any]], list[dict[str, Any]], int]) -> None:
    """Each sentence of the table holds."""
    asked, nodes, pods, slots = case
    assert free_slots(asked, nodes, pods).slots == slots


@pytest.mark.parametrize(("operator", "values", "slots"), [("In", ["a"], 4), ("NotIn", ["a"], 0), ("Exists", [], 4)])
def test_required_node_affinity_is_heeded(operator: str, values: list[str], slots: int) -> None:
    """Nodes that the pods may not use are not counted."""
    expression = {"key": "pool", "operator": operator, "values": values}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    assert free_slots(question(affinity=affinity), [node()], []).slots == slots


def test_the_greediest_init_container_counts_when_it_is_more() -> None:
    """Init containers run one after another and before the others; sidecars stay."""
    init = (asking(1, restartPolicy="Always"), asking(3), asking(2))
    assert requested(pod(asking(1), init=init)["spec"], GPU) == 4
    assert requested(pod(asking(6), init=init)["spec"], GPU) == 7


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([], "no node has nvidia.com/gpu"),
        ([node(ready="False")], "none of the 1 node(s) with nvidia.com/gpu is ready and open to these pods"),
        ([node()], "too few of the 4 nvidia.com/gpu on 1 node(s) are free"),
    ],
)
def test_the_answer_says_what_was_counted(nodes: list[dict[str, Any]], words: str) -> None:
    """People can tell a full cluster from a wrong resource name."""
    assert free_slots(question(), nodes, []).detail == words
