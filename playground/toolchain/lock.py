"""Writes requirements/*.lock anew; `make lock` calls it with the version of uv to use.

The locks hold for Python 3.11 to 3.13, have hashes, and name no index: whoever installs says where from.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from playground.paths import REPOSITORY
from playground.toolchain.progress import ToolchainError, run

_COMPILE = (
    "pip",
    "compile",
    "--quiet",
    "--universal",
    "--generate-hashes",
    "--no-header",
    "--python-version",
    "3.11",
    "--no-emit-index-url",
    "--no-emit-find-links",
)


def _groups(*names: str) -> tuple[str, ...]:
    return tuple(word for name in names for word in ("--group", name))


_LOCKS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("dev.lock", ("pyproject.toml", *_groups("test", "lint", "playground", "benchmark"))),
    ("operator.lock", ("pyproject.toml", "--constraint", "requirements/dev.lock")),
    ("tensorflow-cpu.lock", ("--no-deps", "requirements/tensorflow-cpu.in")),
    ("go.lock", ("--no-deps", "requirements/go.in")),
    ("sbom.lock", ("requirements/sbom.in",)),
)


def main(version: str) -> int:
    """Install uv for the occasion and compile every lock with the newest versions that fit."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        tools = Path(folder) / "bin"
        try:
            run("installing uv", [tools / "python", "-m", "pip", "install", "--quiet", f"uv=={version}"])
        except ToolchainError as error:
            print(error, file=sys.stderr)
            return 1
        for name, arguments in _LOCKS:
            command: list[str | Path] = [tools / "uv", *_COMPILE, "--upgrade", *arguments, "-o", f"requirements/{name}"]
            subprocess.run(command, cwd=REPOSITORY, env=os.environ, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
