"""Alertmanager's calls: a webhook receiver, and the board where reconciling finds what it was told.

`process` serves it when an address is set. Polling Prometheus goes on beside it: a call makes an abort quicker, and
what a killed process had heard is asked for again (docs/design.md, "Alerts").
"""

import hmac
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog
from aiohttp import web

from modelrollout.core.alerts import NAMESPACE, Alert, concerns
from modelrollout.core.values import JSON
from modelrollout.ports import Clock, Key, Wake
from modelrollout.webserver import served

PATH = "/alertmanager"
_BIGGEST = 1024 * 1024
_REMEMBERED = 10_000
_VERSION = "4"

log = structlog.get_logger(__name__)


class Rollouts(Protocol):
    """Every ModelRollout as the watches last showed it."""

    def rollouts(self) -> Iterable[Key]:
        """Which there are."""
        ...

    def rollout(self, key: Key) -> JSON | None:
        """One of them."""
        ...


@dataclass(slots=True)
class AlertBoard:
    """Alerts by the ModelRollout that named them. A repeated call about the same firing is no news."""

    rollouts: Rollouts
    clock: Clock
    wake: Wake
    _heard: OrderedDict[tuple[Key, str, str], Alert] = field(default_factory=OrderedDict)
    _of: dict[Key, list[Alert]] = field(default_factory=dict)

    def told(self, key: Key) -> tuple[Alert, ...]:
        """What was heard about alerts of an object, the first first."""
        return tuple(self._of.get(key, ()))

    def hear(self, labels: Mapping[str, str], fingerprint: str, started: str) -> int:
        """Note an alert that fires for every object that named it; how many those are."""
        named = [key for key in self.rollouts.rollouts() if key.namespace == labels.get(NAMESPACE)]
        matching = [key for key in named if (raw := self.rollouts.rollout(key)) and concerns(raw, labels)]
        for key in matching:
            if (key, fingerprint, started) not in self._heard:
                self._note((key, fingerprint, started), Alert(dict(labels), self.clock.now()))
        return len(matching)

    def _note(self, which: tuple[Key, str, str], alert: Alert) -> None:
        log.info("alert", rollout=which[0], alert=str(alert))
        self._heard[which] = alert
        self._of.setdefault(which[0], []).append(alert)
        if len(self._heard) > _REMEMBERED:
            (key, *_), oldest = self._heard.popitem(last=False)
            self._of[key].remove(oldest)
        self.wake(which[0], urgent=True)


@asynccontextmanager
async def alert_receiver(
    address: tuple[str, int] | None, token_file: Path | None, board: AlertBoard, leads: Callable[[], bool]
) -> AsyncIterator[None]:
    """Serve `POST /alertmanager` while inside, for callers that bear the token; nothing without an address.

    A process that does not lead answers 503, upon which Alertmanager asks again.
    """
    if address is None or token_file is None:
        yield
        return
    app = web.Application(client_max_size=_BIGGEST)
    app.router.add_post(PATH, _Receiver(token_file, board, leads).answer)
    async with served(app, address):
        yield


@dataclass(frozen=True, slots=True)
class _Receiver:
    """Answers calls. The token is read anew for each: a mounted Secret may change."""

    token_file: Path
    board: AlertBoard
    leads: Callable[[], bool]

    async def answer(self, request: web.Request) -> web.Response:
        """200 for what was understood, whoever it concerns: Alertmanager would only send it again."""
        if not self._admits(request.headers.get("Authorization", "")):
            return web.Response(status=401, text="the bearer token is not the one in the token file\n")
        if not self.leads():
            return web.Response(status=503, text="another operator leads\n")
        try:
            firing = list(_firing(await request.json()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return web.Response(status=400, text=f"not a call of Alertmanager's webhook, version 4: {error!r}\n")
        count = sum(self.board.hear(labels, fingerprint, started) for labels, fingerprint, started in firing)
        return web.json_response({"firing": len(firing), "matched": count})

    def _admits(self, header: str) -> bool:
        try:
            token = self.token_file.read_text().strip()
        except OSError as error:
            log.warning("the token of the alert receiver cannot be read", error=error.strerror)
            return False
        return bool(token) and hmac.compare_digest(header.encode(), f"Bearer {token}".encode())


def _firing(body: Any) -> Iterator[tuple[dict[str, str], str, str]]:
    """Labels, fingerprint and start of those alerts of a call that fire."""
    if body["version"] != _VERSION:
        raise ValueError(f"version {body['version']!r}")
    for alert in body["alerts"]:
        labels = {str(name): str(value) for name, value in alert["labels"].items()}
        if alert["status"] == "firing":
            yield labels, str(alert["fingerprint"]), str(alert["startsAt"])
