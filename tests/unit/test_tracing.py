"""Traces, as a real collector receives them: what is in them, where they are named, and what they cost when off."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from aiohttp import web

from modelrollout import tracing
from modelrollout.adapters.clock import SystemClock
from modelrollout.adapters.credentials import Credentials
from modelrollout.adapters.events import EventRecorder
from modelrollout.adapters.kube import connect
from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.adapters.otlp import OtlpTracer
from modelrollout.adapters.prometheus import PrometheusMetrics
from modelrollout.core.actions import Reload
from modelrollout.core.model_config import ModelTarget
from modelrollout.errors import Refused
from modelrollout.logs import configure_logging
from modelrollout.ports import Key
from modelrollout.probes import Probe, Sources
from modelrollout.resources import CONFIG_MAPS
from modelrollout.webserver import served
from tests.simulation.ports import Pen, SimCapacities, SimServers
from tests.unit.life import Ears, climbing, operating, traced

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.simulation.world import World

ROLLOUT = {"metadata": {"namespace": "shop", "name": "recsys", "uid": "1"}}
MAP = {"kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "recsys-stable"}}
FAILED = 2


def said(span: Span) -> dict[str, Any]:
    """A span's attributes, without the prefix that all have."""
    found: dict[str, Any] = {}
    for each in span.attributes:
        kind = each.value.WhichOneof("value")
        assert kind is not None
        found[each.key.removeprefix("modelrollout.")] = getattr(each.value, kind)
    return found


@pytest.fixture
def ports(unused_tcp_port_factory: Callable[[], int]) -> tuple[int, int]:
    """The collector's, and that of whoever is asked."""
    return unused_tcp_port_factory(), unused_tcp_port_factory()


@pytest.fixture
def world() -> World:
    """A canary with half of the traffic."""
    return climbing()


async def test_a_pass_and_a_round_of_measurements_are_traces(world: World, ports: tuple[int, int]) -> None:
    """Each names its object; a pass also what it works on, and a query what came of it."""
    collected, asked = ports
    world.change("analysis", prometheus={"address": f"http://127.0.0.1:{asked}"})
    ears, metrics = Ears(world), PrometheusMetrics()
    servers = SimServers(world, Pen(lambda _what, _after: None))
    async with traced(collected) as collector:
        async with operating(world, ears, Sources(servers, metrics, SimCapacities(world), ears), ears):
            await ears.until("cannot be reached")
        await metrics.close()
    assert collector.service == "modelrollout"
    here = {"namespace": "default", "name": "recsys"}
    for span in collector.named("reconcile"):
        found = said(span)
        assert not span.parent_span_id
        assert found.items() >= {**here, "version": 102, "attempt": 2, "step": 1}.items()
        assert found["revision"] == world.status["canary"]["revision"]
    rounds = {span.span_id: span for span in collector.named("measure")}
    assert all(said(span).items() >= here.items() and not span.parent_span_id for span in rounds.values())
    query = collector.named("query")[0]
    assert rounds[query.parent_span_id].trace_id == query.trace_id
    assert said(query)["prometheus"] == f"127.0.0.1:{asked}"
    assert (query.status.code, query.status.message.partition(":")[0]) == (FAILED, "MetricsUnavailable")


@pytest.fixture
def kubeconfig(tmp_path: Path, ports: tuple[int, int]) -> str:
    """For an API server without TLS."""
    name = {"name": "x"}
    written = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "clusters": [{**name, "cluster": {"server": f"http://127.0.0.1:{ports[1]}"}}],
        "users": [{**name, "user": {}}],
        "contexts": [{**name, "context": {"cluster": "x", "user": "x"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(written))
    return str(tmp_path / "kubeconfig")


@pytest.mark.usefixtures("restored_logging")
async def test_a_trace_is_found_by_its_writes_events_and_log_lines(
    kubeconfig: str, ports: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Writes are parts of the trace that they happen in; the event and the log line of that moment name it."""
    collected, asked = ports
    posted: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        if request.method == "PATCH":
            return web.json_response({"message": "quota exceeded"}, status=403)
        if request.method == "POST":
            posted.append(await request.json())
        return web.json_response({"metadata": {"name": "x"}})

    app, credentials = web.Application(), Credentials(kubeconfig)
    app.router.add_route("*", "/{path:.*}", answer)
    await credentials.load()
    configure_logging("json", "INFO")
    async with traced(collected) as collector, served(app, ("127.0.0.1", asked)), connect(credentials) as client:
        recorder = EventRecorder(client, SystemClock())
        writer = asyncio.create_task(recorder.run())
        with tracing.trace("reconcile", name="recsys"):
            await client.get(CONFIG_MAPS, "shop", "recsys-stable")
            with pytest.raises(Refused):
                await client.apply(CONFIG_MAPS, MAP)
            recorder.emit(ROLLOUT, "WriteRefused", "quota exceeded", warning=True)
            structlog.get_logger("x").info("apply")
        await recorder.flush()
        writer.cancel()
    (root,), (write,) = collector.named("reconcile"), collector.named("PATCH configmaps")
    assert (write.trace_id, write.parent_span_id) == (root.trace_id, root.span_id)
    assert (write.status.code, write.status.message) == (FAILED, "Forbidden: quota exceeded")
    assert {span.name for span in collector.spans} == {"reconcile", "PATCH configmaps"}
    (event,) = posted
    assert event["metadata"]["annotations"] == {"modelrollout.io/trace": root.trace_id.hex()}
    (line,) = [json.loads(text) for text in capsys.readouterr().err.splitlines()]
    assert line["trace"] == root.trace_id.hex()


async def test_a_reload_call_is_part_of_the_pass_that_sent_it(world: World, ports: tuple[int, int]) -> None:
    """Also when it ends long after the pass."""
    target = ModelTarget("m", "/models/m", (101,), ())
    servers = GrpcModelServers(port=1)
    sources = Sources(servers, PrometheusMetrics(), SimCapacities(world), SystemClock())
    answered = asyncio.Event()

    def wake(key: Key, *, urgent: bool = False) -> None:
        del key, urgent
        answered.set()

    async with traced(ports[0]) as collector:
        probe = Probe(Key("shop", "recsys"), sources, wake)
        with tracing.trace("reconcile"):
            probe.reload("uid", Reload("pod-1", "127.0.0.1", target, "why"))
        await answered.wait()
        await servers.close()
    (root,), (call,) = collector.named("reconcile"), collector.named("reload")
    assert (call.trace_id, call.parent_span_id) == (root.trace_id, root.span_id)
    assert said(call) == {"pod": "pod-1", "versions": "(101,)"}
    assert call.status.message.startswith("ServerUnavailable: UNAVAILABLE")


def test_without_a_collector_nothing_is_known_of_a_trace() -> None:
    """Everything that is asked for is there, and does nothing."""
    with tracing.trace("reconcile", name="x"), tracing.span("query"):
        tracing.annotate(step=1)
        assert tracing.trace_id() == ""


def test_a_collector_that_is_away_harms_nobody(unused_tcp_port: int) -> None:
    """Spans are dropped; the process ends all the same."""
    tracer = OtlpTracer(f"http://127.0.0.1:{unused_tcp_port}")
    with tracer.span("reconcile", {}, root=True):
        assert len(tracer.trace_id()) == 32
    tracer.close()


def test_the_library_is_loaded_by_those_who_trace_alone() -> None:
    """An operator without an endpoint starts as fast and as small as before."""
    program = "import sys, modelrollout.process; print(*(name for name in sys.modules if name.startswith('opentele')))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
