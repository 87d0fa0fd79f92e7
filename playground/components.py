"""The list of everything that runs in the box."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from typing import TYPE_CHECKING

from playground import controlplane, gateway, monitoring, operator_pod
from playground.box import API_ADDRESS
from playground.component import Component, Surroundings
from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from playground.component import Binaries
    from playground.state import State

OPERATOR = operator_pod.NAME
DEFINITIONS = "definitions"
NODE_AGENT = "node-agent"
RELAYS = {
    "api": (API_ADDRESS, 6443),
    "gateway": (API_ADDRESS, gateway.PORT),
    "prometheus": (API_ADDRESS, monitoring.PORT),
}
_OPERATOR_NEEDS = ("kube-controller-manager", "kube-scheduler", gateway.NAME, DEFINITIONS)
_OUR_DEFINITIONS = REPOSITORY / "crds"


def all_components(state: State, binaries: Binaries, *, operator: bool) -> list[Component]:
    """What the supervisor starts; each waits for what it needs."""
    listed = [
        _relay(state),
        *controlplane.components(state, binaries),
        gateway.component(state, binaries),
        monitoring.component(state, binaries),
        Component(DEFINITIONS, (), needs=("kube-apiserver",), prepare=_install_definitions),
    ]
    if importlib.util.find_spec("playground.node_agent.__main__"):
        listed.append(_node_agent(state))
    if operator:
        listed.append(operator_pod.component(state, _OPERATOR_NEEDS))
    return listed


def _relay(state: State) -> Component:
    pairs = [f"{state.socket(name)}={host}:{port}" for name, (host, port) in RELAYS.items()]

    async def ready(_: Surroundings) -> bool:
        return all(state.socket(name).exists() for name in RELAYS)

    return Component("relay", (sys.executable, "-m", "playground.relay", *pairs), ready=ready)


def _node_agent(state: State) -> Component:
    return Component(
        NODE_AGENT,
        (
            sys.executable,
            "-m",
            "playground.node_agent",
            "--kubeconfig",
            str(state.kubeconfig(NODE_AGENT)),
            "--dir",
            str(state.data / "node"),
        ),
        needs=("kube-apiserver",),
        ready=_nodes_ready,
    )


async def _nodes_ready(around: Surroundings) -> bool:
    """At least one node exists and every node is Ready."""
    dump = around.state.run / "nodes.json"
    dump.unlink(missing_ok=True)
    if await around.processes.run(("kubectl", "get", "nodes", "-o", "json"), around.env, dump):
        return False
    nodes = await asyncio.to_thread(_read_nodes, dump)
    return bool(nodes) and all(nodes)


def _read_nodes(dump: Path) -> list[bool]:
    return [
        any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions", []))
        for node in json.loads(dump.read_text())["items"]
    ]


async def _install_definitions(around: Surroundings) -> None:
    """Install our own custom resource definitions, and what else the operator's chart installs."""
    await around.kubectl(DEFINITIONS, "apply", "--server-side", "--force-conflicts", "-f", str(_OUR_DEFINITIONS))
    await operator_pod.install(around, DEFINITIONS)
    await around.established(DEFINITIONS)
