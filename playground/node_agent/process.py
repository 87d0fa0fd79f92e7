"""A container's process as its agent sees it: started through the launcher, signalled, waited for, its
output kept.

Called by :mod:`playground.node_agent.containers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from playground.node_agent.mounts import Bind

_LAUNCHER = Path(__file__).with_name("launch.py")
_TAIL = 64 * 1024


@dataclass(frozen=True)
class Plan:
    """What to run: the words, the whole environment, the working directory and the binds."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    binds: Sequence[Bind]


@dataclass(frozen=True)
class Exit:
    """How a process ended: a code of 0 to 255, which is 128 + `signal` if a signal was the cause."""

    code: int
    signal: int = 0


class StartError(Exception):
    """The program could not be executed; the text says why, for example that there is no such file."""


class Process:
    """A started container process. Made by :func:`start`."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path, begins: int) -> None:
        self._child = child
        self._log = log
        self._begins = begins

    async def wait(self) -> Exit:
        """Waits for the end."""
        code = await self._child.wait()
        return Exit(code) if code >= 0 else Exit(128 - code, -code)

    def terminate(self) -> None:
        """Asks the process, and no child of it, to end."""
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the process and everything that it started in its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def output(self) -> bytes:
        """The last of what this process has printed so far, at most 64 KiB."""
        with self._log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(self._begins, size - _TAIL))
            return file.read()


async def start(plan: Plan, work: Path, log: Path) -> Process:
    """Starts `plan`; returns as soon as the program itself runs.

    Args:
        plan: what to run.
        work: directory for the launcher's own files of this container; a later start writes them again.
        log: file to which standard output and error are appended.

    Raises:
        StartError: the program or one of its binds does not exist.
    """
    root, plan_file = work / "root", work / "plan.json"
    root.mkdir(parents=True, exist_ok=True)
    log.parent.mkdir(parents=True, exist_ok=True)
    receiver, sender = os.pipe()
    plan_file.write_text(json.dumps(_written(plan, root, sender)))
    with log.open("ab") as output, os.fdopen(receiver, "rb") as complaints:
        begins = output.tell()
        try:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", str(_LAUNCHER), str(plan_file), pass_fds=[sender],
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(sender)
        process = Process(child, log, begins)
        try:
            complaint = await _read_all(complaints)
        except asyncio.CancelledError:
            process.kill()
            raise
    if complaint:
        await process.wait()
        raise StartError(complaint.decode(errors="replace"))
    return process


async def _read_all(pipe: BinaryIO) -> bytes:
    """Everything that comes out of `pipe` until its other end is closed."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return await reader.read()
    finally:
        transport.close()


def _written(plan: Plan, root: Path, complaints: int) -> dict[str, object]:
    return {
        "parent": os.getpid(),
        "root": str(root),
        "binds": [(str(bind.source), bind.target, bind.read_only) for bind in plan.binds],
        "argv": list(plan.argv),
        "env": dict(plan.env),
        "cwd": plan.cwd,
        "complaints": complaints,
    }
