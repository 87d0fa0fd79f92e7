"""The node agent as a whole: follows nodes and pods, and gives every pod of a node that is there its own
task.

Run by :mod:`playground.node_agent.__main__`.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from playground.node_agent.addresses import Addresses
from playground.node_agent.api import Listed
from playground.node_agent.events import Events
from playground.node_agent.nodes import Nodes
from playground.node_agent.objects import Objects
from playground.node_agent.pods import Pod
from playground.node_agent.sandbox import Sandbox

if TYPE_CHECKING:
    from playground.node_agent.api import Api
    from playground.node_agent.model import JsonObject, Settings

log = logging.getLogger(__name__)

_AGAIN = 2.0
_OVER = ("Succeeded", "Failed")


class Agent:
    """Plays the kubelets of all nodes of `settings`."""

    def __init__(self, api: Api, settings: Settings) -> None:
        self._api = api
        self._settings = settings
        self._specs = {node.name: node for node in settings.nodes}
        self._addresses = {node.name: Addresses(node.pod_network) for node in settings.nodes}
        self._objects = Objects(api)
        self._online: set[str] = set()
        self._known: dict[str, JsonObject] = {}
        self._played: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        """Runs for ever; when it ends, every process that it started ends too."""
        nodes = Nodes(self._api, self._settings.nodes, self._settings.offline_grace, self._turned)
        async with self._group:
            self._group.create_task(self._objects.run())
            self._group.create_task(nodes.run())
            self._group.create_task(self._follow_pods())

    async def _follow_pods(self) -> None:
        async for event in self._api.follow("/api/v1/pods", fieldSelector="spec.nodeName!="):
            if isinstance(event, Listed):
                present = {pod["metadata"]["uid"] for pod in event.objects}
                for uid in self._known.keys() - present:
                    self._gone(uid)
                for pod in event.objects:
                    self._saw(pod)
            elif event.kind == "DELETED":
                self._gone(event.object["metadata"]["uid"])
            else:
                self._saw(event.object)

    def _saw(self, pod: JsonObject) -> None:
        if pod["spec"]["nodeName"] not in self._specs:
            return
        uid = pod["metadata"]["uid"]
        if uid not in self._known:
            self._addresses[pod["spec"]["nodeName"]].skip(pod.get("status", {}).get("podIP", ""))
        self._known[uid] = pod
        if uid in self._played:
            self._played[uid].saw(pod)
        else:
            self._start(uid)

    def _gone(self, uid: str) -> None:
        self._known.pop(uid, None)
        self._stop(uid)

    def _turned(self, node: str, online: bool) -> None:
        log.info("node %s is %s", node, "online" if online else "offline")
        (self._online.add if online else self._online.discard)(node)
        for uid in [uid for uid, pod in self._known.items() if pod["spec"]["nodeName"] == node]:
            if online:
                self._start(uid)
            else:
                self._stop(uid)

    def _start(self, uid: str) -> None:
        """Plays a pod if its node is there and it has not ended already."""
        pod = self._known[uid]
        over = pod.get("status", {}).get("phase") in _OVER and "deletionTimestamp" not in pod["metadata"]
        if uid not in self._tasks and pod["spec"]["nodeName"] in self._online and not over:
            self._tasks[uid] = self._group.create_task(self._play(uid))

    def _stop(self, uid: str) -> None:
        self._played.pop(uid, None)
        if task := self._tasks.pop(uid, None):
            task.cancel()

    async def _play(self, uid: str) -> None:
        """Plays the pod `uid`; should the agent itself fail at it, from the beginning again."""
        while uid in self._known:
            pod = self._known[uid]
            node = self._specs[pod["spec"]["nodeName"]]
            address = self._addresses[node.name].take()
            events = Events(self._api, pod, node.name)
            try:
                played = Pod(self._api, Sandbox(self._settings, node, self._objects, events, pod, address))
                self._played[uid] = played
                await played.run()
            except Exception:  # one pod's trouble must not end the others; it is shown, and tried again
                log.exception("%s/%s", pod["metadata"]["namespace"], pod["metadata"]["name"])
                await asyncio.sleep(_AGAIN)
            else:
                return
            finally:
                self._addresses[node.name].release(address)
