"""The Prometheus adapter against canned answers over real HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web

from modelrollout.adapters.prometheus import PrometheusMetrics
from modelrollout.core.alerts import Alert
from modelrollout.core.counters import Counters
from modelrollout.errors import MetricsUnavailable, QueryRefused
from modelrollout.ports import Look, MetricSource, Question

AT = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
Answer = Callable[[web.Request], Awaitable[web.Response]]


def vector(*samples: tuple[dict[str, str], str]) -> dict[str, Any]:
    """A successful answer with one value per series."""
    result = [{"metric": labels, "value": [AT.timestamp(), value]} for labels, value in samples]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def canned(body: Any, status: int = 200) -> Answer:
    """Always the same answer; text is sent as it is."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=body if isinstance(body, str) else json.dumps(body), status=status)

    return answer


@asynccontextmanager
async def prometheus(answer: Answer, seconds: float = 60.0) -> AsyncIterator[tuple[PrometheusMetrics, MetricSource]]:
    """The adapter and a server that answers so."""
    app = web.Application()
    app.router.add_get("/api/v1/query", answer)
    app.router.add_post("/api/v1/query", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    metrics = PrometheusMetrics()
    try:
        yield metrics, MetricSource(f"http://user:secret@{host}:{port}/", timedelta(seconds=seconds))
    finally:
        await metrics.close()
        await runner.cleanup()


RESULTS = {
    "one series": (vector(({}, "42.5")), (42.5,)),
    "several series": (vector(({"a": "1"}, "1"), ({"a": "2"}, "2")), (1.0, 2.0)),
    "no series": (vector(), ()),
    "infinity": (vector(({}, "+Inf")), (math.inf,)),
    "a scalar": ({"status": "success", "data": {"resultType": "scalar", "result": [1.5, "7"]}}, (7.0,)),
}


@pytest.mark.parametrize("case", RESULTS.values(), ids=RESULTS.keys())
async def test_a_query_gives_one_number_per_series(case: tuple[dict[str, Any], tuple[float, ...]]) -> None:
    """Vectors and scalars are read."""
    body, numbers = case
    async with prometheus(canned(body)) as (metrics, source):
        assert await metrics.query(source, "up", AT) == numbers


async def test_nan_is_passed_on() -> None:
    """What NaN means is for the judge to say."""
    async with prometheus(canned(vector(({}, "NaN")))) as (metrics, source):
        assert [math.isnan(value) for value in await metrics.query(source, "up", AT)] == [True]


ERRORS = {
    "a bad query": (canned({"status": "error", "error": "parse error"}, 400), QueryRefused, "parse error"),
    "a query that cannot be run": (canned({"status": "error", "error": "too many"}, 422), QueryRefused, "too many"),
    "warnings": (canned({**vector(({}, "1")), "warnings": ["shard away"]}), QueryRefused, "shard away"),
    "a range of values": (canned({"data": {"result": [{"metric": {}, "values": [[1, "2"]]}]}}), QueryRefused, "range"),
    "a string": (canned({"data": {"result": [1.5, "text"]}}), QueryRefused, "not a number"),
    "an error of its own": (canned({"status": "error", "error": "broken"}, 503), MetricsUnavailable, "503: broken"),
    "a right that is missing": (canned("no", 403), MetricsUnavailable, "answered 403"),
    "success with an error inside": (canned({"status": "error", "error": "hm"}), MetricsUnavailable, "hm"),
    "a login page": (canned("<html>"), MetricsUnavailable, "not answer as Prometheus does"),
    "another program's JSON": (canned([1]), MetricsUnavailable, "not answer as Prometheus does"),
    "a warning that is no list": (canned({**vector(), "warnings": 5}), QueryRefused, "partial answer: 5"),
    "a sample without value": (
        canned({"data": {"result": [{"metric": {}, "value": []}]}}),
        MetricsUnavailable,
        "not answer as Prometheus does",
    ),
    "a scalar that is none": (canned({"data": {"result": [1, None]}}), MetricsUnavailable, "not answer as Prometheus"),
    "lists without end": (canned("[" * 100_000), MetricsUnavailable, "not answer as Prometheus does"),
    "more than anybody asked for": (canned("[" + "0," * 2**23 + "0]"), MetricsUnavailable, "more than 16 MiB"),
    "an object as result": (canned({"data": {"result": {}}}), MetricsUnavailable, "not answer as Prometheus does"),
}


@pytest.mark.parametrize("case", ERRORS.values(), ids=ERRORS.keys())
async def test_every_trouble_has_its_kind_and_words(case: tuple[Answer, type[Exception], str]) -> None:
    """A wrong query is told from a Prometheus that is away, and no message holds the address's password."""
    answer, kind, words = case
    async with prometheus(answer) as (metrics, source):
        with pytest.raises(kind, match=words) as caught:
            await metrics.query(source, "up", AT)
    assert "secret" not in str(caught.value)


async def test_nothing_that_listens_is_unavailable() -> None:
    """A refused connection is told at once, without the address's password."""
    source = MetricSource("http://user:secret@127.0.0.1:1", timedelta(seconds=5))
    metrics = PrometheusMetrics()
    with pytest.raises(MetricsUnavailable, match=r"127\.0\.0\.1:1 cannot be reached") as caught:
        await metrics.query(source, "up", AT)
    await metrics.close()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("address", "words"), [("http://[::1", "InvalidURL|ValueError"), ("http://", "InvalidU")])
