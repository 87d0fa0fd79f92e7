"""Prometheus over HTTP: implements `ports.Metrics`."""

import asyncio
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from modelrollout.access import PrometheusAccess
from modelrollout.adapters.prometheus_http import Answer, PrometheusHttp, host_of
from modelrollout.core.alerts import Alert
from modelrollout.core.counters import Counters, bad_query, latency_query, scraped_query
from modelrollout.errors import MetricsUnavailable, QueryRefused
from modelrollout.metrics import QUERIES, counted
from modelrollout.ports import Look, MetricSource, Question
from modelrollout.tracing import span

_REFUSED = {400, 422}
_STRANGE = "does not answer as Prometheus does"
_PART, _BAD, _BUCKETS, _SCRAPED, _ALERTS = "modelrollout_part", "bad", "buckets", "scraped", "alerts"
"""The label by which the parts of one answer are told apart, and its values; those of counters end with their age."""
_LONGEST = 4000
"""Characters of one query that asks for several moments; VictoriaMetrics takes 16 KiB."""
_Sample = tuple[Mapping[str, str], float]


class PrometheusMetrics:
    """Queries to any address; with our access where it is meant for it."""

    def __init__(self, access: PrometheusAccess | None = None) -> None:
        """Connections are made by the first query."""
        self._http = PrometheusHttp(access or PrometheusAccess())

    async def look(self, source: MetricSource, question: Question, at: datetime) -> Look:
        """Counters and alerts, from one request unless that got too long; what is of one moment is never torn."""
        ages = {moment: _age(moment, at) for moment in question.before}
        texts = _texts(question, sorted({0, *ages.values()}))
        answers = await asyncio.gather(*(self._ask(source, text, at) for text in texts))
        with _as_prometheus_answers(source):
            samples = _by_part(sample for answer in answers for sample in _vector(answer))
            before = {moment: _counters(samples, age) for moment, age in ages.items()}
            return Look(_counters(samples, 0), before, tuple(Alert(labels) for labels, _ in samples.get(_ALERTS, ())))

    async def query(self, source: MetricSource, promql: str, at: datetime) -> tuple[float, ...]:
        """One number per series that the query gives; NaN and infinity are passed on."""
        result = await self._ask(source, promql, at)
        with _as_prometheus_answers(source):
            if len(result) == 2 and not isinstance(result[0], Mapping):
                return (_number(result),)
            return tuple(value for _, value in _vector(result))

    async def series(
        self, source: MetricSource, promql: str, at: datetime
    ) -> Sequence[tuple[Mapping[str, str], float]]:
        """Labels and number of every series that the query gives."""
        result = await self._ask(source, promql, at)
        with _as_prometheus_answers(source):
            return _vector(result)

    async def close(self) -> None:
        """End all connections."""
        await self._http.close()

    async def _ask(self, source: MetricSource, promql: str, at: datetime) -> Sequence[Any]:
        """The `result` of an instant query within the source's timeout. Raises MetricsUnavailable and QueryRefused."""
        host, seconds = host_of(source.address), source.timeout.total_seconds()
        asked = {"query": promql, "time": f"{at.timestamp():.3f}", "timeout": f"{max(1, math.floor(seconds * 1000))}ms"}
        asked["nocache"] = "1"  # VictoriaMetrics would answer for 30 s earlier; Prometheus does not look at it
        with counted(QUERIES), span("query", prometheus=host, promql=promql):
            return _result(host, await self._http.ask(source.address, asked, seconds))


def _result(host: str, answer: Answer) -> Sequence[Any]:
    """Raises MetricsUnavailable and QueryRefused."""
    told = answer.body if isinstance(answer.body, dict) else {}
    error, warnings = answer.said(told.get("error", "")), told.get("warnings")
    if answer.status != 200:
        refused = QueryRefused if answer.status in _REFUSED else MetricsUnavailable
        raise refused(f"{host} answered {answer.status}: {error or 'no message'}")
    data = told.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list):
        raise MetricsUnavailable(f"{host}: {error}" if error else f"{host} {_STRANGE}")
    if warnings:
        words = warnings if isinstance(warnings, list) else [warnings]
        raise QueryRefused(f"{host} gave a partial answer: {'; '.join(answer.said(text) for text in words)}")
    return result


@contextmanager
def _as_prometheus_answers(source: MetricSource) -> Iterator[None]:
    """What is no such answer, whatever it is, is told like any other trouble: a measurement never ends by it."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise MetricsUnavailable(f"{host_of(source.address)} {_STRANGE}") from None


def _age(moment: datetime, at: datetime) -> int:
    """How long ago, in milliseconds; never in the future."""
    return max(0, round((at - moment).total_seconds() * 1000))


def _texts(question: Question, ages: Iterable[int]) -> list[str]:
    """As few queries as are short enough. Their parts are told apart by a label; one moment's are in one query."""
    namespace, model, pods = question.namespace, question.model, question.pods
    texts = [_named({_ALERTS: f"({question.alerts})"})] if question.alerts else []
    for age in ages if pods else ():
        parts = {
            f"{_BAD}{age}": bad_query(namespace, model, pods, age),
            f"{_BUCKETS}{age}": latency_query(namespace, model, pods, age),
            f"{_SCRAPED}{age}": scraped_query(namespace, pods, age),
        }
        texts.append(_named(parts))
    return _joined(texts)


def _named(parts: Mapping[str, str]) -> str:
    return " or ".join(f'label_replace({query}, "{_PART}", "{part}", "", "")' for part, query in parts.items())


def _joined(texts: Iterable[str]) -> list[str]:
    found: list[str] = []
    for text in texts:
        if found and len(found[-1]) + len(text) <= _LONGEST:
            found[-1] += f" or {text}"
        else:
            found.append(text)
    return found


def _by_part(samples: Iterable[_Sample]) -> dict[str, list[_Sample]]:
    found: dict[str, list[_Sample]] = {}
    for labels, value in samples:
        rest = {name: text for name, text in labels.items() if name != _PART}
        found.setdefault(labels.get(_PART, ""), []).append((rest, value))
    return found


def _counters(samples: Mapping[str, list[_Sample]], age: int) -> dict[str, Counters]:
    """A pod that is read but was asked nothing yet has counters of zero; one that is not read is left out."""
    bad = {labels.get("pod", ""): value for labels, value in samples.get(f"{_BAD}{age}", ())}
    scraped = {labels.get("pod", ""): value for labels, value in samples.get(f"{_SCRAPED}{age}", ())}
    buckets: dict[str, dict[float, float]] = {}
    for labels, value in samples.get(f"{_BUCKETS}{age}", ()):
        buckets.setdefault(labels.get("pod", ""), {})[float(labels["le"])] = value
    return {
        pod: Counters(bad.get(pod, 0.0), buckets.get(pod, {}), scraped.get(pod, 0.0))
        for pod in sorted(bad.keys() | buckets.keys() | scraped.keys())
        if pod
    }


def _vector(result: Sequence[Any]) -> list[_Sample]:
    try:
        return [(item["metric"], _number(item["value"])) for item in result]
    except (KeyError, TypeError):
        raise QueryRefused("the query gives a range of values where one value per series is needed") from None


def _number(sample: Sequence[Any]) -> float:
    try:
        return float(sample[1])
    except ValueError:
        raise QueryRefused(f"the query gives {sample[1]!r}, which is not a number") from None
