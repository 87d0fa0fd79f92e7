"""Helm 4 and 3, and what is kept of their renders. Used by the tests of the chart, and by `make chart`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from playground.operator_pod import MANIFEST
from playground.paths import REPOSITORY
from playground.toolchain.gobuild import Program, ensure

CHART = REPOSITORY / "helm" / "modelrollout"
NAMESPACE = "modelrollout-system"
VALUES = Path(__file__).parent / "values"
EVERYTHING = VALUES / "everything.yaml"
# Without a cluster to ask, a Helm that was built from its module takes Kubernetes for older than any that there is.
_TEMPLATE = ("template", "modelrollout", CHART, "--namespace", NAMESPACE, "--kube-version", "1.31.0")
_SNAPSHOTS = Path(__file__).parent / "snapshots"


@dataclass(frozen=True)
class Render:
    """A file that holds what Helm makes of the chart with a file of values."""

    values: Path
    kept: Path

    @property
    def objects(self) -> list[dict[str, Any]]:
        """What is kept."""
        return parse(self.kept.read_text())


RENDERS = (
    Render(MANIFEST.with_name("operator-values.yaml"), MANIFEST),
    *(Render(values, _SNAPSHOTS / values.name) for values in sorted(VALUES.glob("*.yaml"))),
)
"""The one that the playground installs, and those that show what the values do."""


@dataclass(frozen=True)
class Helm:
    """One of the two."""

    program: Path

    @classmethod
    def built(cls, program: Program) -> Helm:
        """Built now if it is not in the cache, which takes minutes."""
        return cls(ensure(program, Path(sys.executable)) / program.module)

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Whatever comes of it."""
        return subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)

    def render(self, *flags: str | Path) -> str:
        """A release `modelrollout` in `modelrollout-system`, as text."""
        done = self.run(*_TEMPLATE, *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def template(self, *values: str) -> list[dict[str, Any]]:
        """The objects of the release with these values set."""
        return parse(self.render(*_set(values)))

    def refusal(self, *values: str) -> str:
        """What it says to values that are wrong."""
        done = self.run(*_TEMPLATE, *_set(values))
        assert done.returncode, done.stdout
        return done.stderr


def parse(text: str) -> list[dict[str, Any]]:
    """The objects of a render."""
    return [each for each in yaml.safe_load_all(text) if each]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    """Those of one kind."""
    return [each for each in objects if each["kind"] == kind]


def _set(values: tuple[str, ...]) -> list[str]:
    return [word for value in values for word in ("--set", value)]
