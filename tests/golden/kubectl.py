"""What kubectl shows of a ModelRollout: the real kubectl against a real API server, without what differs each time."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from playground.toolchain.gobuild import PROGRAMS, ensure

if TYPE_CHECKING:
    from tests.contract.conftest import Rollouts

FOLDER = Path(__file__).parents[2] / "docs" / "golden"
"""Where the sights are kept, for people too."""
_SERVER_SETS = re.compile(r"(?m)^(  (?:UID|Resource Version|Creation Timestamp): +).*$")
_AGE = re.compile(r"\b[0-9]+s( *)(?=  |$)", re.MULTILINE)


class Kubectl:
    """kubectl for one API server; `kubeconfig` says which, `cache` is a folder for what it finds out about it."""

    def __init__(self, kubeconfig: str, cache: Path) -> None:
        program = next(program for program in PROGRAMS if program.module == "controlplane")
        kubectl = ensure(program, Path(sys.executable)) / "kubectl"
        self._command = [str(kubectl), "--kubeconfig", kubeconfig, "--cache-dir", str(cache)]

    def __call__(self, *arguments: str) -> str:
        """What it prints. Raises CalledProcessError."""
        return subprocess.run([*self._command, *arguments], check=True, capture_output=True, text=True).stdout


def sight(kubectl: Kubectl, rollouts: Rollouts, obj: dict[str, Any]) -> str:
    """`get`, `get -o wide` and `describe` of an object in this state."""
    name = obj["metadata"]["name"]
    annotations = obj["metadata"].get("annotations", {})
    kept = {key: obj[key] for key in ("apiVersion", "kind", "spec")}
    rollouts.create({**kept, "metadata": {"name": name, "annotations": annotations}}, dry_run=False)
    try:
        if "status" in obj:
            rollouts.write_status(name, obj["status"])
        calls = (("get", "mro", name), ("get", "mro", name, "-o", "wide"), ("describe", "mro", name))
        shown = [f"$ kubectl {' '.join(call)}\n{_steady(call[0], kubectl(*call))}" for call in calls]
    finally:
        rollouts.delete(name)
    return "\n".join(shown)


def explained(kubectl: Kubectl) -> str:
    """`explain --recursive` of the whole definition."""
    return kubectl("explain", "modelrollouts", "--recursive")


def _steady(verb: str, text: str) -> str:
    """Without age and identity, which the API server makes up."""
    if verb == "get":
        return _AGE.sub(lambda found: f"{'0s':<{len(found[0])}}", text)
    return _SERVER_SETS.sub(r"\1-", text)


def kubeconfig_of(rollouts: Rollouts) -> dict[str, Any]:
    """A kubeconfig for the API server that keeps these objects."""
    reached = rollouts.api.api_client.configuration
    token = reached.api_key["authorization"].removeprefix("Bearer ")
    cluster = {"server": reached.host, "certificate-authority": reached.ssl_ca_cert}
    return {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "test", "user": {"token": token}}],
    }


def connect(rollouts: Rollouts, folder: Path) -> Kubectl:
    """Kubectl for the API server that keeps these objects."""
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(kubeconfig_of(rollouts)))
    return Kubectl(str(path), folder / "cache")
