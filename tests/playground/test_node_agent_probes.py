"""Probes against real listeners, and the counting that turns readings into a verdict."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from playground.node_agent.probes import Reading, Tally, Target, attempt, port_number, readings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def _execute(command: list[str]) -> tuple[int, str]:
    return (0, "") if command == ["true"] else (1, "no")


def target(**ports: int) -> Target:
    """A container on this machine."""
    return Target("127.0.0.1", ports, _execute)


@asynccontextmanager
async def http_server() -> AsyncIterator[int]:
    """A server whose path says which status it answers; ``/slow`` never answers. Gives its port."""

    async def answer(request: web.Request) -> web.Response:
        if request.path == "/agent":
            return web.Response(status=200 if request.headers["User-Agent"].startswith("kube-probe/") else 400)
        return web.Response(status=int(request.headers.get("X-Status", request.path[1:])))

    application = web.Application()
    application.router.add_get("/{status}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ({"path": "/200"}, Reading(True)),
        ({"path": "/302"}, Reading(True)),
        ({"path": "/404"}, Reading(False, "HTTP probe failed with statuscode: 404")),
        ({"path": "/503"}, Reading(False, "HTTP probe failed with statuscode: 503")),
        ({"path": "/200", "httpHeaders": [{"name": "X-Status", "value": "204"}]}, Reading(True)),
        ({"path": "/500", "httpHeaders": [{"name": "X-Status", "value": "204"}]}, Reading(True)),
        ({"path": "/agent"}, Reading(True)),
    ],
)  # fmt: skip
async def test_http_probes(action: dict[str, Any], expected: Reading) -> None:
    """200 to 399 is a success; the probe sends its headers and the kubelet's name."""
    async with http_server() as port:
        probe = {"httpGet": {"port": "http", **action}, "timeoutSeconds": 10}
        assert await attempt(probe, target(http=port)) == expected


async def test_tcp_probes() -> None:
    """An open port is a success, a closed one is not."""
    async with http_server() as port:
        assert (await attempt({"tcpSocket": {"port": port}}, target())).ok
    assert not (await attempt({"tcpSocket": {"port": port}}, target())).ok


async def test_grpc_probes() -> None:
    """SERVING is a success; NOT_SERVING, an unknown service and a closed port are not, each in its own words."""
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await servicer.set("good", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("bad", health_pb2.HealthCheckResponse.NOT_SERVING)
    await server.start()

    async def read(service: str) -> Reading:
        return await attempt({"grpc": {"port": port, "service": service}, "timeoutSeconds": 10}, target())

    assert (await read("good")).ok
    assert "NOT_SERVING" in (await read("bad")).message
    assert "NOT_FOUND" in (await read("unknown")).message
    await server.stop(None)
    assert "UNAVAILABLE" in (await read("good")).message


async def test_exec_probes() -> None:
    """The exit code decides; the output is the message."""
    assert await attempt({"exec": {"command": ["true"]}}, target()) == Reading(True)
    assert await attempt({"exec": {"command": ["false"]}}, target()) == Reading(False, "no")


async def test_a_probe_of_an_unknown_port_fails() -> None:
    """A port's name that the container does not have is a failed reading, not an error of the agent."""
    assert not (await attempt({"httpGet": {"port": "no"}}, target(http=1))).ok


async def test_readings_go_on() -> None:
    """A probe is tried again and again."""
    found = []
    async for reading in readings({"exec": {"command": ["true"]}, "periodSeconds": 0}, target()):
        found.append(reading)
        if len(found) == 3:
            break
    assert found == [Reading(True)] * 3


def test_ports() -> None:
    """A port is a number, a number as text, or a name."""
    assert [port_number(port, {"rest": 8501}) for port in (8500, "8500", "rest")] == [8500, 8500, 8501]


@pytest.mark.parametrize(
    ("tries", "expected"),
    [
        pytest.param("+", "+", id="one success is enough by default"),
        pytest.param("+--", "+++", id="two failures are not three"),
        pytest.param("+---", "+++-", id="three failures are"),
        pytest.param("+--+--", "++++++", id="a success in between starts the count again"),
        pytest.param("+---+", "+++-+", id="and back"),
    ],
)
def test_the_default_thresholds(tries: str, expected: str) -> None:
    """A readiness result turns after one success or three failures in a row."""
    tally, found = Tally(result=False), ""
    for sign in tries:
        tally = tally.count(sign == "+", {})
        found += "+" if tally.result else "-"
    assert found == expected


def test_thresholds_are_the_probe_s() -> None:
    """Both thresholds come from the probe."""
    probe = {"successThreshold": 2, "failureThreshold": 1}
    tally = Tally(result=False).count(True, probe)
    assert not tally.result
    tally = tally.count(True, probe)
    assert tally.result
    assert not tally.count(False, probe).result