async def test_an_address_that_is_none_is_unavailable(address: str, words: str) -> None:
    """The API server takes some that no client does."""
    metrics = PrometheusMetrics()
    with pytest.raises(MetricsUnavailable, match=f"the Prometheus address: ({words})"):
        await metrics.query(MetricSource(address, timedelta(seconds=5)), "up", AT)
    await metrics.close()


async def test_counters_without_edges_are_no_answer() -> None:
    """Whatever a pod calls its buckets."""
    sample = ({"pod": "a", "modelrollout_part": "buckets0", "le": "wide"}, "1")
    async with prometheus(canned(vector(sample))) as (metrics, source):
        with pytest.raises(MetricsUnavailable, match="not answer as Prometheus does"):
            await metrics.look(source, Question("default", "m", ("a",)), AT)


async def test_a_server_that_hangs_is_unavailable_and_others_are_still_asked() -> None:
    """More hanging queries than one address may have at a time do not delay those to another."""
    release = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await release.wait()
        return web.json_response(vector())

    async with prometheus(hang, 0.3) as (metrics, slow), prometheus(canned(vector(({}, "1")))) as (_, good):
        waiting = [asyncio.create_task(metrics.query(slow, "up", AT)) for _ in range(20)]
        await asyncio.sleep(0)
        assert await metrics.query(good, "up", AT) == (1.0,)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        release.set()
    assert all(isinstance(error, MetricsUnavailable) for error in ended)


async def test_the_moment_and_the_deadline_are_sent() -> None:
    """All metrics of one round look at the same instant, and Prometheus gives up when we do."""
    asked: list[dict[str, str]] = []

    async def note(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        return web.json_response(vector())

    async with prometheus(note) as (metrics, source):
        await metrics.query(source, "up", AT)
    assert (asked[0]["query"], asked[0]["time"]) == ("up", f"{AT.timestamp():.3f}")
    assert asked[0]["timeout"].endswith("ms")


async def test_counters_of_the_pods_that_are_read() -> None:
    """Bad answers, buckets and the last scrape per pod; one without traffic has zeros, one not scraped is left out."""
    cells = [("buckets0", {"le": "10"}, "3"), ("buckets0", {"le": "+Inf"}, "5")]
    parts = [("bad0", {}, "2"), *cells, ("scraped0", {}, "1")]
    samples = [({"pod": "a", "modelrollout_part": part, **labels}, value) for part, labels, value in parts]
    samples.append(({"pod": "idle", "modelrollout_part": "scraped0"}, "1"))
    async with prometheus(canned(vector(*samples))) as (metrics, source):
        found = await metrics.look(source, Question("default", "m", ("a", "idle", "away")), AT)
        assert await metrics.look(source, Question("default", "m", ()), AT) == Look({})
    assert found == Look({"a": Counters(2.0, {10.0: 3.0, math.inf: 5.0}, 1.0), "idle": Counters(scraped=1.0)})


async def test_moments_before_come_in_the_same_answer() -> None:
    """One request for some windows. Of very many pods each moment is asked for apart, and by POST."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(str({**request.query, **await request.post()}["query"]))
        ages = set(re.findall(r'"scraped(\d+)"', asked[-1]))
        return web.json_response(vector(*(({"pod": "a", "modelrollout_part": f"bad{age}"}, age) for age in ages)))

    moments, pods = frozenset({AT - timedelta(seconds=1.5), AT - timedelta(seconds=3)}), tuple(map(str, range(100)))
    async with prometheus(answer) as (metrics, source):
        found = await metrics.look(source, Question("default", "m", ("a",), moments), AT)
        assert len(asked) == 1
        assert asked[0].count(" offset 1500ms") == asked[0].count(" offset 3000ms") == 4
        many = tuple(f"recsys-canary-5d4f8b6c7-{pod:>05}" for pod in pods)
        await metrics.look(source, Question("default", "m", many, moments), AT)
    assert [text.count("label_replace") for text in asked[1:]] == [3, 3, 3]
    assert {moment: counters["a"].bad for moment, counters in found.before.items()} == {
        AT - timedelta(seconds=1.5): 1500.0,
        AT - timedelta(seconds=3): 3000.0,
    }


async def test_alerts_come_with_the_counters_in_one_answer() -> None:
    """One question for both; counters are no alerts and alerts are no pods, whatever labels they have."""
    asked: list[str] = []
    labels = {"alertname": "FewerClicks", "alertstate": "firing", "namespace": "default", "pod": "a"}

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query["query"])
        scraped = ({"pod": "a", "modelrollout_part": "scraped0"}, "1")
        return web.json_response(vector(scraped, ({**labels, "modelrollout_part": "alerts"}, "1")))

    async with prometheus(answer) as (metrics, source):
        question = Question("default", "m", ("a",), alerts="ALERTS{x='y'} or ALERTS{z='y'}")
        found = await metrics.look(source, question, AT)
    assert found == Look({"a": Counters(scraped=1.0)}, firing=(Alert(labels),))
    (text,) = asked
    assert "label_replace((ALERTS{x='y'} or ALERTS{z='y'})," in text
