"""The operator as its chart installs it: the release's objects, its service account, its container.

playground/manifests/operator.yaml is what Helm makes of the chart with operator-values.yaml beside it (`make chart`
writes it anew). Everything in it is applied but the Deployment: the supervisor is the operator's kubelet, and
components.py lists it with the arguments, variables and probe of that Deployment's container. As a program, this module
becomes the operator's process.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from playground.box import API_ADDRESS
from playground.component import Component, PreparationError, answers
from playground.node_agent import env as declared
from playground.node_agent.launch import enter
from playground.node_agent.sandbox import outside
from playground.state import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playground.component import Surroundings

NAME = "operator"
MANIFEST = Path(__file__).parent / "manifests" / "operator.yaml"
_ENTRY_POINT = (sys.executable, "-m", "modelrollout")  # as in operator/Dockerfile, like these variables
_IMAGE_VARIABLES = {"PYTHONUNBUFFERED": "1"}
_API_SERVER = {"KUBERNETES_SERVICE_HOST": API_ADDRESS, "KUBERNETES_SERVICE_PORT": "6443"}
_ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
# A kubelet renews the tokens of its pods. Nobody does it here, so this one outlives any playground.
_TOKEN_LIFETIME = "8760h"


def component(state: State, needs: tuple[str, ...]) -> Component:
    """The operator, ready when the chart's probe says so. A restart keeps the pod's name, and so the lease."""
    return Component(
        NAME,
        (sys.executable, "-m", "playground.operator_pod", str(state.dir)),
        needs=needs,
        ready=answers(f"http://{address()}{_container()['readinessProbe']['httpGet']['path']}"),
        restarts=True,
    )


def address() -> str:
    """Where the operator serves health and metrics."""
    return f"{API_ADDRESS}:{_container()['ports'][0]['containerPort']}"


def pod() -> dict[str, Any]:
    """The operator's pod, as far as its own variables and Prometheus' labels ask for it."""
    (deployment,) = (each for each in _release() if each["kind"] == "Deployment")
    template = deployment["spec"]["template"]
    names = {key: deployment["metadata"][key] for key in ("name", "namespace")}
    return {"metadata": template["metadata"] | names | {"uid": ""}, "spec": template["spec"]}


async def install(around: Surroundings, log: str) -> None:
    """Apply the release, and get what a pod of its service account finds in its file system. May be repeated.

    Raises:
        PreparationError: the API server refused.
    """
    home, metadata = _home(around.state), pod()["metadata"]
    account = home / "serviceaccount"
    account.mkdir(parents=True, exist_ok=True)
    applied = home / "release.json"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": metadata["namespace"]}}
    items = [namespace, *(each for each in _release() if each["kind"] != "Deployment")]
    applied.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    await around.kubectl(log, "apply", "--server-side", "--force-conflicts", "-f", str(applied))
    (account / "ca.crt").write_bytes(around.ca_file.read_bytes())
    (account / "namespace").write_text(metadata["namespace"])
    await _fetch_token(around, account / "token")


def token(state: State) -> str:
    """The service account's, for operators that are started in another way."""
    return (_home(state) / "serviceaccount" / "token").read_text()


async def _fetch_token(around: Surroundings, target: Path) -> None:
    account, namespace = pod()["spec"]["serviceAccountName"], pod()["metadata"]["namespace"]
    command = ("kubectl", "-n", namespace, "create", "token", account, f"--duration={_TOKEN_LIFETIME}")
    answer = _home(around.state) / "token-request"
    answer.unlink(missing_ok=True)
    answer.touch(0o600)
    if await around.processes.run(command, around.env, answer):
        raise PreparationError(f"no token for service account {namespace}/{account}: {answer.read_text().strip()}")
    _move(answer, target)


def _move(answer: Path, target: Path) -> None:
    target.touch(0o600)
    target.write_text(answer.read_text().strip())
    answer.unlink()


def _release() -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(MANIFEST.read_text()) if each]


def _container() -> dict[str, Any]:
    container: dict[str, Any] = pod()["spec"]["containers"][0]
    return container


def _home(state: State) -> Path:
    return state.data / NAME


def _nothing(kind: str, name: str) -> None:
    raise declared.ConfigError(f"the playground's operator has no {kind} {name}")


def main(arguments: Sequence[str]) -> None:
    """Become the operator of the playground in a folder: nothing of the box's own environment reaches it."""
    home, container = _home(State(Path(arguments[0]))), _container()
    variables = declared.environment(container, pod(), _nothing)
    env = outside(os.environ) | _IMAGE_VARIABLES | _API_SERVER | variables
    argv = [*_ENTRY_POINT, *declared.arguments(container["args"], variables)]
    root = home / "root"
    root.mkdir(exist_ok=True)
    enter(root, [(str(home / "serviceaccount"), _ACCOUNT_FOLDER, True)])
    os.chdir("/")
    os.execvpe(argv[0], argv, env)  # noqa: S606 - becoming the program is the point


if __name__ == "__main__":
    main(sys.argv[1:])
