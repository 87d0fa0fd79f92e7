"""The list of everything that runs in the box."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
from typing import TYPE_CHECKING

from playground import controlplane, gateway, monitoring
from playground.box import API_ADDRESS
from playground.component import Component, Surroundings, answers
from playground.controlplane import OPERATOR_NAMESPACE
from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from pathlib import Path

    from playground.component import Binaries
    from playground.state import State

OPERATOR = "operator"
DEFINITIONS = "definitions"
NODE_AGENT = "node-agent"
RELAYS = {
    "api": (API_ADDRESS, 6443),
    "gateway": (API_ADDRESS, gateway.PORT),
    "prometheus": (API_ADDRESS, monitoring.PORT),
}
OPERATOR_HEALTH = f"{API_ADDRESS}:8070"
_OUR_DEFINITIONS = REPOSITORY / "crds"
_RIGHTS = REPOSITORY / "playground" / "manifests" / "operator-rbac.yaml"


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
        listed.append(_operator(state))
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


def _operator(state: State) -> Component:
    needs = ("kube-controller-manager", "kube-scheduler", gateway.NAME, DEFINITIONS)
    return Component(
        OPERATOR,
        (sys.executable, "-m", "modelrollout", "run"),
        needs=needs,
        ready=answers(f"http://{OPERATOR_HEALTH}/readyz"),
        env={
            "KUBECONFIG": str(state.kubeconfig(controlplane.OPERATOR)),
            "MODELROLLOUT_HEALTH_ADDRESS": OPERATOR_HEALTH,
            # One that is started again has its lease back at once.
            "MODELROLLOUT_IDENTITY": "playground",
            "MODELROLLOUT_LEASE_NAMESPACE": OPERATOR_NAMESPACE,
        },
        restarts=True,
    )


async def _install_definitions(around: Surroundings) -> None:
    """Install our own custom resource definitions, and the operator's service account with its rights."""
    namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}})
    file = around.state.data / "operator-namespace.json"
    file.write_text(namespace)
    for made in (_OUR_DEFINITIONS, file, _RIGHTS):
        await around.kubectl(DEFINITIONS, "apply", "--server-side", "--force-conflicts", "-f", str(made))
    await around.established(DEFINITIONS)
