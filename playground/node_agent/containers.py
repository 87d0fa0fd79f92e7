"""One container of a pod: started, probed, restarted with back-off, stopped; always with a state to show.

Made and run by :mod:`playground.node_agent.pods`.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp

from playground.node_agent import probes
from playground.node_agent.api import ApiError
from playground.node_agent.clock import now
from playground.node_agent.env import ConfigError
from playground.node_agent.images import known
from playground.node_agent.model import ContainerView, Running, Terminated, Waiting
from playground.node_agent.process import Exit, Process, StartError, start
from playground.node_agent.status import termination_message

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from playground.node_agent.events import Kind
    from playground.node_agent.model import JsonObject
    from playground.node_agent.sandbox import Sandbox

log = logging.getLogger(__name__)

_BACKOFF_LIMIT = 30
"""The longest pause is this many times the first one: the kubelet's 10 s and 5 minutes."""
_FORGIVEN_AFTER = 600.0
"""Seconds of running after which earlier crashes no longer count."""
_RETRY = 2.0


def restart_delay(crashes: int, base: float) -> float:
    """Seconds to wait before the restart that follows the crash number `crashes` (1 is the first, which is
    free).
    """
    if crashes <= 1:
        return 0.0
    return float(min(base * 2 ** min(crashes - 2, 16), base * _BACKOFF_LIMIT))


