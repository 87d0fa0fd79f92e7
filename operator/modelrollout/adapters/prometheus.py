"""Prometheus through its Python client: implements `ports.Metrics`.

The client is synchronous, waits without limit by default and drops warnings. So it runs in a bounded pool of its own
threads, without retries, under a deadline, and a response hook keeps what it would drop.
"""

import asyncio
import math
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import requests
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from urllib3.util.retry import Retry

from modelrollout.access import Fresh, PrometheusAccess
from modelrollout.adapters.prometheus_session import host_of, open_session, said, why
from modelrollout.core.alerts import Alert
from modelrollout.core.counters import Counters, bad_query, latency_query, scraped_query
from modelrollout.errors import MetricsUnavailable, QueryRefused, UnusableFile
from modelrollout.metrics import QUERIES, counted
from modelrollout.ports import MetricSource
from modelrollout.tracing import span

_THREADS = 8
_IN_FLIGHT = 6
"""Queries to one address at a time: one that hangs must not take every thread."""
_CONNECT_SECONDS = 2.0
_REFUSED = {400, 422}
_PART, _BAD, _BUCKETS, _SCRAPED, _ALERTS = "modelrollout_part", "bad", "buckets", "scraped", "alerts"
"""The label by which the parts of one answer are told apart, and its values."""


@dataclass(slots=True)
class _Heard:
    """What the last response of this thread said beside its data."""

    status: int = 0
    error: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Endpoint:
    """One Prometheus: its client and how many more queries it may get now."""

    client: PrometheusConnect
    host: str
    slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_IN_FLIGHT))


class PrometheusMetrics:
    """One client per address; another one when a file of our access to it was replaced."""

    def __init__(self, access: PrometheusAccess | None = None) -> None:
        """Threads start with the first query."""
        self._access = access or PrometheusAccess()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="prometheus")
        self._endpoints: dict[str, Fresh[_Endpoint]] = {}
        self._sessions: dict[str, requests.Session] = {}
        self._heard = threading.local()

    async def counters(
        self, source: MetricSource, namespace: str, model: str, pods: tuple[str, ...], at: datetime
    ) -> Mapping[str, Counters]:
        """Cumulative counters of those pods that Prometheus reads, at one moment."""
        counters, _ = await self.look(source, namespace, model, pods, "", at)
        return counters

    async def look(
        self, source: MetricSource, namespace: str, model: str, pods: tuple[str, ...], alerts: str, at: datetime
    ) -> tuple[Mapping[str, Counters], tuple[Alert, ...]]:
        """The same, and the alerts that PromQL `alerts` gives, from one question."""
        parts = _parts(namespace, model, pods) | ({_ALERTS: f"({alerts})"} if alerts else {})
        if not parts:
            return {}, ()
        # One question: with many rollouts at once, what each question costs is most of a pass.
        text = " or ".join(f'label_replace({query}, "{_PART}", "{part}", "", "")' for part, query in parts.items())
        samples = _vector(await self._ask(source, text, at))
        return _counters(samples), _alerts(samples)

    async def query(self, source: MetricSource, promql: str, at: datetime) -> tuple[float, ...]:
        """One number per series that the query gives; NaN and infinity are passed on."""
        result = await self._ask(source, promql, at)
        if len(result) == 2 and not isinstance(result[0], Mapping):
            return (_number(result),)
        return tuple(value for _, value in _vector(result))

    async def series(
        self, source: MetricSource, promql: str, at: datetime
    ) -> Sequence[tuple[Mapping[str, str], float]]:
        """Labels and number of every series that the query gives."""
        return _vector(await self._ask(source, promql, at))

    def close(self) -> None:
        """End the threads; queries under way are left to their timeouts."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for session in self._sessions.values():
            session.close()

    async def _ask(self, source: MetricSource, promql: str, at: datetime) -> Sequence[Any]:
        """The `result` of an instant query within the source's timeout."""
        seconds = source.timeout.total_seconds()
        deadline = time.monotonic() + seconds
        try:
            with counted(QUERIES), span("query", prometheus=host_of(source.address), promql=promql):
                endpoint = self._endpoint(source.address)
                async with asyncio.timeout(seconds):
                    await endpoint.slots.acquire()
                    loop = asyncio.get_running_loop()
                    work = loop.run_in_executor(self._pool, self._fetch, endpoint, promql, at, deadline)
                    work.add_done_callback(lambda done: _release(endpoint, done))
                    # The thread goes on after the deadline, and so does its claim to a slot.
                    return await asyncio.shield(work)
        except TimeoutError:
            raise MetricsUnavailable(f"{host_of(source.address)} did not answer within {seconds:g} s") from None

    def _endpoint(self, address: str) -> _Endpoint:
        """Raises MetricsUnavailable when a file of ours cannot be used."""
        if address not in self._endpoints:
            access = self._access.for_address(address)
            self._endpoints[address] = Fresh(access.files, lambda: self._connect(address, access))
        try:
            return self._endpoints[address].get()
        except UnusableFile as error:
            raise MetricsUnavailable(str(error)) from None

    def _connect(self, address: str, access: PrometheusAccess) -> _Endpoint:
        """Raises UnusableFile."""
        session = open_session(access)
        if address in self._sessions:
            # Its connections were made with files that are no longer valid.
            self._sessions[address].close()
        self._sessions[address] = session
        session.hooks["response"].append(self._listen)
        client = PrometheusConnect(address.rstrip("/"), retry=Retry(total=0), session=session)
        return _Endpoint(client, host_of(address))

    def _fetch(self, endpoint: _Endpoint, promql: str, at: datetime, deadline: float) -> Sequence[Any]:
        """Runs in a thread of the pool. Raises MetricsUnavailable and QueryRefused."""
        seconds = deadline - time.monotonic()
        if seconds <= 0:
            raise MetricsUnavailable(f"{endpoint.host}: too many queries are waiting")
        self._heard.last = heard = _Heard()
        params = {"time": f"{at.timestamp():.3f}", "timeout": f"{max(1, math.floor(seconds * 1000))}ms"}
        try:
            result = endpoint.client.custom_query(promql, params, timeout=(min(seconds, _CONNECT_SECONDS), seconds))
        except PrometheusApiClientException:
            error = heard.error or "no message"
            refused = QueryRefused if heard.status in _REFUSED else MetricsUnavailable
            raise refused(f"{endpoint.host} answered {heard.status}: {error}") from None
        except (requests.RequestException, KeyError, TypeError, ValueError) as error:
            raise MetricsUnavailable(why(endpoint.host, error, heard.status, heard.error)) from None
        if heard.warnings:
            raise QueryRefused(f"{endpoint.host} gave a partial answer: {'; '.join(heard.warnings)}")
        if not isinstance(result, list):
            raise MetricsUnavailable(f"{endpoint.host} does not answer as Prometheus does")
        return result

    def _listen(self, response: requests.Response, *_args: Any, **_kwargs: Any) -> None:
        """Response hook: keep status, message and warnings, which the client would drop."""
        try:
            body = response.json()
        except ValueError:
            body = {}
        told = body if isinstance(body, dict) else {}
        heard: _Heard = self._heard.last
        heard.status = response.status_code
        heard.error = said(told.get("error", ""), response)
        heard.warnings = tuple(said(warning, response) for warning in told.get("warnings") or ())


