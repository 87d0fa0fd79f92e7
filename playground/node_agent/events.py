"""Events about pods, as the kubelet writes them: what `kubectl describe pod` shows. Used by pods and
containers.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from typing import TYPE_CHECKING, Literal

import aiohttp

from playground.node_agent.api import MERGE, Api, ApiError
from playground.node_agent.clock import now, timestamp

if TYPE_CHECKING:
    from playground.node_agent.model import JsonObject

log = logging.getLogger(__name__)

Kind = Literal["Normal", "Warning"]


class Events:
    """Writes one pod's events, in order and in the background; the same words again only raise a count."""

    def __init__(self, api: Api, pod: JsonObject, node: str) -> None:
        self._api = api
        self._about = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod["metadata"]["name"],
            "namespace": pod["metadata"]["namespace"],
            "uid": pod["metadata"]["uid"],
        }
        self._node = node
        self._written: dict[tuple[str, str, str], tuple[str, int]] = {}
        self._queue: asyncio.Queue[tuple[Kind, str, str, str]] = asyncio.Queue()

    def add(self, kind: Kind, reason: str, message: str, container: str = "") -> None:
        """Says that `reason` happened, about one `container` or about the whole pod."""
        self._queue.put_nowait((kind, reason, message, container))

    async def run(self) -> None:
        """Writes what is added, for ever. An event that the server does not take is logged and forgotten."""
        while True:
            kind, reason, message, container = await self._queue.get()
            try:
                await self._write(kind, reason, message, container)
            except (ApiError, aiohttp.ClientError, TimeoutError) as problem:
                log.warning("event %s of %s was not written: %s", reason, self._about["name"], problem)

    async def _write(self, kind: Kind, reason: str, message: str, container: str) -> None:
        base = f"/api/v1/namespaces/{self._about['namespace']}/events"
        moment = timestamp(now())
        if known := self._written.get((reason, message, container)):
            name, count = known[0], known[1] + 1
            await self._api.patch(f"{base}/{name}", {"count": count, "lastTimestamp": moment}, MERGE)
        else:
            name, count = f"{self._about['name']}.{uuid.uuid4().hex[:16]}", 1
            field = {"fieldPath": f"spec.containers{{{container}}}"} if container else {}
            await self._api.create(
                base,
                {
                    "metadata": {"name": name},
                    "involvedObject": self._about | field,
                    "type": kind,
                    "reason": reason,
                    "message": message[:1024],
                    "source": {"component": "kubelet", "host": self._node},
                    "reportingComponent": "kubelet",
                    "firstTimestamp": moment,
                    "lastTimestamp": moment,
                    "count": 1,
                },
            )
        self._written[reason, message, container] = (name, count)
