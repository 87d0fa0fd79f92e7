"""What the benchmarks' observer makes of the queries that pass through it."""

from __future__ import annotations

import json
import re
from datetime import timedelta

from aiohttp import web

from benchmarks.observer import bad_answers
from modelrollout.ports import Question
from tests.unit.test_prometheus import AT, prometheus

PARTS = re.compile(r'label_replace\(sum by \(pod\) \((\S+?)\{.*?"modelrollout_part", "(\w+)"')


async def test_bad_answers_of_the_canary_are_known() -> None:
    """In the answer to what the operator really asks: those of now, not those at a window's start."""
    pods, asked = ("m-canary-1", "m-stable-1"), list[str]()

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.query["query"])
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": []}})

    async with prometheus(answer) as (metrics, source):
        await metrics.look(source, Question("default", "m", pods, frozenset({AT - timedelta(seconds=2)})), AT)
    (text,) = asked
    parts = [part for series, part in PARTS.findall(text) if series.endswith("request_count")]
    assert len(parts) == 2
    result = [
        {"metric": {"pod": pod, "modelrollout_part": part}, "value": [1, "2" if part.endswith("0") else "1"]}
        for part in parts
        for pod in pods
    ]
    assert bad_answers(text, json.dumps({"data": {"result": result}}).encode()) == 2