def _release(endpoint: _Endpoint, done: asyncio.Future[Any]) -> None:
    endpoint.slots.release()
    if not done.cancelled():
        # Nobody may be waiting for it any more; asking marks the error as seen.
        done.exception()


def _parts(namespace: str, model: str, pods: tuple[str, ...]) -> dict[str, str]:
    """The questions for counters, by part; none without pods."""
    if not pods:
        return {}
    return {
        _BAD: bad_query(namespace, model, pods),
        _BUCKETS: latency_query(namespace, model, pods),
        _SCRAPED: scraped_query(namespace, pods),
    }


def _alerts(samples: list[tuple[Mapping[str, str], float]]) -> tuple[Alert, ...]:
    found = (labels for labels, _ in samples if labels.get(_PART) == _ALERTS)
    return tuple(Alert({name: value for name, value in labels.items() if name != _PART}) for labels in found)


def _counters(samples: list[tuple[Mapping[str, str], float]]) -> dict[str, Counters]:
    """A pod that is read but was asked nothing yet has counters of zero; one that is not read is left out."""
    failures: dict[str, float] = {}
    scraped: dict[str, float] = {}
    buckets: dict[str, dict[float, float]] = {}
    for labels, value in samples:
        pod = labels.get("pod", "")
        if labels.get(_PART) == _BAD:
            failures[pod] = value
        elif labels.get(_PART) == _BUCKETS:
            buckets.setdefault(pod, {})[float(labels["le"])] = value
        elif labels.get(_PART) == _SCRAPED:
            scraped[pod] = value
    pods = failures.keys() | buckets.keys() | scraped.keys()
    return {
        pod: Counters(failures.get(pod, 0.0), buckets.get(pod, {}), scraped.get(pod, 0.0))
        for pod in sorted(pods)
        if pod
    }


def _vector(result: Sequence[Any]) -> list[tuple[Mapping[str, str], float]]:
    try:
        return [(item["metric"], _number(item["value"])) for item in result]
    except (KeyError, TypeError):
        raise QueryRefused("the query gives a range of values where one value per series is needed") from None


def _number(sample: Sequence[Any]) -> float:
    try:
        return float(sample[1])
    except ValueError:
        raise QueryRefused(f"the query gives {sample[1]!r}, which is not a number") from None
