"""The operator, `python -m modelrollout run`: the composition root, the only place that knows the adapters."""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack

import structlog

from modelrollout import __version__
from modelrollout.adapters.capacity import NodeCapacities
from modelrollout.adapters.clock import SystemClock
from modelrollout.adapters.cluster import KubernetesCluster
from modelrollout.adapters.credentials import Credentials
from modelrollout.adapters.events import EventRecorder
from modelrollout.adapters.kube import KubeClient, connect, watch_session
from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.adapters.prometheus import PrometheusMetrics
from modelrollout.alerting import AlertBoard, alert_receiver
from modelrollout.cache import ObjectCache
from modelrollout.contact import Contact
from modelrollout.handlers import WatchThread
from modelrollout.health import health_server
from modelrollout.logs import configure_logging
from modelrollout.probes import Sources
from modelrollout.reconciler import Reconciler
from modelrollout.settings import OperatorSettings, load_settings
from modelrollout.supervisor import Supervisor
from modelrollout.workqueue import Reconcile, WorkQueue, run_workers

_log = structlog.get_logger(__name__)


async def run(settings: OperatorSettings) -> None:
    """Run until a signal asks to end. Raises whatever ended a part of the operator."""
    stopped = _stop_signal()
    credentials = Credentials(settings.kubeconfig)
    await credentials.load()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(connect(credentials))
        servers, metrics, clock = GrpcModelServers(), PrometheusMetrics(), SystemClock()
        stack.push_async_callback(servers.close)
        stack.callback(metrics.close)
        cache, queue, events = ObjectCache(), WorkQueue(), EventRecorder(client, clock)
        contact = Contact()
        sources = Sources(servers, metrics, NodeCapacities(client), clock)
        board = AlertBoard(cache, clock, queue.add)
        cluster = KubernetesCluster(client, cache)
        reconciler = Reconciler(cache, cluster, sources, events, queue.add, contact, board.told)
        supervisor = _supervisor(settings, client, cache, queue)
        await stack.enter_async_context(health_server(settings.health, supervisor.synced.is_set))
        await stack.enter_async_context(alert_receiver(settings.alerts, settings.alerts_token, board))
        _log.info("started", version=__version__, server=credentials.server, namespaces=settings.namespaces or "all")
        await _first_to_end(
            stopped.wait(),
            supervisor.run(),
            contact.keep(client, clock),
            events.run(),
            _work(supervisor, queue, reconciler.reconcile),
        )
    _log.info("stopped")


def main(arguments: Sequence[str]) -> None:
    """Read the settings, run, and end with 0 after a signal, else with 1. Called by the command `run`."""
    settings = load_settings(arguments, os.environ)
    configure_logging(settings.log_format, settings.log_level)
    try:
        asyncio.run(run(settings))
    except Exception:  # noqa: BLE001 - whatever it is, it is told before the process ends
        _log.exception("the operator ends")
        code = 1
    else:
        code = 0
    logging.shutdown()
    # Threads of kopf may hang, and a query may wait for its timeout; neither may delay the next start.
    os._exit(code)


def _supervisor(settings: OperatorSettings, client: KubeClient, cache: ObjectCache, queue: WorkQueue) -> Supervisor:
    return Supervisor(
        lists=client,
        cache=cache,
        add=queue.add,
        watches=lambda kinds, deliver: WatchThread(
            kinds, settings.namespaces, lambda: watch_session(Credentials(settings.kubeconfig)), deliver
        ),
        namespaces=settings.namespaces,
    )


async def _work(supervisor: Supervisor, queue: WorkQueue, reconcile: Reconcile) -> None:
    """Reconcile, but nothing before every kind was listed: a cold cache looks like missing children."""
    await supervisor.synced.wait()
    await run_workers(queue, reconcile)


async def _first_to_end(*parts: Awaitable[object]) -> None:
    """Run all until one ends, then cancel the others; raises what that one raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    return stopped
