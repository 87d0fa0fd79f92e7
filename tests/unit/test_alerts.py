"""Alerts take a canary back: what is asked, what an answer leads to, and Alertmanager's calls."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from modelrollout.alerting import PATH, AlertBoard, alert_receiver
from modelrollout.core.alerts import Alert, concerns, firing_query, measured, unheard
from modelrollout.core.analysis import ALERTS, MetricState, Verdict
from modelrollout.core.decide import decide
from modelrollout.core.reasons import Reason
from modelrollout.core.spec_json import parse_spec
from modelrollout.core.status import Stage
from modelrollout.ports import Key
from tests.builders import NOW, WITH_CANARY, analysed, progressing, raw_spec, rollout, route, snapshot
from tests.deciding import BAKING, HALF, decided, weight_first

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from modelrollout.core.analysis import Measurement
    from modelrollout.core.snapshot import Snapshot
    from modelrollout.core.status import Rollout
    from modelrollout.core.values import JSON

PAGE = {"alertname": "FewerClicks", "namespace": "default", "severity": "page"}
TOKEN = "secret"
FIRES = measured("ALERTS", [Alert(PAGE)])
QUIET = measured("ALERTS", [])
UNKNOWN = unheard("ALERTS", "no answer")
SPEC = raw_spec(analysis={**raw_spec()["analysis"], "alerts": [{"matchLabels": {"severity": "page"}}]})


def saying(given: Snapshot, said: Measurement) -> Snapshot:
    """The situation, in an object that names alerts, after a look at them."""
    under_way = given.status.rollout
    assert under_way is not None
    known = given.analysed or analysed(under_way, Verdict.PASS)
    metrics = {**known.metrics, ALERTS: MetricState(said, 0, said.verdict, 2)}
    return replace(given, spec=parse_spec(SPEC, "recsys"), analysed=replace(known, metrics=metrics))


def in_stage(stage: Stage, **fields: Any) -> Snapshot:
    """Far enough in a stage for the next one, were it not for alerts."""
    under_way: Rollout = rollout(stage, step=0 if stage is Stage.PREPARING else 2, since=timedelta(minutes=5), **fields)
    pods = {Stage.PREPARING: WITH_CANARY, Stage.PROMOTING: HALF, Stage.BAKING: BAKING}[stage]
    return snapshot(under_way, pods=pods, route=route(50 if stage is Stage.PROMOTING else 0))


def test_the_question_names_only_alerts_of_the_namespace() -> None:
    """Whatever labels are asked for, only firing alerts of the object's own namespace are looked for."""
    asked = firing_query("shop", [{"severity": "page"}, {"alertname": 'a"b', "namespace": "other"}])
    assert asked == (
        'ALERTS{severity="page",alertstate="firing",namespace="shop"}'
        ' or ALERTS{alertname="a\\"b",namespace="shop",alertstate="firing"}'
    )
    assert firing_query("shop", []) == ""


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (PAGE, True),
        ({**PAGE, "severity": "ticket"}, False),
        ({**PAGE, "namespace": "elsewhere"}, False),
        ({"alertname": "FewerClicks", "severity": "page"}, False),
    ],
    ids=["named", "other labels", "other namespace", "no namespace"],
)
def test_which_alerts_concern_an_object(labels: dict[str, str], expected: bool) -> None:
    """An alert is an object's own when it has the labels that it names, and its namespace."""
    assert concerns({"metadata": {"namespace": "default"}, "spec": SPEC}, labels) is expected


@pytest.mark.parametrize(
    "given",
    [
        progressing(Verdict.PASS, timedelta(seconds=20)),
        progressing(Verdict.PASS, timedelta(seconds=20), step=2),
        in_stage(Stage.PROMOTING),
    ],
    ids=["step 1", "step 2", "promoting"],
)
def test_a_firing_alert_takes_the_weight_to_0_in_that_pass(given: Snapshot) -> None:
    """The write of weight 0 is the first of the pass, and the evidence names the alert."""
    decision = decide(saying(given, FIRES))
    after = decision.status.rollout
    assert weight_first(decision) == 0
    assert after is not None
    assert after.end is not None
    assert (after.stage, after.end.reason) == (Stage.ROLLING_BACK, Reason.ALERT_FIRING)
    assert after.end.message == "alert FewerClicks (severity=page) fires"
    assert "query ALERTS" in after.end.evidence


def test_a_firing_alert_ends_the_bake() -> None:
    """While the version before is still loaded, an alert takes everything back to it."""
    assert decided(saying(in_stage(Stage.BAKING), FIRES)).stage is Stage.ROLLING_BACK


def test_the_fast_path_goes_on_while_alerts_fire() -> None:
    """Whoever goes back to an earlier version may do it because of the alert."""
    under_way = rollout(Stage.PROMOTING, steps=())
    given = snapshot(under_way, pods=HALF[:2], analysed=analysed(under_way, Verdict.PASS))
    assert decided(saying(given, FIRES)).stage is Stage.PROMOTING


@pytest.mark.parametrize(
    ("said", "stage", "words"),
    [
        (FIRES, Stage.PREPARING, "alert FewerClicks (severity=page) fires already"),
        (UNKNOWN, Stage.PREPARING, "Error: no answer"),
        (QUIET, Stage.PROGRESSING, ""),
    ],
    ids=["fires", "not known", "quiet"],
)
def test_an_alert_that_fires_already_keeps_the_canary_from_traffic(said: Measurement, stage: Stage, words: str) -> None:
    """It is no fault of the new version: nothing is rejected, and the rollout begins once it is over."""
    decision = decide(saying(in_stage(Stage.PREPARING, fits=True), said))
    assert decision.status.rollout is not None
    assert decision.status.rollout.stage is stage
    assert words in decision.status.story.message


