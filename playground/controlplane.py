"""etcd, API server, controller manager and scheduler, and the identities that may talk to them."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING

from playground.box import API_ADDRESS, SERVICES
from playground.component import Component, Surroundings, answers, listens

if TYPE_CHECKING:
    from pathlib import Path

    from playground.component import Binaries
    from playground.state import State

API_URL = f"https://{API_ADDRESS}:6443"
ADMIN = "admin"
_IDENTITIES = (
    ADMIN,
    "envoy-gateway",
    "node-agent",
    "prometheus",
    "kube-controller-manager",
    "kube-scheduler",
)
OPERATOR_NAMESPACE = "modelrollout-system"
_HEALTH_PORTS = {"kube-controller-manager": 10257, "kube-scheduler": 10259}
_ETCD = "http://127.0.0.1:2379"


def write_tokens(state: State) -> dict[str, str]:
    """Make a token for each identity and the file by which the API server knows them; returns them by name.

    Each may do everything. The operator is none of them: it has a service account (playground/operator_pod.py).
    """
    tokens = {name: secrets.token_hex(16) for name in _IDENTITIES}
    lines = [f'{token},{name},{name},"system:masters"\n' for name, token in tokens.items()]
    file = state.data / "tokens.csv"
    file.touch(0o600)
    file.write_text("".join(lines))
    return tokens


def read_token(state: State, identity: str) -> str:
    """The token of one identity out of its kubeconfig."""
    content = json.loads(state.kubeconfig(identity).read_text())
    token: str = content["users"][0]["user"]["token"]
    return token


def write_kubeconfigs(state: State, tokens: dict[str, str]) -> None:
    """Write one kubeconfig per identity, for use inside the box.

    The certificate's path is named, not its content: it does not exist yet.
    """
    for name, token in tokens.items():
        write_kubeconfig(state.kubeconfig(name), API_URL, token, state)


def write_kubeconfig(file: Path, server: str, token: str, state: State) -> None:
    """Write a kubeconfig (as JSON, which is YAML) readable by its owner only."""
    authority = str(state.data / "certificates" / "apiserver.crt")
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "playground", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [
            {"name": "playground", "context": {"cluster": "playground", "user": "user", "namespace": "default"}}
        ],
        "current-context": "playground",
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(0o600)
    file.write_text(json.dumps(content, indent=2) + "\n")


def components(state: State, binaries: Binaries) -> list[Component]:
    """The control plane's components in the order of their needs."""
    programs = binaries.controlplane

    def client(name: str, *flags: str) -> Component:
        kubeconfig = f"--kubeconfig={state.kubeconfig(name)}"
        argv = (str(programs / name), kubeconfig, "--leader-elect=false", *flags)
        return Component(name, argv, needs=("kube-apiserver",), ready=listens("127.0.0.1", _HEALTH_PORTS[name]))

    key = state.data / "certificates" / "apiserver.key"
    return [
        Component("etcd", _etcd(programs, state), ready=answers(f"{_ETCD}/health")),
        Component(
            "kube-apiserver",
            _apiserver(programs, state),
            needs=("etcd",),
            prepare=_make_certificates,
            ready=answers(f"{API_URL}/readyz"),
        ),
        client(
            "kube-controller-manager",
            "--controllers=*,-nodelifecycle",
            f"--service-account-private-key-file={key}",
            f"--root-ca-file={state.data / 'certificates' / 'apiserver.crt'}",
        ),
        client("kube-scheduler"),
    ]


async def _make_certificates(around: Surroundings) -> None:
    if around.ca_file.exists():
        return  # a restart: whoever trusts the first certificate goes on trusting
    around.ca_file.parent.mkdir(parents=True, exist_ok=True)
    program = str(around.binaries.controlplane / "certificates")
    await around.do("kube-apiserver", program, str(around.ca_file.parent))


def _etcd(programs: Path, state: State) -> tuple[str, ...]:
    return (
        str(programs / "etcd"),
        f"--data-dir={state.data / 'etcd'}",
        "--unsafe-no-fsync",  # the cluster does not outlive its processes
        f"--listen-client-urls={_ETCD}",
        f"--advertise-client-urls={_ETCD}",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--log-level=warn",
    )


def _apiserver(programs: Path, state: State) -> tuple[str, ...]:
    certificates = state.data / "certificates"
    return (
        str(programs / "kube-apiserver"),
        f"--etcd-servers={_ETCD}",
        f"--advertise-address={API_ADDRESS}",
        "--secure-port=6443",
        f"--tls-cert-file={certificates / 'apiserver.crt'}",
        f"--tls-private-key-file={certificates / 'apiserver.key'}",
        f"--token-auth-file={state.data / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        f"--service-cluster-ip-range={SERVICES}",
        f"--service-account-key-file={certificates / 'apiserver.key'}",
        f"--service-account-signing-key-file={certificates / 'apiserver.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--disable-admission-plugins=ServiceAccount",  # no pod of the playground uses a token of its own
    )
