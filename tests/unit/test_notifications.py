"""Notifications: what is sent, to whom, how often it is tried, and that nothing waits for it or tells secrets."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from modelrollout.adapters.notifications import Notice, Notifier, Patience
from modelrollout.core.reasons import Reason
from modelrollout.core.topics import Topic, topic_of
from modelrollout.metrics import NOTIFICATIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from modelrollout.core.values import JSON

ROLLOUT = {"metadata": {"name": "recsys", "namespace": "shop", "uid": "1"}}
AT_ONCE = Patience(attempt=5.0, pauses=(0.0, 0.0))
Became = Callable[[], dict[str, int]]
SECRET = "json://user:very-secret@chat.example.com/hook"


def _results() -> Counter[str]:
    (family,) = NOTIFICATIONS.collect()
    return Counter({each.labels["result"]: int(each.value) for each in family.samples if each.name.endswith("_total")})


@pytest.fixture
def became() -> Became:
    """What became of notices since the test began, by result."""
    before = _results()
    return lambda: dict(_results() - before)


@dataclass
class Heard:
    """`ports.Events`, and the far side of notifications, which refuses or breaks as often as told."""

    refusals: int = 0
    breaks: bool = False
    reasons: list[str] = field(default_factory=list)
    sent: list[tuple[str, Notice]] = field(default_factory=list)

    def emit(self, _rollout: JSON, reason: str, _message: str, _warning: bool) -> None:
        """As the recorder of events."""
        self.reasons.append(reason)

    def send(self, url: str, notice: Notice) -> bool:
        """As apprise."""
        self.sent.append((url, notice))
        if self.breaks:
            raise RuntimeError(f"no route to {url}")
        self.refusals -= 1
        return self.refusals < 0


@asynccontextmanager
async def running(notifier: Notifier) -> AsyncIterator[Notifier]:
    """The notifier at work."""
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
        await notifier.flush()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def notifier(heard: Heard, folder: Path, *urls: str, topics: frozenset[Topic] = frozenset(Topic)) -> Notifier:
    """One that sends to these URLs."""
    (folder / "urls").write_text("\n".join(["# chats", "", *urls]))
    return Notifier(heard, folder / "urls", topics, heard.send, AT_ONCE)


@pytest.mark.parametrize(
    ("reason", "topic"),
    [
        (Reason.ROLLOUT_STARTED, Topic.STARTED),
        (Reason.WAITING_FOR_APPROVAL, Topic.WAITING),
        (Reason.ALERT_FIRING, Topic.ABORTED),
        (Reason.CANARY_NOT_READY, Topic.ABORTED),
        (Reason.PROMOTED, Topic.PROMOTED),
        (Reason.ROUTE_CONFLICT, Topic.STALLED),
        (Reason.WEIGHT_LIVE, None),
        (Reason.ROLLED_BACK, None),
        ("SomethingElse", None),
    ],
)
def test_what_people_are_told_about(reason: str, topic: Topic | None) -> None:
    """Starts, gates, aborts, promotions and stalls; an abort is told when it is decided, not when it is over."""
    assert topic_of(reason) is topic


async def test_each_url_is_told(tmp_path: Path, became: Became) -> None:
    """One notice goes to every line of the file that is neither empty nor a remark; the event is posted as ever."""
    heard = Heard()
    async with running(notifier(heard, tmp_path, "json://one", "json://two")) as subject:
        subject.emit(ROLLOUT, Reason.ANALYSIS_FAILED, "version 102: errors", warning=True)
    notice = Notice("shop/recsys: AnalysisFailed", "version 102: errors", "failure")
    assert sorted(heard.sent, key=str) == [("json://one", notice), ("json://two", notice)]
    assert heard.reasons == [Reason.ANALYSIS_FAILED]
    assert became() == {"sent": 2}


async def test_other_topics_are_left_out(tmp_path: Path) -> None:
    """Who wants to hear of aborts alone hears of aborts alone."""
    heard = Heard()
    async with running(notifier(heard, tmp_path, "json://one", topics=frozenset({Topic.ABORTED}))) as subject:
        subject.emit(ROLLOUT, Reason.PROMOTED, "version 102", warning=False)
        subject.emit(ROLLOUT, Reason.WEIGHT_LIVE, "10 %", warning=False)
    assert heard.sent == []


@pytest.mark.parametrize(("refusals", "tries", "result"), [(0, 1, "sent"), (2, 3, "sent"), (9, 3, "failed")])
async def test_a_delivery_is_tried_again_up_to_a_cap(
    tmp_path: Path, became: Became, refusals: int, tries: int, result: str
) -> None:
    """What was not taken is sent again, so often and no more; what was given up is counted."""
    heard = Heard(refusals)
    async with running(notifier(heard, tmp_path, "json://one")) as subject:
        subject.emit(ROLLOUT, Reason.PROMOTED, "version 102", warning=False)
    assert len(heard.sent) == tries
    assert became() == {result: 1}


async def test_logs_hold_no_secrets(tmp_path: Path) -> None:
    """A target that breaks with its URL in the message is told by its line and scheme."""
    heard = Heard(breaks=True)
    with capture_logs() as lines:
        async with running(notifier(heard, tmp_path, SECRET)) as subject:
            subject.emit(ROLLOUT, Reason.PROMOTED, "version 102", warning=False)
    (line,) = lines
    assert (line["target"], line["problem"]) == ("line 3 (json)", "RuntimeError")
    assert "secret" not in str(lines)


async def test_a_target_that_hangs_delays_nobody(tmp_path: Path, became: Became) -> None:
    """While a delivery hangs, events go on at once; beyond the queue's room notices are dropped and counted."""
    heard, release = Heard(), threading.Event()
    (tmp_path / "urls").write_text("json://one")

    def hang(_url: str, _notice: Notice) -> bool:
        return release.wait(60)

    async with running(Notifier(heard, tmp_path / "urls", frozenset(Topic), hang, AT_ONCE)) as subject:
        await asyncio.sleep(0)
        for _ in range(300):
            subject.emit(ROLLOUT, Reason.PROMOTED, "version 102", warning=False)
        assert len(heard.reasons) == 300
        assert became() == {"dropped": 100}
        release.set()
    assert became() == {"dropped": 100, "sent": 200}


async def test_a_file_that_is_missing_is_counted(tmp_path: Path, became: Became) -> None:
    """A Secret that is not mounted is a failure that is told, not the end of the operator."""
    heard = Heard()
    async with running(Notifier(heard, tmp_path / "none", frozenset(Topic), heard.send, AT_ONCE)) as subject:
        subject.emit(ROLLOUT, Reason.PROMOTED, "version 102", warning=False)
    assert (became(), heard.sent) == ({"failed": 1}, [])


async def test_delivery_through_apprise(tmp_path: Path, unused_tcp_port: int) -> None:
    """A real URL of apprise reaches a real server, with title and text."""
    bodies: list[Any] = []

    async def take(request: web.Request) -> web.Response:
        bodies.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", unused_tcp_port).start()
    (tmp_path / "urls").write_text(f"json://127.0.0.1:{unused_tcp_port}/hook")
    try:
        async with running(Notifier(Heard(), tmp_path / "urls", frozenset(Topic))) as subject:
            subject.emit(ROLLOUT, Reason.PROMOTED, "version 102 passed", warning=False)
    finally:
        await runner.cleanup()
    (body,) = bodies
    assert (body["title"], body["message"], body["type"]) == (
        "shop/recsys: Promoted",
        "version 102 passed",
        "success",
    )
