"""The command line as a whole: which commands there are, how it starts, what it is called."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from modelrollout.cli.app import COMMANDS, program
from tests.cli.world import MemoryCluster, holding, run

NAMES = [name for section in COMMANDS.values() for name in section]


def _python(code: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_without_a_command_the_help_is_shown() -> None:
    """Somebody who types the bare name sees what there is."""
    shown = run(MemoryCluster()).output
    assert shown.startswith("Usage: kubectl modelrollout [OPTIONS] COMMAND [ARGS]...")
    assert all(f"  {name} " in shown for name in NAMES)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "run"])
def test_each_command_has_help_that_starts_with_kubectl(name: str) -> None:
    """The usage string is what people type."""
    shown = run(MemoryCluster(), name, "--help")
    assert shown.exit_code == 0
    assert shown.output.startswith(f"Usage: kubectl modelrollout {name} ")


def test_what_it_is_called_is_how_it_was_started() -> None:
    """As a plugin it is a part of kubectl, otherwise a module."""
    assert program("/usr/local/bin/kubectl-modelrollout") == "kubectl modelrollout"
    assert program("/usr/lib/python3/site-packages/modelrollout/__main__.py") == "python -m modelrollout"


def test_a_wrong_command_is_a_usage_error_of_its_own_code() -> None:
    """Scripts branch on 1 and 2, so a typing error is neither."""
    assert run(MemoryCluster(), "promot").exit_code == 64
    assert run(holding("good-healthy"), "status", "good", "--timeout", "5m").exit_code == 64
    assert run(holding("good-healthy"), "status", "good", "--wait", "--timeout", "5 minutes").exit_code == 64


def test_no_command_but_run_loads_the_operator() -> None:
    """`get` answers at once: neither kopf nor gRPC nor a Kubernetes client is imported for it."""
    modules = sorted({f"modelrollout.cli.commands.{COMMANDS[s][n][0]}" for s in COMMANDS for n in COMMANDS[s]})
    code = f"""
import importlib, sys
import modelrollout.__main__
for module in {modules!r}:
    importlib.import_module(module)
heavy = {{"kopf", "grpc", "kubernetes", "aiohttp", "modelrollout.reconciler"}}
print(sorted(heavy & set(sys.modules)))
"""
    assert _python(code) == "[]"


def test_the_help_imports_no_command() -> None:
    """The table's own words are shown, so that help and completion of commands cost nothing."""
    code = "import sys; from modelrollout.cli.app import cli; cli(['--help'], standalone_mode=False)"
    code += "\nprint('LOADED', [m for m in sys.modules if m.startswith(('modelrollout.cli.commands', 'rich'))])"
    assert _python(code).splitlines()[-1] == "LOADED []"


def test_version() -> None:
    """What is installed."""
    assert run(MemoryCluster(), "version").output == "0.1.0\n"


def test_access_flags_reach_the_cluster() -> None:
    """-n, -A, --context and --kubeconfig mean what they mean to kubectl."""
    assert _flags("get", "-A", "--context", "c", "--kubeconfig", "k") == (
        "--kubeconfig", "k", "--context", "c", "--all-namespaces",
    )  # fmt: skip
    assert _flags("status", "good", "-n", "models") == ("--namespace", "models")


def _flags(*arguments: str) -> tuple[str, ...]:
    cluster = holding("good-healthy")
    run(cluster, *arguments)
    assert cluster.access is not None
    return cluster.access.flags
