"""What figures depend on: the machine's cores, the versions of what runs, and what one write costs. Used by the lab."""

from __future__ import annotations

import os
import platform
import re
import time
from statistics import median
from typing import TYPE_CHECKING, Any

from playground.paths import REPOSITORY

if TYPE_CHECKING:
    from playground.kube import Kube, Object

_GO_MODULES = (
    ("Envoy Gateway", "envoy-gateway", r"github\.com/envoyproxy/gateway v(\d+)\.(\d+)\.(\d+)"),
    ("Prometheus", "prometheus", r"github\.com/prometheus/prometheus v0\.(\d)(\d\d)\.(\d+)"),
)
_WRITES = 20


def describe(kube: Kube, write: float, load: float) -> dict[str, Any]:
    """Cores, how busy they were before, versions, and how long one write takes here, in milliseconds."""
    kubernetes = kube.session.get(f"{kube.url}/version", timeout=10).json()["gitVersion"]
    versions = {"Python": platform.python_version(), "Kubernetes": kubernetes.removeprefix("v"), **_modules()}
    return {
        "cores": os.cpu_count(),
        "load": round(load, 1),
        "versions": versions,
        "apiWriteMs": round(1000 * write, 2),
    }


def write_seconds(kube: Kube) -> float:
    """Median of some writes of a ConfigMap, one after the other."""
    spans = []
    for number in range(_WRITES):
        manifest: Object = {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "yardstick"}, "data": {"number": str(number)},
        }  # fmt: skip
        begin = time.perf_counter()
        kube.apply(manifest)
        spans.append(time.perf_counter() - begin)
    kube.delete("ConfigMap", "yardstick")
    return median(spans)


def _modules() -> dict[str, str]:
    """Versions of what is built from Go modules; Prometheus 3.15.0 is module v0.315.0."""
    found = {}
    for name, folder, pattern in _GO_MODULES:
        text = (REPOSITORY / "playground" / "go" / folder / "go.mod").read_text()
        if match := re.search(pattern, text):
            found[name] = ".".join(str(int(part)) for part in match.groups())
    return found
