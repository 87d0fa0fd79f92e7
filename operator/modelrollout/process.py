"""The operator, `python -m modelrollout run`: the composition root, the only place that knows the adapters."""

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

import structlog

from modelrollout import __version__
from modelrollout.adapters.capacity import NodeCapacities
from modelrollout.adapters.clock import SystemClock, uptime
from modelrollout.adapters.cluster import KubernetesCluster
from modelrollout.adapters.credentials import Credentials
from modelrollout.adapters.events import EventRecorder
from modelrollout.adapters.kube import KubeClient, connect, watch_session
from modelrollout.adapters.leases import KubernetesLease
from modelrollout.adapters.model_servers import GrpcModelServers
from modelrollout.adapters.notifications import Notifier
from modelrollout.adapters.prometheus import PrometheusMetrics
from modelrollout.alerting import AlertBoard, alert_receiver
from modelrollout.cache import ObjectCache
from modelrollout.contact import Contact
from modelrollout.core.values import JSON
from modelrollout.election import Alone, Candidate, Elector
from modelrollout.errors import UnusableFile
from modelrollout.handlers import WatchThread
from modelrollout.health import Check, Pulse, blindness, first_problem, health_server
from modelrollout.heap import stay_small
from modelrollout.logs import configure_logging
from modelrollout.metrics import initialise
from modelrollout.ports import Clock, Events, Key
from modelrollout.probes import Sources
from modelrollout.reconciler import Reconciler
from modelrollout.resources import DEPLOYMENTS, ROLLOUTS, Resource
from modelrollout.settings import OperatorSettings, load_settings
from modelrollout.shard import Shard
from modelrollout.supervisor import Supervisor
from modelrollout.tracing import install
from modelrollout.workqueue import WorkQueue, run_passes

_DRAIN_SECONDS = 5.0
"""How long passes that are under way at a signal may go on: each write of theirs has a deadline of its own."""
_FLUSH_SECONDS = 3.0
"""How long events and notifications may take then."""

_SWITCH_SECONDS = 0.0005
"""How long one thread may keep others from running. With Python's own 5 ms the loop that measures and aborts waits so
long after each wait of its own while the thread of the watches reads what changed: with a hundred rollouts often."""

_log = structlog.get_logger(__name__)


async def run(settings: OperatorSettings) -> None:
    """Run until a signal asks to end. Raises whatever ended a part of the operator."""
    stopped = _stop_signal()
    _check_files(settings)
    credentials = Credentials(settings.kubeconfig)
    await credentials.load()
    async with AsyncExitStack() as stack:
        _trace(settings, stack)
        direct = await stack.enter_async_context(connect(credentials))
        clock, cache, queue, contact = SystemClock(), ObjectCache(), WorkQueue(), Contact()
        election = _election(settings, direct, clock)
        client = direct.fenced(election)
        servers = GrpcModelServers(fence=election, access=settings.model_servers)
        metrics = PrometheusMetrics(settings.prometheus)
        stack.push_async_callback(servers.close)
        stack.push_async_callback(metrics.close)
        # What happened has happened, whoever leads by now: events are posted without a permit.
        cluster, recorder = KubernetesCluster(client, cache), EventRecorder(direct, clock)
        notifier = _notifier(settings, recorder)
        events = notifier or recorder
        sources = Sources(servers, metrics, NodeCapacities(client), clock)
        board, pulse = AlertBoard(cache, clock, queue.add), Pulse(uptime)
        shard = Shard(settings.namespace_selector, uptime) if settings.namespace_selector else None
        supervisor = _supervisor(settings, client, cache, queue, pulse, shard)
        leads = election.won.is_set
        initialise(
            lambda: _led(cache, ROLLOUTS, shard) if leads() else (),
            lambda: _led(cache, DEPLOYMENTS, shard) if leads() else (),
        )
        alive = first_problem(pulse.problem, blindness(supervisor.blind, lambda: contact.answered(clock.now())))
        await stack.enter_async_context(health_server(settings.health, alive, _ready(supervisor, stopped)))
        await stack.enter_async_context(alert_receiver(settings.alerts, settings.alerts_token, board, leads))
        _log.info(
            "started",
            version=__version__,
            server=credentials.server,
            namespaces=settings.namespaces or settings.namespace_selector or "all",
        )
        # For when a part breaks: whoever waits takes over at once.
        stack.push_async_callback(election.resign)
        await _first_to_end(
            _retire(stopped, queue, election, recorder.flush, *([notifier.flush] if notifier else ())),
            election.run(),
            supervisor.run(),
            contact.keep(direct, clock),
            recorder.run(),
            stay_small(),
            *([notifier.run()] if notifier else ()),
            _lead(
                election,
                supervisor,
                queue,
                shard,
                lambda: Reconciler(cache, cluster, sources, events, queue.add, contact, board.told),
            ),
        )
    _log.info("stopped")


