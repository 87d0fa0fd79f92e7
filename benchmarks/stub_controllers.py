"""`python -m benchmarks.stub_controllers`: runs in the box in place of controller manager, scheduler and gateway.

Those take far more of the machine than the operator when there are thousands of objects. Every Deployment of a rollout
with the given prefix has its pods at once, on a node; every route is accepted at once. What becomes of the pods is
played by benchmarks/stub_pods.py. Started by benchmarks/scale.py.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.stub_pods import NODE, ROLLOUT, stamp
from playground.node_agent.api import MERGE, Api, ApiError, Changed, Listed, access

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from playground.node_agent.model import JsonObject

_DEPLOYMENTS = "/apis/apps/v1/deployments"
_ROUTES = "/apis/gateway.networking.k8s.io/v1/httproutes"
_CONTROLLER = "benchmarks.example.com/stub"
_GONE = {404, 409}


@dataclass
class StubControllers:
    """Their work, one object after the other; `_made` has the pods of each Deployment."""

    api: Api
    prefix: str
    _made: dict[str, list[str]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    async def run(self) -> None:
        """Follow both kinds for ever."""
        for pod in (await self.api.get("/api/v1/pods")).get("items", ()):
            if self._mine(pod):
                self._made.setdefault(_deployment_of(pod), []).append(pod["metadata"]["name"])
        self._count = sum(map(len, self._made.values()))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(_DEPLOYMENTS, self._scale))
            group.create_task(self._follow(_ROUTES, self._accept))

    async def _follow(self, path: str, act: Callable[[JsonObject, bool], Awaitable[None]]) -> None:
        async for event in self.api.follow(path):
            gone = isinstance(event, Changed) and event.kind == "DELETED"
            for item in event.objects if isinstance(event, Listed) else (event.object,):
                if self._mine(item) and (gone or self._is_news(item)):
                    try:
                        await act(item, gone)
                    except ApiError as refused:
                        if refused.status not in _GONE:
                            raise

    def _mine(self, item: JsonObject) -> bool:
        return bool(item["metadata"].get("labels", {}).get(ROLLOUT, "").startswith(self.prefix))

    def _is_news(self, item: JsonObject) -> bool:
        """Whether `spec` changed: what we write ourselves comes back as an event, too."""
        uid, generation = item["metadata"]["uid"], int(item["metadata"]["generation"])
        known, self._seen[uid] = self._seen.get(uid), generation
        return known != generation

    async def _scale(self, deployment: JsonObject, gone: bool) -> None:
        """As many pods as it wants, and a status that says so."""
        metadata, wanted = deployment["metadata"], 0 if gone else deployment["spec"]["replicas"]
        pods = self._made.setdefault(metadata["name"], [])
        base = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        while len(pods) > wanted:
            await self.api.delete(f"{base}/{pods.pop()}", {})
        while len(pods) < wanted:
            self._count += 1
            pods.append(f"{metadata['name']}-{self._count}")
            await self.api.create(base, _pod(deployment, pods[-1]))
        if not gone:
            path = f"{_DEPLOYMENTS.replace('deployments', '')}namespaces/{metadata['namespace']}/deployments"
            counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), wanted)
            status = {"observedGeneration": metadata["generation"], **counts}
            await self.api.patch(f"{path}/{metadata['name']}/status", {"status": status}, MERGE)

    async def _accept(self, route: JsonObject, gone: bool) -> None:
        """Every parent takes exactly this generation."""
        if gone:
            return
        metadata = route["metadata"]
        conditions = [
            {
                "type": kind, "status": "True", "reason": kind, "message": "", "lastTransitionTime": stamp(),
                "observedGeneration": metadata["generation"],
            }
            for kind in ("Accepted", "ResolvedRefs")
        ]  # fmt: skip
        parents = [
            {"parentRef": reference, "controllerName": _CONTROLLER, "conditions": conditions}
            for reference in route["spec"]["parentRefs"]
        ]
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{metadata['namespace']}/httproutes"
        await self.api.patch(f"{path}/{metadata['name']}/status", {"status": {"parents": parents}}, MERGE)


def _deployment_of(pod: JsonObject) -> str:
    return str(pod["metadata"]["name"]).rpartition("-")[0]


def _pod(deployment: JsonObject, name: str) -> JsonObject:
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**template["spec"], "nodeName": NODE}}


async def _play(prefix: str) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with Api(access(Path(os.environ["KUBECONFIG"]))) as api:
        working = asyncio.create_task(StubControllers(api, prefix).run())
        await asyncio.wait([working, asyncio.create_task(stopped.wait())], return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
        working.cancel()


def main() -> None:
    """Play them until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stub_controllers", description=__doc__)
    parser.add_argument("--prefix", required=True, help="of the names of rollouts whose objects to look after")
    asyncio.run(_play(parser.parse_args().prefix))


if __name__ == "__main__":
    main()
