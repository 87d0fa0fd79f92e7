"""The supervisor's view of one component: start, watch, restart or name its death, stop."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import time
from typing import TYPE_CHECKING

from playground.component import PreparationError
from playground.state import tail

if TYPE_CHECKING:
    from playground.component import Component, Surroundings
    from playground.processes import Process

_READY_SECONDS = 60.0
_PROBE_EVERY_SECONDS = 0.1
_TERM_SECONDS = 10.0
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 30.0
_GOOD_RUN_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Report:
    """A component's condition as `status` prints it."""

    name: str
    phase: str
    """waiting, preparing, starting, ready, restarting, stopped, dead or failed."""
    restarts: int
    message: str = ""
    """Why it is dead or failed, with the end of its log."""


class Unit:
    """Runs one component. `changed` is set whenever the phase changes."""

    def __init__(self, component: Component, around: Surroundings, changed: asyncio.Event) -> None:
        self.component = component
        self.ready = asyncio.Event()
        self._around = around
        self._changed = changed
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._report = Report(component.name, "waiting", 0)

    @property
    def report(self) -> Report:
        """The component's condition now."""
        return self._report

    async def start(self) -> bool:
        """Prepare and start it and wait until it is ready; False, with the reason in the report, if that fails."""
        if self._process is not None:
            return True
        try:
            await self._bring_up()
        except (PreparationError, OSError) as error:
            self._say("failed", f"{self.component.name}: {error}\n{self._tail()}")
            return False
        return self._report.phase == "ready"

    async def stop(self) -> None:
        """End it: SIGTERM, and SIGKILL to all that is left of its group after 10 s."""
        self._unwatch()
        process, self._process = self._process, None
        if process is not None:
            process.signal_group(signal.SIGTERM)
            await asyncio.wait([process.exited], timeout=_TERM_SECONDS)
            process.signal_group(signal.SIGKILL)
            await process.wait()
        self._say("stopped")

    def kill(self) -> bool:
        """SIGKILL it, as a crash would end it; what follows is what follows a crash. False if it does not run."""
        if self._process is None:
            return False
        os.kill(self._process.pid, signal.SIGKILL)
        return True

    async def _bring_up(self) -> None:
        if self.component.prepare:
            self._say("preparing")
            await self.component.prepare(self._around)
        if not self.component.argv:
            self._say("ready")
            return
        self._watch = asyncio.get_running_loop().create_task(self._attend(self._spawn()))
        deadline = time.monotonic() + _READY_SECONDS
        while self._report.phase not in {"ready", "dead"}:
            if time.monotonic() > deadline:
                raise PreparationError(f"not ready {_READY_SECONDS:.0f} s after its start")
            await asyncio.sleep(_PROBE_EVERY_SECONDS)

    def _spawn(self) -> Process:
        env = {**self._around.env, **self.component.env}
        log = self._around.state.log(self.component.name)
        self._process = self._around.processes.spawn(self.component.argv, env, log)
        self._say("starting", self._report.message)
        return self._process

    async def _attend(self, process: Process) -> None:
        """Wait for the exit; then restart it, or name its death and leave it dead."""
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            began = time.monotonic()
            status = await self._live(process)
            process.signal_group(signal.SIGKILL)
            self._process = None
            if not self.component.restarts:
                self._say("dead", f"{self.component.name} {_how(status)}\n{self._tail()}")
                return
            if time.monotonic() - began > _GOOD_RUN_SECONDS:
                backoff = _FIRST_BACKOFF_SECONDS
            self._say("restarting", f"{self.component.name} {_how(status)}\n{self._tail()}")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LONGEST_BACKOFF_SECONDS)
            self._report = dataclasses.replace(self._report, restarts=self._report.restarts + 1)
            process = self._spawn()

    async def _live(self, process: Process) -> int:
        """One life of the process, during which it becomes ready at some moment; returns its exit status."""
        check = asyncio.get_running_loop().create_task(self._await_ready())
        try:
            return await process.wait()
        finally:
            check.cancel()

    async def _await_ready(self) -> None:
        ready = self.component.ready
        while ready and not await ready(self._around):  # noqa: ASYNC110 - another program sets no event
            await asyncio.sleep(_PROBE_EVERY_SECONDS)
        self._say("ready", self._report.message)

    def _unwatch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _say(self, phase: str, message: str = "") -> None:
        self._report = dataclasses.replace(self._report, phase=phase, message=message)
        if phase == "ready":
            self.ready.set()
        else:
            self.ready.clear()
        self._changed.set()

    def _tail(self) -> str:
        return tail(self._around.state.log(self.component.name))


def _how(status: int) -> str:
    return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
