"""`python -m playground.toolchain TOOL ARGS`: run a tool of the virtual environment, made first if need be.

The Makefile runs linters and tests this way. With no tool it only makes everything, Go programs included.
"""

from __future__ import annotations

import os
import sys

from playground.paths import PYTHONPATH
from playground.toolchain import gobuild, venv
from playground.toolchain.progress import ToolchainError

_NEEDS_PROGRAMS = ("pytest",)  # the contract tests ask a real API server


def main(arguments: list[str]) -> int:  # noqa: RET503 - execve does not return
    """Make what is missing, then become the tool; returns only without a tool or with an error."""
    try:
        python = venv.ensure()
        if not arguments or arguments[0] in _NEEDS_PROGRAMS:
            for program in gobuild.PROGRAMS:
                gobuild.ensure(program, python)
    except ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    if not arguments:
        return 0
    folder = str(python.parent)
    env = {**os.environ, "PYTHONPATH": PYTHONPATH, "PATH": f"{folder}:{os.environ.get('PATH', os.defpath)}"}
    tool = python.parent / arguments[0]
    os.execve(tool, [str(tool), *arguments[1:]], env)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