def test_before_the_first_look_nothing_begins() -> None:
    """An alert that may fire already is waited for."""
    given = replace(in_stage(Stage.PREPARING, fits=True), spec=parse_spec(SPEC, "recsys"))
    assert decided(given).stage is Stage.PREPARING


def test_no_step_ends_while_nothing_is_known_of_alerts() -> None:
    """No answer is not a bad answer, and no good one either."""
    given = saying(progressing(Verdict.PASS, timedelta(minutes=5)), UNKNOWN)
    assert (decided(given).stage, decided(given).step) == (Stage.PROGRESSING, 1)


@pytest.mark.parametrize(("ago", "stage"), [(10, Stage.ROLLING_BACK), (30, Stage.PROGRESSING)], ids=["since", "before"])
def test_a_call_counts_for_the_stage_it_came_in(ago: int, stage: Stage) -> None:
    """What Alertmanager called about before the canary had traffic is not its fault."""
    heard = Alert(PAGE, NOW - timedelta(seconds=ago))
    given = saying(progressing(Verdict.PASS, timedelta(seconds=20)), QUIET)
    assert decided(replace(given, alerts=(heard,))).stage is stage


class Cluster:
    """One ModelRollout that names alerts; its clock, and who is woken."""

    def __init__(self) -> None:
        self.key, self.woken, self.leads = Key("default", "recsys"), list[Key](), True

    def rollouts(self) -> Iterable[Key]:
        """As the cache."""
        return [self.key, Key("elsewhere", "recsys")]

    def rollout(self, key: Key) -> JSON | None:
        """As the cache."""
        return {"metadata": {"name": key.name, "namespace": key.namespace}, "spec": SPEC}

    def now(self) -> Any:
        """As a clock."""
        return NOW

    def wake(self, key: Key, *, urgent: bool = False) -> None:
        """As the work queue: an alert is always urgent."""
        assert urgent
        self.woken.append(key)


def call(*alerts: dict[str, Any]) -> dict[str, Any]:
    """The body of a call."""
    return {"version": "4", "groupKey": "x", "status": "firing", "receiver": "modelrollout", "alerts": list(alerts)}


def alert(status: str = "firing", started: str = "2026-01-01T12:00:00Z", **labels: str) -> dict[str, Any]:
    """One alert of a call."""
    return {"status": status, "labels": {**PAGE, **labels}, "startsAt": started, "fingerprint": "f00"}


@asynccontextmanager
async def receiving(folder: Path, port: int) -> AsyncIterator[tuple[AlertBoard, Cluster]]:
    """A receiver with its token in a file."""
    cluster, token = Cluster(), folder / "token"
    token.write_text(f"{TOKEN}\n")
    board = AlertBoard(cluster, cluster, cluster.wake)
    async with alert_receiver(("127.0.0.1", port), token, board, lambda: cluster.leads):
        yield board, cluster


async def post(port: int, body: Any, token: str = TOKEN) -> int:
    """Call as Alertmanager does; the status of the answer."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}{PATH}", data=json.dumps(body), headers=headers) as answer,
    ):
        return answer.status


async def test_a_call_wakes_the_objects_that_named_the_alert(tmp_path: Path, unused_tcp_port: int) -> None:
    """The object of that namespace gets the alert as evidence and a pass at once."""
    async with receiving(tmp_path, unused_tcp_port) as (board, cluster):
        assert await post(unused_tcp_port, call(alert())) == 200
        assert cluster.woken == [cluster.key]
        assert board.told(cluster.key) == (Alert(PAGE, NOW),)


@pytest.mark.parametrize(
    "body",
    [call(alert("resolved")), call(alert(severity="ticket")), call(alert(namespace="third")), call()],
    ids=["resolved", "not named", "another namespace", "none"],
)
async def test_calls_that_concern_nobody(tmp_path: Path, unused_tcp_port: int, body: Any) -> None:
    """They are answered with 200, or they would come again, and lead to nothing."""
    async with receiving(tmp_path, unused_tcp_port) as (board, cluster):
        assert await post(unused_tcp_port, body) == 200
        assert (board.told(cluster.key), cluster.woken) == ((), [])


async def test_a_repeated_call_is_no_news(tmp_path: Path, unused_tcp_port: int) -> None:
    """Alertmanager repeats itself; only another start of the alert is another alert."""
    async with receiving(tmp_path, unused_tcp_port) as (board, cluster):
        for body in (call(alert()), call(alert()), call(alert(started="2026-01-01T13:00:00Z"))):
            assert await post(unused_tcp_port, body) == 200
        assert len(board.told(cluster.key)) == 2
        assert len(cluster.woken) == 2


@pytest.mark.parametrize(
    ("body", "token", "status"),
    [(call(alert()), "guess", 401), ({"version": "5", "alerts": []}, TOKEN, 400), (["x"], TOKEN, 400)],
    ids=["wrong token", "another version", "something else"],
)
async def test_calls_that_are_refused(tmp_path: Path, unused_tcp_port: int, body: Any, token: str, status: int) -> None:
    """Nobody without the token is listened to, and what is not understood is told so."""
    async with receiving(tmp_path, unused_tcp_port) as (board, cluster):
        assert await post(unused_tcp_port, body, token) == status
        assert board.told(cluster.key) == ()


async def test_only_the_leader_listens(tmp_path: Path, unused_tcp_port: int) -> None:
    """A process that only waits for its turn sends the caller away, who asks again."""
    async with receiving(tmp_path, unused_tcp_port) as (board, cluster):
        cluster.leads = False
        assert await post(unused_tcp_port, call(alert())) == 503
        assert board.told(cluster.key) == ()
