"""`python -m benchmarks.stub_pods`: runs in the box in place of the node agent when there are many pods.

Every pod of a rollout with the given prefix that has been scheduled is at once running and ready, at an address of its
own at which a StubServer answers. Started by benchmarks/crowd.py.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING

from aiohttp import web

from benchmarks.stub_server import StubServer, listen, pages
from playground.node_agent.api import MERGE, Api, ApiError, Listed, access

if TYPE_CHECKING:
    import grpc.aio

    from playground.node_agent.model import JsonObject

ROLLOUT, _TRACK = "modelrollout.io/rollout", "modelrollout.io/track"
_GRPC, _REST = 8500, 8501
NODE = "crowd"
_ROOM = {"cpu": "1000", "memory": "4Ti", "pods": "20000"}
_AT_A_TIME = 8


@dataclass
class StubPods:
    """All pods of the crowd."""

    api: Api
    prefix: str
    bad: Path
    notes: IO[str]
    servers: dict[str, StubServer] = field(default_factory=dict)
    _listening: dict[str, grpc.aio.Server] = field(default_factory=dict)
    _seen: set[str] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_A_TIME))

    async def run(self) -> None:
        """Follow the pods for ever."""
        async for event in self.api.follow("/api/v1/pods", fieldSelector="spec.nodeName!="):
            if isinstance(event, Listed):
                for pod in event.objects:
                    self._saw(pod)
            elif event.kind != "DELETED":
                self._saw(event.object)

    def _saw(self, pod: JsonObject) -> None:
        metadata = pod["metadata"]
        if not metadata.get("labels", {}).get(ROLLOUT, "").startswith(self.prefix):
            return
        leaving = "deletionTimestamp" in metadata
        key = f"{metadata['uid']}/{leaving}"
        if key not in self._seen:
            self._seen.add(key)
            task = asyncio.create_task(self._end(pod) if leaving else self._begin(pod, len(self._seen)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _begin(self, pod: JsonObject, number: int) -> None:
        metadata, labels = pod["metadata"], pod["metadata"]["labels"]
        namespace, address = metadata["namespace"], f"10.244.{100 + number // 250}.{1 + number % 250}"
        async with self._slots:
            name = f"{labels[ROLLOUT]}-{labels[_TRACK]}"
            config = await self.api.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
            server = StubServer(labels[_TRACK] == "canary", self.bad)
            server.configure_text(config["data"]["models.config"])
            self._listening[metadata["uid"]] = await listen(server, f"{address}:{_GRPC}")
            self.servers[address] = server
            path = f"/api/v1/namespaces/{namespace}/pods/{metadata['name']}/status"
            await self.api.patch(path, {"status": _running(pod, address)})
        note = {"at": time.time(), "what": "ready", "name": labels[ROLLOUT], "pod": metadata["name"]}
        self.notes.write(json.dumps(note) + "\n")

    async def _end(self, pod: JsonObject) -> None:
        metadata = pod["metadata"]
        listening = self._listening.pop(metadata["uid"], None)
        if listening is not None:
            await listening.stop(None)
        self.servers.pop(pod.get("status", {}).get("podIP", ""), None)
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        try:
            await self.api.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}})
        except ApiError as refused:
            if refused.status not in {404, 409}:
                raise


def stamp() -> str:
    """This moment as the API server writes it."""
    return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _running(pod: JsonObject, address: str) -> JsonObject:
    """The status of a pod that is ready, as a strategic merge patch."""
    moment = stamp()
    kinds = ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    container = pod["spec"]["containers"][0]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": moment,
        "conditions": [{"type": kind, "status": "True", "lastTransitionTime": moment} for kind in kinds],
        "containerStatuses": [
            {
                "name": container["name"], "image": container["image"], "imageID": "", "ready": True, "started": True,
                "restartCount": 0, "state": {"running": {"startedAt": moment}},
            },
        ],
    }  # fmt: skip


async def _make_node(api: Api) -> None:
    """A node with room for everybody."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    moment = stamp()
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": moment, "lastHeartbeatTime": moment}
    try:
        await api.create("/api/v1/nodes", node)
    except ApiError as refused:
        if refused.status != 409:
            raise
    status = {"capacity": _ROOM, "allocatable": _ROOM, "conditions": [ready]}
    await api.patch(f"/api/v1/nodes/{NODE}/status", {"status": status})
    # A new node is tainted as not ready, and no controller of the playground takes that off.
    await api.patch(f"/api/v1/nodes/{NODE}", {"spec": {"taints": []}}, MERGE)


async def _play(options: argparse.Namespace, notes: IO[str]) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with Api(access(Path(os.environ["KUBECONFIG"]))) as api:
        await _make_node(api)
        pods = StubPods(api, options.prefix, options.bad, notes)
        runner = web.AppRunner(_metrics(pods.servers), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.TCPSite(runner, "0.0.0.0", _REST, backlog=4096).start()  # noqa: S104 - all pods at once
        following = asyncio.create_task(pods.run())
        await asyncio.wait([following, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await runner.cleanup()
        await api.delete(f"/api/v1/nodes/{NODE}", {})  # nobody would run what is scheduled there from now on


def _metrics(servers: dict[str, StubServer]) -> web.Application:
    async def page(request: web.Request) -> web.Response:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        return web.Response(text=pages(servers, address))

    app = web.Application()
    app.router.add_get("/{path:.*}", page)
    return app


def main() -> None:
    """Play pods until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stub_pods", description=__doc__)
    parser.add_argument("--prefix", required=True, help="of the names of rollouts whose pods to play")
    parser.add_argument("--bad", type=Path, required=True, help="file of benchmarks.stub_server.turn_bad")
    parser.add_argument("--events", type=Path, required=True)
    options = parser.parse_args()
    gc.set_threshold(*gc.get_threshold()[:2], 1_000_000)  # a look at thousands of servers would stop all of them
    with options.events.open("w", buffering=1) as file:
        asyncio.run(_play(options, file))


if __name__ == "__main__":
    main()
