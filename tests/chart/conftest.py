"""What the chart's tests work with: Helm 4 and 3, built from their modules, and what they make of the chart."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.paths import REPOSITORY
from playground.toolchain.gobuild import HELM, Program, ensure

CHART = REPOSITORY / "helm" / "modelrollout"
EVERYTHING = (
    "monitoring.kind=PodMonitor",
    "monitoring.modelServers.enabled=true",
    "monitoring.rules.enabled=true",
    "monitoring.dashboard.enabled=true",
    "networkPolicy.enabled=true",
)
"""What is off by default, switched on."""
_OLDEST = ("--kube-version", "1.31.0")


@dataclass(frozen=True)
class Helm:
    """One of the two. Built from its module, Helm 3 does not know which Kubernetes it is for: it is told."""

    program: Path

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Whatever comes of it."""
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)

    def template(self, *values: str) -> list[dict[str, Any]]:
        """The objects of a release `modelrollout` in `modelrollout-system` with these values set."""
        done = self.run("template", "modelrollout", CHART, "-n", "modelrollout-system", *_OLDEST, *_set(values))
        assert done.returncode == 0, done.stderr
        return [each for each in yaml.safe_load_all(done.stdout) if each]

    def refusal(self, *values: str) -> str:
        """What it says to values that are wrong."""
        done = self.run("template", "modelrollout", CHART, *_OLDEST, *_set(values))
        assert done.returncode, done.stdout
        return done.stderr


@pytest.fixture(
    scope="session", params=[pytest.param(program, id=program.module, marks=pytest.mark.long) for program in HELM]
)
def helm(request: pytest.FixtureRequest) -> Helm:
    """Each of them in turn; built now if it is not in the cache, which takes minutes."""
    program: Program = request.param
    return Helm(ensure(program, Path(sys.executable)) / program.module)


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]


def _set(values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in ("--set", value)]
