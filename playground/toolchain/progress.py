"""Progress for a person who waits: one line when a long piece of work starts, signs of life, and its duration."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_STARTED = time.monotonic()
_HEARTBEAT_SECONDS = 15.0
_TAIL_LINES = 30


class ToolchainError(Exception):
    """Something could not be made; the message is for the person at the terminal."""


def say(message: str) -> None:
    """Print one line to standard error, with the time since this process began."""
    minutes, seconds = divmod(int(time.monotonic() - _STARTED), 60)
    print(f"[{minutes:2d}:{seconds:02d}] {message}", file=sys.stderr, flush=True)


def run(
    what: str, argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> None:
    """Run a program that takes a while, with `what` as its name in the progress lines.

    Its output is kept back, and shown (the end of it) only if it fails.

    Raises:
        ToolchainError: the program is missing or exits with another status than 0.
    """
    began = time.monotonic()
    say(f"{what} ...")
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        try:
            child = subprocess.Popen(
                argv, cwd=cwd, env={**os.environ, **(env or {})}, stdout=output, stderr=subprocess.STDOUT
            )
        except OSError as error:
            raise ToolchainError(f"{what}: {argv[0]} cannot be started: {error.strerror}") from error
        _wait(child, what, began)
        if child.returncode:
            output.seek(0)
            tail = "".join(output.readlines()[-_TAIL_LINES:])
            raise ToolchainError(f"{what} failed with status {child.returncode}:\n{tail}")
    say(f"{what}: done in {time.monotonic() - began:.0f} s")


def _wait(child: subprocess.Popen[bytes], what: str, began: float) -> None:
    try:
        while True:
            try:
                child.wait(_HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                say(f"{what}: still at it after {time.monotonic() - began:.0f} s")
            else:
                return
    except BaseException:
        child.kill()
        child.wait()
        raise