def restarts(policy: str, exit_code: int) -> bool:
    """Whether a container that ended with `exit_code` is started again under the pod's restart `policy`."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


class Container:
    """Runs one container for as long as its pod lives."""

    def __init__(
        self,
        sandbox: Sandbox,
        spec: JsonObject,
        view: ContainerView,
        policy: str,
        changed: Callable[[], None],
    ) -> None:
        self.view = view
        """What the pod's status says about it; `changed` is called after each change."""
        self._sandbox = sandbox
        self._spec = spec
        self._policy = policy
        self._changed = changed
        self._process: Process | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Runs the container until it may not run again: its policy says so, or it was stopped."""
        crashes = 0
        while not self._stopping.is_set():
            ended = await self._run_once()
            if ended is None or self._stopping.is_set() or not restarts(self._policy, ended.exit_code):
                return
            lasted = (ended.finished_at - ended.started_at).total_seconds()
            crashes = 1 if lasted > _FORGIVEN_AFTER else crashes + 1
            await self._back_off(restart_delay(crashes, self._sandbox.settings.restart_backoff))

    async def stop(self) -> None:
        """Asks it to end: preStop hook, then SIGTERM; it is never started again. `run` returns when it has
        ended.
        """
        self._stopping.set()
        if self._process is not None:
            self._event("Normal", "Killing", f"Stopping container {self.view.name}")
            await self._ask_to_end(self._process)

    def kill(self) -> None:
        """Ends its process at once."""
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    async def _run_once(self) -> Terminated | None:
        """One life of the container; None if it was stopped before it could begin."""
        process = await self._begin()
        if not isinstance(process, Process):
            return process
        begun = now()
        restarted = self.view.restarts + (self.view.last is not None or isinstance(self.view.state, Terminated))
        last = self.view.state if isinstance(self.view.state, Terminated) else self.view.last
        identity = f"playground://{self._sandbox.pod['metadata']['uid']}-{self.view.name}-{restarted}"
        self._show(state=Running(begun), last=last, restarts=restarted, container_id=identity)
        self._event("Normal", "Started", f"Started container {self.view.name}")
        self._process = process
        if self._stopping.is_set():  # asked to stop while the process was being made
            process.kill()
        async with asyncio.TaskGroup() as group:
            probing = group.create_task(self._probe(process))
            try:
                ended = await process.wait()
            finally:
                probing.cancel()
                process.kill()
                self._process = None
        return self._end(process, ended, begun)

    async def _begin(self) -> Process | Terminated | None:
        """Starts the process; waits as long as it cannot be started for a reason that may go away."""
        if known(self._spec["image"]) is None:
            await self._never_pulled()
        while not self._stopping.is_set():
            try:
                plan = await self._sandbox.plan(self._spec)
                self._sandbox.termination_log(self._spec).write_bytes(b"")
                return await start(plan, self._sandbox.work(self.view.name), self._sandbox.log(self.view.name))
            except ConfigError as problem:
                self._show(state=Waiting("CreateContainerConfigError", str(problem)))
                self._event("Warning", "Failed", f"Error: {problem}")
                await self._wait_unless_stopped(_RETRY)
            except (ApiError, aiohttp.ClientError, TimeoutError) as problem:
                log.warning("%s: %s waits for the API server: %s", self._sandbox.title, self.view.name, problem)
                await self._wait_unless_stopped(_RETRY)
            except StartError as problem:
                self._event("Warning", "Failed", f"Error: {problem}")
                ended = Terminated(128, "StartError", str(problem), now(), now())
                self._show(state=ended)
                return ended
        return None

    async def _never_pulled(self) -> None:
        image = self._spec["image"]
        why = f'failed to pull image "{image}": the playground has no program for it'
        self._show(state=Waiting("ErrImagePull", why))
        self._event("Warning", "Failed", f"Failed to pull image: {why}")
        await self._wait_unless_stopped(_RETRY)
        if not self._stopping.is_set():
            self._show(state=Waiting("ImagePullBackOff", f'Back-off pulling image "{image}": {why}'))
            self._event("Warning", "BackOff", f'Back-off pulling image "{image}"')
            await self._stopping.wait()

    def _end(self, process: Process, ended: Exit, begun: datetime) -> Terminated:
        own = self._sandbox.termination_log(self._spec).read_bytes()
        policy = self._spec.get("terminationMessagePolicy", "File")
        message = termination_message(own, process.output(), policy, ended.code)
        reason = "Completed" if ended.code == 0 else "Error"
        over = Terminated(ended.code, reason, message, begun, now(), self.view.container_id, ended.signal)
        self._show(state=over, started=False, ready=False)
        return over

    async def _back_off(self, delay: float) -> None:
        if delay == 0 or not isinstance(self.view.state, Terminated):
            return
        metadata = self._sandbox.pod["metadata"]
        where = f"container={self.view.name} pod={metadata['name']}_{metadata['namespace']}({metadata['uid']})"
        message = f"back-off {delay:g}s restarting failed {where}"
        self._show(state=Waiting("CrashLoopBackOff", message), last=self.view.state)
        self._event("Warning", "BackOff", f"Back-off restarting failed container {where}")
        await self._wait_unless_stopped(delay)

    async def _wait_unless_stopped(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _ask_to_end(self, process: Process) -> None:
        hook = self._spec.get("lifecycle", {}).get("preStop", {})
        if "sleep" in hook:
            await asyncio.sleep(hook["sleep"]["seconds"])
        elif hook:
            reading = await probes.attempt({**hook, "timeoutSeconds": self._grace()}, self._target())
            if not reading.ok:
                self._event("Warning", "FailedPreStopHook", f"PreStopHook failed: {reading.message}")
        process.terminate()

    async def _probe(self, process: Process) -> None:
        """Runs the container's probes while `process` lives."""
        readiness, liveness = self._spec.get("readinessProbe"), self._spec.get("livenessProbe")
        if startup := self._spec.get("startupProbe"):
            await self._watch("Startup", startup, process, once=True)
        self._show(started=True, ready=readiness is None)
        async with asyncio.TaskGroup() as group:
            if readiness is not None:
                group.create_task(self._watch_readiness(readiness))
            if liveness is not None:
                group.create_task(self._watch("Liveness", liveness, process, once=False))

    async def _watch_readiness(self, probe: JsonObject) -> None:
        tally = probes.Tally(result=False)
        async for reading in probes.readings(probe, self._target()):
            tally = tally.count(reading.ok, probe)
            self._complain("Readiness", reading)
            self._show(ready=tally.result)

    async def _watch(self, kind: str, probe: JsonObject, process: Process, *, once: bool) -> None:
        """Ends the process when the probe has failed too often in a row; with `once`, returns at the first
        success.
        """
        tally = probes.Tally(result=not once)
        async for reading in probes.readings(probe, self._target()):
            if self._stopping.is_set():
                return
            tally = tally.count(reading.ok, probe)
            self._complain(kind, reading)
            if once and reading.ok:
                return
            if not reading.ok and tally.run >= probe.get("failureThreshold", 3):
                break
        words = f"Container {self.view.name} failed {kind.lower()} probe, will be restarted"
        self._event("Normal", "Killing", words)
        grace = probe.get("terminationGracePeriodSeconds", self._grace())
        ask = asyncio.create_task(self._ask_to_end(process))
        await asyncio.sleep(grace)
        ask.cancel()
        process.kill()
        await asyncio.Event().wait()  # the end of the process ends this task

    def _complain(self, kind: str, reading: probes.Reading) -> None:
        if not reading.ok:
            self._event("Warning", "Unhealthy", f"{kind} probe failed: {reading.message}")

    def _target(self) -> probes.Target:
        ports = {port["name"]: port["containerPort"] for port in self._spec.get("ports", []) if "name" in port}
        return probes.Target(self._sandbox.ip, ports, lambda command: self._sandbox.execute(self._spec, command))

    def _grace(self) -> int:
        return int(self._sandbox.pod["spec"].get("terminationGracePeriodSeconds", 30))

    def _event(self, kind: Kind, reason: str, message: str) -> None:
        self._sandbox.events.add(kind, reason, message, self.view.name)

    def _show(self, **changes: Any) -> None:
        fresh = replace(self.view, **changes)
        if fresh != self.view:
            self.view = fresh
            self._changed()