def main(arguments: Sequence[str]) -> None:
    """Read the settings, run, and end with 0 after a signal, else with 1. Called by the command `run`."""
    settings = load_settings(arguments, os.environ)
    sys.setswitchinterval(_SWITCH_SECONDS)
    configure_logging(settings.log_format, settings.log_level)
    runner = asyncio.Runner()  # never closed, which would wait for threads such as one that asks a name server
    try:
        runner.run(run(settings))
    except Exception:  # noqa: BLE001 - whatever it is, it is told before the process ends
        _log.exception("the operator ends")
        code = 1
    else:
        code = 0
    logging.shutdown()
    # Threads of kopf may hang, and a query may wait for its timeout; neither may delay the next start.
    os._exit(code)


def _check_files(settings: OperatorSettings) -> None:
    """Tell at once which file cannot be used. That is no reason to end: aborts must go on being carried out."""
    for access in (settings.prometheus, settings.model_servers):
        try:
            access.check()
        except UnusableFile as error:
            _log.error("a file cannot be used", error=str(error))


def _trace(settings: OperatorSettings, stack: AsyncExitStack) -> None:
    """Send traces if that is asked for; the last of them once everything else has ended."""
    if settings.otlp is None:
        return
    from modelrollout.adapters.otlp import OtlpTracer  # noqa: PLC0415 - only who traces pays for the library

    tracer = OtlpTracer(settings.otlp)
    install(tracer)
    stack.callback(tracer.close)


def _notifier(settings: OperatorSettings, events: Events) -> Notifier | None:
    return Notifier(events, settings.notify_urls, settings.notify) if settings.notify_urls else None


def _supervisor(
    settings: OperatorSettings,
    client: KubeClient,
    cache: ObjectCache,
    queue: WorkQueue,
    pulse: Pulse,
    shard: Shard | None,
) -> Supervisor:
    return Supervisor(
        lists=client,
        cache=cache,
        add=queue.add,
        watches=lambda kinds, deliver: WatchThread(
            kinds,
            settings.namespaces,
            lambda trace: watch_session(Credentials(settings.kubeconfig), trace),
            deliver,
            pulse,
        ),
        namespaces=settings.namespaces,
        shard=shard,
    )


def _led(cache: ObjectCache, resource: Resource, shard: Shard | None) -> list[JSON]:
    """The objects of a kind that are this operator's."""
    every = cache.objects(resource)
    return [each for each in every if shard is None or shard.owns(Key(each["metadata"]["namespace"], ""))]


def _ready(supervisor: Supervisor, stopped: asyncio.Event) -> Check:
    def problem() -> str:
        if stopped.is_set():
            return "stopping"
        return "" if supervisor.synced.is_set() else "listing"

    return problem


def _election(settings: OperatorSettings, client: KubeClient, clock: Clock) -> Elector | Alone:
    if settings.election is None:
        return Alone()
    lease = KubernetesLease(client, clock, settings.election.namespace, settings.election.name)
    identity = settings.election.identity or f"{socket.gethostname()}_{secrets.token_hex(4)}"
    return Elector(lease, Candidate(identity, settings.election.terms), uptime)


async def _lead(
    election: Elector | Alone,
    supervisor: Supervisor,
    queue: WorkQueue,
    shard: Shard | None,
    make: Callable[[], Reconciler],
) -> None:
    """Reconcile whenever the election is won, each time with a reconciler that remembers nothing.

    Nothing is done before every kind was listed: a cold cache looks like missing children.
    """
    await supervisor.synced.wait()
    while True:
        await election.won.wait()
        reconciler = make()
        try:
            await _first_to_end(election.lost.wait(), _work(supervisor, queue, shard, reconciler))
        finally:
            reconciler.stop()


async def _retire(
    stopped: asyncio.Event, queue: WorkQueue, election: Elector | Alone, *flushes: Callable[[], Awaitable[None]]
) -> None:
    """After the signal: end the passes under way, let another lead, say what there is to say. None of it for long."""
    await stopped.wait()
    _log.info("stopping")
    with suppress(TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            await queue.drain()
    await election.resign()
    with suppress(TimeoutError):
        async with asyncio.timeout(_FLUSH_SECONDS):
            await asyncio.gather(*(flush() for flush in flushes))


async def _work(supervisor: Supervisor, queue: WorkQueue, shard: Shard | None, reconciler: Reconciler) -> None:
    async def reconcile(key: Key) -> timedelta | None:
        wait = shard.wait(key) if shard is not None else 0.0
        if wait == 0:
            return await reconciler.reconcile(key)
        reconciler.forget(key)
        return None if wait is None else timedelta(seconds=wait)

    await supervisor.refresh()
    await run_passes(queue, reconcile)


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
    """Set by the first signal; the second ends the process at once."""
    stopped = asyncio.Event()

    def stop(number: signal.Signals) -> None:
        if stopped.is_set():
            _log.warning("ending at once", signal=number.name)
            os._exit(128 + number)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    return stopped
