"""Manifests of types that no API server here serves, against these types as their own projects publish them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from playground.paths import REPOSITORY
from playground.toolchain.gobuild import MANIFESTS, ensure
from tests.chart.helm import RENDERS

# The reader is built by the first test that needs it.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

KIND = REPOSITORY / "kind-cluster.yaml"


def complaints(*manifests: str) -> str:
    """What is wrong with these, a line each; nothing when all is well."""
    reader = ensure(MANIFESTS, Path(sys.executable)) / MANIFESTS.module
    return subprocess.run([reader], input="---\n".join(manifests), capture_output=True, text=True, check=False).stdout


def test_monitors_and_rules_are_prometheus_operator_s() -> None:
    """PodMonitors, ServiceMonitor and PrometheusRule have no field that Prometheus Operator does not know."""
    found = [
        obj for render in RENDERS for obj in render.objects if obj["apiVersion"].startswith("monitoring.coreos.com")
    ]
    assert {obj["kind"] for obj in found} == {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
    assert not complaints(*(yaml.safe_dump(obj) for obj in found))


def test_the_cluster_for_kind_is_kind_s() -> None:
    """kind-cluster.yaml has no field that kind does not know."""
    assert not complaints(KIND.read_text())


@pytest.mark.parametrize(
    "manifest",
    [
        KIND.read_text().replace("extraPortMappings", "extraPorts"),
        yaml.safe_dump({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "spec": {"selectors": {}}}),
        yaml.safe_dump({"apiVersion": "v2", "kind": "PodMonitor"}),
    ],
    ids=["kind", "monitor", "version"],
)
def test_what_is_wrong_is_found(manifest: str) -> None:
    """A field or a version that is not there is told, so silence means that all is well."""
    assert complaints(manifest)
