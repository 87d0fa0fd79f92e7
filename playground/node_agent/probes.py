"""Startup, readiness and liveness probes: one try of each kind, and the counting that turns tries into a
verdict.

Called by :mod:`playground.node_agent.containers` while a container's process runs. An ``exec`` probe is
handed back to the container, which knows how to run a command beside its process.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import aiohttp
import grpc
from grpc_health.v1 import health_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from playground.node_agent.model import JsonObject


class Runner(Protocol):
    """Runs a command as an ``exec`` probe does; gives its exit code and its output."""

    async def __call__(self, command: list[str]) -> tuple[int, str]:
        """Runs `command` to its end."""


@dataclass(frozen=True)
class Target:
    """The container that is probed: its address, its ports by name, and how to execute something in it."""

    ip: str
    ports: dict[str, int]
    execute: Runner


@dataclass(frozen=True)
class Reading:
    """One try: whether the container answered well, and the kubelet's words for it when it did not."""

    ok: bool
    message: str = ""


@dataclass(frozen=True)
class Tally:
    """The readings so far: how many equal ones in a row, and what they amount to."""

    result: bool
    last: bool | None = None
    run: int = 0

    def count(self, ok: bool, probe: JsonObject) -> Tally:
        """The tally after one more reading; the result turns when as many in a row say so as `probe` asks
        for.
        """
        run = self.run + 1 if ok == self.last else 1
        limit = probe.get("successThreshold", 1) if ok else probe.get("failureThreshold", 3)
        return Tally(ok if run >= limit else self.result, ok, run)


async def readings(probe: JsonObject, target: Target) -> AsyncIterator[Reading]:
    """Tries `probe` after its initial delay and then every period, for ever; a slow try moves no later
    one.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + probe.get("initialDelaySeconds", 0)
    period = probe.get("periodSeconds", 10)
    while True:
        await asyncio.sleep(due - loop.time())
        yield await attempt(probe, target)
        due = max(due + period, loop.time())


async def attempt(probe: JsonObject, target: Target) -> Reading:
    """Tries `probe` once, for at most its ``timeoutSeconds``."""
    kind = next(name for name in _KINDS if name in probe)
    limit = probe.get("timeoutSeconds", 1)
    try:
        async with asyncio.timeout(limit):
            return await _KINDS[kind](probe[kind], target)
    except TimeoutError:
        return Reading(False, f"no answer within {limit}s")
    except (OSError, aiohttp.ClientError, grpc.RpcError, KeyError) as problem:
        return Reading(False, str(problem) or type(problem).__name__)


def port_number(port: int | str, ports: dict[str, int]) -> int:
    """A probe's port; a name is looked up among the container's ports (KeyError if it is not one)."""
    return port if isinstance(port, int) else int(port) if port.isdigit() else ports[port]


async def _http(action: JsonObject, target: Target) -> Reading:
    scheme = action.get("scheme", "HTTP").lower()
    host = action.get("host") or target.ip
    url = f"{scheme}://{host}:{port_number(action['port'], target.ports)}/{action.get('path', '/').lstrip('/')}"
    headers = {"User-Agent": "kube-probe/1.36"}
    headers |= {entry["name"]: entry["value"] for entry in action.get("httpHeaders", [])}
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, headers=headers, allow_redirects=False) as response,
    ):
        if 200 <= response.status < 400:
            return Reading(True)
        return Reading(False, f"HTTP probe failed with statuscode: {response.status}")


async def _tcp(action: JsonObject, target: Target) -> Reading:
    port = port_number(action["port"], target.ports)
    _, writer = await asyncio.open_connection(action.get("host") or target.ip, port)
    writer.close()
    return Reading(True)


async def _grpc(action: JsonObject, target: Target) -> Reading:
    async with grpc.aio.insecure_channel(f"{target.ip}:{action['port']}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(service=action.get("service", "")))
        except grpc.aio.AioRpcError as problem:
            return Reading(False, f"error: health rpc probe failed: {problem.code().name}: {problem.details()}")
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        return Reading(True)
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
    return Reading(False, f'service unhealthy (responded with "{name}")')


async def _exec(action: JsonObject, target: Target) -> Reading:
    code, output = await target.execute(action["command"])
    return Reading(code == 0, output)


_KINDS: dict[str, Callable[[JsonObject, Target], Awaitable[Reading]]] = {
    "httpGet": _http,
    "tcpSocket": _tcp,
    "grpc": _grpc,
    "exec": _exec,
}
