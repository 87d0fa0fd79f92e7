"""`python -m playground CMD`, with any Python 3.11 or newer: makes the environment, goes on in it with the CLI."""

from __future__ import annotations

import sys

from playground.toolchain import venv
from playground.toolchain.progress import ToolchainError


def main() -> int:
    """Run the command line inside the virtual environment; returns the exit status."""
    try:
        venv.reexecute(venv.ensure(), ["-m", "playground", *sys.argv[1:]])
    except ToolchainError as error:
        print(error, file=sys.stderr)
        return 1
    from playground.cli import run  # noqa: PLC0415 - its imports exist only in the environment

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
