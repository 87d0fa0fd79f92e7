"""A real etcd and kube-apiserver on loopback addresses, for tests of what the API server alone decides.

Used by tests/contract/conftest.py. No namespace, no controllers, no scheduler: objects are stored and validated, and
nothing acts on them. Both processes end with the test run, also when that is killed.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kubernetes import client
from urllib3.exceptions import HTTPError

from playground.toolchain.gobuild import PROGRAMS, ensure

if TYPE_CHECKING:
    from collections.abc import Iterator

_READY_SECONDS = 120


@contextmanager
def running_api_server(folder: Path) -> Iterator[client.ApiClient]:
    """Start both in `folder`; gives an administrator's client once the server is ready.

    Raises:
        RuntimeError: one of them ended or did not become ready; with the last lines of its log.
    """
    binaries = ensure(next(program for program in PROGRAMS if program.module == "controlplane"), Path(sys.executable))
    subprocess.run([binaries / "certificates", folder], check=True)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f"{token},admin,admin,system:masters\n")
    etcd, peer, api = _free_ports(3)
    with ExitStack() as processes:
        processes.enter_context(_process(folder, "etcd", [binaries / "etcd", *_etcd_flags(folder, etcd, peer)]))
        flags = _api_server_flags(folder, etcd, api)
        server = processes.enter_context(_process(folder, "kube-apiserver", [binaries / "kube-apiserver", *flags]))
        admin = processes.enter_context(_client(folder, token, api))
        _wait_until_ready(admin, server, folder)
        yield admin


def _etcd_flags(folder: Path, port: int, peer: int) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd-data'}",
        f"--listen-client-urls=http://127.0.0.1:{port}",
        f"--advertise-client-urls=http://127.0.0.1:{port}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]


def _api_server_flags(folder: Path, etcd: int, port: int) -> list[str]:
    key = folder / "apiserver.key"
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        # Loopback may not be advertised; nobody follows this address.
        "--advertise-address=10.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={folder / 'apiserver.crt'}",
        f"--tls-private-key-file={key}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=AlwaysAllow",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
    ]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as open_sockets:
        sockets = [open_sockets.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@contextmanager
def _process(folder: Path, name: str, command: list[str | Path]) -> Iterator[subprocess.Popen[bytes]]:
    with _log(folder, name).open("wb") as log:
        # The kernel ends it with us, also when we are killed and never reach the end of this function.
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command], stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@contextmanager
def _client(folder: Path, token: str, port: int) -> Iterator[client.ApiClient]:
    configuration = client.Configuration(host=f"https://127.0.0.1:{port}")
    configuration.api_key = {"authorization": f"Bearer {token}"}
    configuration.ssl_ca_cert = str(folder / "apiserver.crt")
    configuration.retries = False
    with client.ApiClient(configuration) as made:
        yield made


def _wait_until_ready(admin: client.ApiClient, server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"kube-apiserver ended with {server.returncode}:\n{_tail(folder)}")
        try:
            client.CoreV1Api(admin).read_namespace("default")
            client.SchedulingV1Api(admin).read_priority_class("system-cluster-critical")  # which it makes itself
        except (client.ApiException, HTTPError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"kube-apiserver is not ready after {_READY_SECONDS} s:\n{_tail(folder)}")


def _tail(folder: Path) -> str:
    logs = [(name, _log(folder, name).read_text(errors="replace").splitlines()) for name in ("etcd", "kube-apiserver")]
    return "\n".join(f"{name}: {line}" for name, lines in logs for line in lines[-15:])


def _log(folder: Path, name: str) -> Path:
    return folder / f"{name}.log"
