"""What `make kind` applies, as far as it can be told without Docker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from playground.paths import REPOSITORY
from playground.toolchain.gobuild import PROGRAMS, ensure
from tests.golden.kubectl import Kubectl

if TYPE_CHECKING:
    from tests.chart.cluster import Cluster

KIND = REPOSITORY / "kind"
SCRIPT = KIND / "up.sh"
EXAMPLES = [REPOSITORY / "examples" / name for name in ("cpu.yaml", "fake-gpus.yaml")]
APPLIED = [*sorted(KIND.glob("*.yaml")), *EXAMPLES]


def objects(*files: Path) -> list[dict[str, Any]]:
    """The manifests in these files."""
    return [each for file in files for each in yaml.safe_load_all(file.read_text())]


def test_script_is_one_and_names_files_that_there_are() -> None:
    """Bash reads it, and what it applies and builds from lies where it says."""
    subprocess.run(["bash", "-n", SCRIPT], check=True)
    words = SCRIPT.read_text().split()
    assert {str(file.relative_to(REPOSITORY)) for file in APPLIED} <= set(words)
    for word in words:
        if word.endswith((".yaml", "Dockerfile")) and "/" in word:
            assert (REPOSITORY / word).is_file(), word


def test_ports_and_addresses_meet() -> None:
    """The gateway's NodePort is the one that kind maps; the examples ask the Prometheus that is there."""
    cluster = yaml.safe_load((REPOSITORY / "kind-cluster.yaml").read_text())
    mapped = cluster["nodes"][0]["extraPortMappings"][0]["containerPort"]
    proxy = next(each for each in objects(KIND / "gateway.yaml") if each["kind"] == "EnvoyProxy")
    (port,) = proxy["spec"]["provider"]["kubernetes"]["envoyService"]["patch"]["value"]["spec"]["ports"]
    assert port["nodePort"] == mapped
    service = next(each for each in objects(KIND / "prometheus.yaml") if each["kind"] == "Service")
    place = f"{service['metadata']['name']}.{service['metadata']['namespace']}:{service['spec']['ports'][0]['port']}"
    asked = [
        each["spec"]["analysis"]["prometheus"]["address"] for each in objects(*EXAMPLES) if "analysis" in each["spec"]
    ]
    assert asked == [f"http://{place}"]


def test_every_worker_has_the_models() -> None:
    """A model server may run on any node that is not the control plane's."""
    cluster = yaml.safe_load((REPOSITORY / "kind-cluster.yaml").read_text())
    volumes = {each["spec"]["serving"]["storage"]["hostPath"]["path"] for each in objects(*EXAMPLES)}
    for node in cluster["nodes"]:
        mounted = {mount["containerPath"] for mount in node.get("extraMounts", ())}
        assert mounted == (volumes if node["role"] == "worker" else set())


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_api_server_takes_every_object(cluster: Cluster, tmp_path: Path) -> None:
    """With the definitions of Gateway API, Envoy Gateway and ours installed, no field is unknown or of a wrong type."""
    gateway = next(program for program in PROGRAMS if program.module == "envoy-gateway")
    kubectl = Kubectl(str(cluster.kubeconfig), tmp_path)
    folders = (ensure(gateway, Path(sys.executable)) / "crds", REPOSITORY / "crds")
    for folder in folders:
        kubectl("apply", "--server-side", "--filename", str(folder))
    kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    found = objects(*APPLIED)
    cluster.make_namespaces(found)
    for each in found:
        cluster.apply(each)
