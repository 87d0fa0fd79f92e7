"""A round of measurements over a Prometheus whose answers are given."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.analysis import Verdict
from modelrollout.core.counters import Counters, PodWindow
from modelrollout.core.readings import MetricsPlan
from modelrollout.core.spec_json import parse_spec
from modelrollout.errors import MetricsUnavailable
from modelrollout.measuring import measure
from modelrollout.ports import Look
from tests.simulation.scenarios import SPEC

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from modelrollout.core.analysis import Analysed
    from modelrollout.ports import MetricSource, Question

AT = datetime(2026, 1, 2, tzinfo=UTC)
LIMITS = {"name": "errors", "kind": "ErrorRate", "test": "Limits", "window": "4s", "limits": {"max": "0.1"}}
SEQUENTIAL = {"name": "errors", "kind": "ErrorRate"}


@dataclass
class Given:
    """`ports.Metrics`: each pod answers once per second, and was `scraped` so long before a look, by pod."""

    scraped: Mapping[str, float] = field(default_factory=lambda: {"canary": 0.1, "stable": 0.4})
    away: bool = False
    hangs: bool = False
    asked: list[tuple[Question, datetime]] = field(default_factory=list)

    async def look(self, _source: MetricSource, question: Question, at: datetime) -> Look:
        """See Metrics."""
        self.asked.append((question, at))
        if self.hangs:
            await asyncio.Event().wait()
        if self.away:
            raise MetricsUnavailable("no answer")
        return Look(self._at(at), {moment: self._at(moment) for moment in question.before})

    def _at(self, moment: datetime) -> dict[str, Counters]:
        seconds = moment.timestamp()
        return {pod: Counters(0.0, {inf: seconds}, seconds - age) for pod, age in self.scraped.items()}

    async def query(self, *_: Any) -> tuple[float, ...]:
        """See Metrics."""
        raise AssertionError

    async def series(self, *_: Any) -> Sequence[tuple[Mapping[str, str], float]]:
        """See Metrics."""
        raise AssertionError


def plan(*metrics: dict[str, Any]) -> MetricsPlan:
    """One canary pod and one of stable, with weight for a minute."""
    found = parse_spec({**SPEC, "analysis": {**SPEC["analysis"], "metrics": list(metrics)}}, "m").analysis
    assert found is not None
    begun = AT - timedelta(minutes=1)
    return MetricsPlan("1", "default", "m", found, (PodWindow("canary", begun),), (PodWindow("stable", begun),))


async def rounds(wish: MetricsPlan, given: Given, *moments: float) -> Analysed:
    """Some rounds, so many seconds after the start."""
    found = None
    for moment in moments:
        found = await measure(wish, found, given, AT + timedelta(seconds=moment))
    assert found is not None
    return found


async def test_a_round_looks_once() -> None:
    """At both sides, now and at the window's start; for the judge and for the limits."""
    given, wish = Given(), plan(LIMITS, {**SEQUENTIAL, "name": "more"})
    await rounds(wish, given, 0)
    before = len(given.asked)
    await measure(wish, await rounds(wish, given, 0), given, AT + timedelta(seconds=2))
    (question, at) = given.asked[-1]
    assert at == AT + timedelta(seconds=2)
    assert question.before == {AT - timedelta(seconds=2)}
    assert question.pods == ("canary", "stable")
    assert len(given.asked) == 2 * before + 1


async def test_the_age_is_that_of_the_look() -> None:
    """Also of one that the judge does not take in yet, since stable was not read anew."""
    given = Given({"canary": 0.1, "stable": 0.4})
    assert (await rounds(plan(SEQUENTIAL), given, 0, 0.3)).age == timedelta(seconds=0.1)
    given.scraped = {"canary": 0.2, "stable": 5.0}
    assert (await rounds(plan(SEQUENTIAL), given, 0, 0.3)).age == timedelta(seconds=0.2)
    given.scraped = {"stable": 0.4}
    assert (await rounds(plan(SEQUENTIAL), given, 0)).age is None


@pytest.mark.parametrize("metric", [LIMITS, SEQUENTIAL], ids=["limits", "judge"])
async def test_a_prometheus_that_is_away_leaves_nothing_behind(metric: dict[str, Any]) -> None:
    """Each metric says so, and no question is forgotten with its error."""
    forgotten: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: forgotten.append(context))
    found = await rounds(plan(metric), Given(away=True), 0, 1)
    assert found.metrics["errors"].last.verdict is Verdict.ERROR
    assert found.age is None
    assert not forgotten


@pytest.mark.parametrize("metric", [LIMITS, SEQUENTIAL], ids=["limits", "judge"])
async def test_a_round_that_is_given_up_gives_its_questions_up(metric: dict[str, Any]) -> None:
    """They would take others' places until their timeout."""
    before = asyncio.all_tasks()
    task = asyncio.create_task(measure(plan(metric), None, Given(hangs=True), AT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
