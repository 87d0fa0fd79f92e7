"""Starts processes and collects every exit, orphans included, as process 1 must. Used by the supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A started process; it leads a process group of its own."""

    pid: int
    exited: asyncio.Future[int]
    """Becomes the exit status; negative for a signal."""

    async def wait(self) -> int:
        """Wait for the exit; whoever gives up waiting leaves the others to it."""
        return await asyncio.shield(self.exited)

    def signal_group(self, number: signal.Signals) -> None:
        """Send a signal to the process and those it started; does nothing once they are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class Processes:
    """All processes of this process 1. asyncio's own would fight with collecting orphans over the exits."""

    def __init__(self) -> None:
        self._running: dict[int, tuple[subprocess.Popen[bytes], asyncio.Future[int]]] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_signal_handler(signal.SIGCHLD, self._collect)

    def spawn(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> Process:
        """Start a program with its output appended to `log`.

        Raises:
            OSError: it cannot be started.
        """
        with log.open("ab") as output:
            child = subprocess.Popen(
                argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        exited: asyncio.Future[int] = self._loop.create_future()
        self._running[child.pid] = (child, exited)
        return Process(child.pid, exited)

    async def run(self, argv: Sequence[str], env: Mapping[str, str], log: Path) -> int:
        """Run a program to its end; returns its exit status."""
        return await self.spawn(argv, env, log).wait()

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._running:
                child, exited = self._running.pop(pid)
                child.returncode = os.waitstatus_to_exitcode(status)
                exited.set_result(child.returncode)
