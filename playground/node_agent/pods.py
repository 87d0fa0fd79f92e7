"""The life of one pod: volumes, containers, status, and a graceful end.

Made and run by :mod:`playground.node_agent.agent` for every pod that is bound to one of its nodes.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING

import aiohttp

from playground.node_agent.api import Api, ApiError
from playground.node_agent.clock import now
from playground.node_agent.containers import Container
from playground.node_agent.model import ContainerView, JsonObject, Waiting
from playground.node_agent.objects import path
from playground.node_agent.status import PodFacts, initialized, pod_status, resumed
from playground.node_agent.volumes import MountError, PodVolumes

if TYPE_CHECKING:
    from playground.node_agent.sandbox import Sandbox

log = logging.getLogger(__name__)

_MOUNT_RETRY = 1.0
_REPORT_RETRY = 1.0


class Pod:
    """Plays one pod from the moment it is seen until the API server has forgotten it."""

    def __init__(self, api: Api, sandbox: Sandbox) -> None:
        self._api = api
        self._sandbox = sandbox
        self._volumes = PodVolumes(sandbox.objects, sandbox.directory / "volumes", sandbox.pod)
        self._started_at = now()
        self._mounted = False
        self._changed = asyncio.Event()
        self._hasten = asyncio.Event()
        self._leaving = asyncio.Event()
        self._left_at = 0.0
        self._limit: asyncio.Timeout | None = None
        self._sent: JsonObject = {}
        spec = sandbox.pod["spec"]
        self._inits = self._containers("initContainers", "OnFailure" if _always(spec) else spec["restartPolicy"])
        self._mains = self._containers("containers", spec.get("restartPolicy", "Always"))
        self.saw(sandbox.pod)

    def saw(self, pod: JsonObject) -> None:
        """Takes note of the pod as the API server has it now; older views are ignored."""
        known = self._sandbox.pod
        if _version(pod) < _version(known):
            return
        self._sandbox.pod = self._volumes.pod = pod
        if _declared(pod) != _declared(known):
            self._hasten.set()
        self._changed.set()
        if "deletionTimestamp" in pod["metadata"]:
            self._leave(pod["metadata"].get("deletionGracePeriodSeconds", 0))

    async def run(self) -> None:
        """Plays the pod until it has been deleted; cancelling this ends its processes at once."""
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(self._report_changes()),
                    group.create_task(self._refresh_volumes()),
                    group.create_task(self._sandbox.events.run()),
                ]
                life = group.create_task(self._bring_up())
                await self._leaving.wait()
                await self._end(life)
                for helper in helpers:
                    helper.cancel()
            await self._forget()
        finally:
            shutil.rmtree(self._sandbox.directory, ignore_errors=True)

    def _containers(self, field: str, policy: str) -> list[Container]:
        spec = self._sandbox.pod["spec"]
        before = {
            shown["name"]: shown
            for shown in self._sandbox.pod.get("status", {}).get("containerStatuses", [])
            if field == "containers"
        }
        reason = "PodInitializing" if spec.get("initContainers") else "ContainerCreating"
        made = []
        for container in spec.get(field, []):
            view = ContainerView(container["name"], container["image"], Waiting(reason))
            view = resumed(view, before.get(container["name"], {}), now())
            made.append(Container(self._sandbox, container, view, policy, self._changed.set))
        return made

    async def _bring_up(self) -> None:
        """Mounts, runs the init containers one after another, then the others until all have ended for
        good.
        """
        await self._mount()
        if any("restartPolicy" in container for container in self._sandbox.pod["spec"].get("initContainers", [])):
            words = "init containers with a restartPolicy (sidecars) are not supported by the playground"
            self._sandbox.events.add("Warning", "Failed", words)
            return
        for container in self._inits:
            if self._leaving.is_set():
                return
            await container.run()
            if not initialized([container.view]):
                return
        if not self._leaving.is_set():
            async with asyncio.TaskGroup() as group:
                for container in self._mains:
                    group.create_task(container.run())

    async def _mount(self) -> None:
        while not self._leaving.is_set():
            try:
                self._sandbox.volumes = await self._volumes.prepare()
            except MountError as problem:
                self._sandbox.events.add("Warning", "FailedMount", str(problem))
            except (ApiError, aiohttp.ClientError, TimeoutError) as problem:
                log.warning("%s: volumes: %s", self._sandbox.title, problem)
            else:
                self._mounted = True
                self._changed.set()
                return
            await _set_within(self._leaving, _MOUNT_RETRY)

    async def _refresh_volumes(self) -> None:
        """Follows the volumes' objects as slowly as the kubelet does, and at once when the pod itself
        changes.
        """
        while True:
            hurry = await _set_within(self._hasten, self._sandbox.settings.configmap_lag)
            self._hasten.clear()
            if self._mounted:
                try:
                    await self._volumes.refresh(hurry=hurry)
                except (ApiError, aiohttp.ClientError, TimeoutError) as problem:
                    log.warning("%s: volumes: %s", self._sandbox.title, problem)

    def _leave(self, grace: float) -> None:
        """The pod is to end within `grace` seconds of the first time that this was heard."""
        loop = asyncio.get_running_loop()
        if not self._leaving.is_set():
            self._left_at = loop.time()
            self._leaving.set()
        end = self._left_at + grace
        limit = self._limit
        if limit is not None and not limit.expired() and (limit.when() or end) > end:
            limit.reschedule(end)

    async def _end(self, life: asyncio.Task[None]) -> None:
        """Stops every container; what still runs after the grace period is killed."""
        containers = self._inits + self._mains
        stops = [asyncio.create_task(container.stop()) for container in containers]
        grace = self._sandbox.pod["metadata"].get("deletionGracePeriodSeconds", 0)
        try:
            async with asyncio.timeout_at(self._left_at + grace) as self._limit:
                await asyncio.shield(life)
        except TimeoutError:
            for container in containers:
                container.kill()
            await life
        finally:
            self._limit = None
            for stop in stops:
                stop.cancel()

    async def _forget(self) -> None:
        """Reports the last state and lets the API server remove the pod."""
        uid = self._sandbox.pod["metadata"]["uid"]
        try:
            await self._report()
        except ApiError as refused:  # a status that is not taken must not keep the pod
            log.warning("%s: last status: %s", self._sandbox.title, refused)
        try:
            await self._api.delete(self._path(), {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        except ApiError as refused:
            if refused.status not in (404, 409):  # gone already, or another pod has the name
                raise

    async def _report_changes(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._report()
            except (ApiError, aiohttp.ClientError, TimeoutError) as problem:
                log.warning("%s: status: %s", self._sandbox.title, problem)
                await asyncio.sleep(_REPORT_RETRY)
                self._changed.set()

    async def _report(self) -> None:
        """Writes the pod's status if it is not what was written last."""
        pod = self._sandbox.pod
        status = pod_status(self._facts(), now())
        if status == self._sent:
            return
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        try:
            answer = await self._api.patch(f"{self._path()}/status", body)
        except ApiError as refused:
            if refused.status not in (404, 409):
                raise
            return  # the pod has gone; the watch will say so
        self._sent = status
        self.saw(answer)

    def _facts(self) -> PodFacts:
        return PodFacts(
            pod=self._sandbox.pod,
            host_ip=self._sandbox.node.host_ip,
            pod_ip=self._sandbox.ip if self._mounted else "",
            started_at=self._started_at,
            inits=tuple(container.view for container in self._inits),
            containers=tuple(container.view for container in self._mains),
        )

    def _path(self) -> str:
        metadata = self._sandbox.pod["metadata"]
        return path("pods", metadata["namespace"], metadata["name"])


def _always(spec: JsonObject) -> bool:
    return bool(spec.get("restartPolicy", "Always") == "Always")


def _version(pod: JsonObject) -> int:
    return int(pod["metadata"]["resourceVersion"])


def _declared(pod: JsonObject) -> tuple[JsonObject, JsonObject, JsonObject]:
    """What people say about a pod, in contrast to what is observed."""
    metadata = pod["metadata"]
    return pod["spec"], metadata.get("labels", {}), metadata.get("annotations", {})


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Waits for `event`, but not longer than `seconds`; whether it is set."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
