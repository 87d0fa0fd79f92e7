"""Kubernetes events for people: implements `ports.Events`. Posted by a task in the background that `__main__` runs.

An event that repeats is counted up instead of posted again, and each object has a budget, so that nothing that goes
round in circles can flood the API server.
"""

import asyncio
import socket
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import uuid4

import structlog

from modelrollout.adapters.kube import KubeClient, NotFound
from modelrollout.core.names import ANNOTATION_TRACE, MANAGER
from modelrollout.core.values import JSON
from modelrollout.errors import OperatorError
from modelrollout.ports import Clock
from modelrollout.resources import EVENTS, ROLLOUTS
from modelrollout.tracing import trace_id

_REPORTER = "modelrollout.io/operator"
_LONGEST_MESSAGE = 1024
_WAITING = 1000
_REMEMBERED = 4096
_BURST = 25
_REFILL_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class _Id(NamedTuple):
    """What makes two events the same."""

    uid: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _Posted:
    """An event that the API server has."""

    namespace: str
    name: str
    count: int


@dataclass(slots=True)
class _Budget:
    """How many more writes an object has, and since when it was last topped up."""

    tokens: float
    at: datetime


class EventRecorder:
    """Takes events at any time; writes them one after another."""

    def __init__(self, client: KubeClient, clock: Clock) -> None:
        """Nothing is written before `run` runs."""
        self._client = client
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[_Id, dict[str, Any]]] = asyncio.Queue(_WAITING)
        self._posted: OrderedDict[_Id, _Posted] = OrderedDict()
        self._budgets: OrderedDict[str, _Budget] = OrderedDict()

    def emit(self, rollout: JSON, reason: str, message: str, warning: bool) -> None:
        """Post an event about the ModelRollout, or count it up when it repeats. Dropped when too many wait."""
        event = self._event(rollout["metadata"], reason, message, warning)
        try:
            self._waiting.put_nowait((_Id(rollout["metadata"]["uid"], reason, event["message"]), event))
        except asyncio.QueueFull:
            _log.warning("event dropped, too many wait", reason=reason)

    async def run(self) -> None:
        """Write events for ever."""
        while True:
            identity, event = await self._waiting.get()
            try:
                if self._affordable(identity.uid):
                    await self._write(identity, event)
            except OperatorError as error:
                _log.warning("event not written", reason=identity.reason, error=str(error))
            finally:
                self._waiting.task_done()

    async def flush(self) -> None:
        """Wait until everything that was emitted so far is written or given up."""
        await self._waiting.join()

    async def _write(self, identity: _Id, event: dict[str, Any]) -> None:
        known = self._posted.get(identity)
        if known is not None:
            known = await self._count_up(known, event)
        if known is None:
            namespace = event["metadata"]["namespace"]
            made = await self._client.create(EVENTS, namespace, event)
            known = _Posted(namespace, made["metadata"]["name"], 1)
        self._posted[identity] = known
        self._posted.move_to_end(identity)
        if len(self._posted) > _REMEMBERED:
            self._posted.popitem(last=False)

    async def _count_up(self, known: _Posted, event: dict[str, Any]) -> _Posted | None:
        """The event with one more; None when the API server has forgotten it (it keeps events for an hour)."""
        more = replace(known, count=known.count + 1)
        patch = {"count": more.count, "lastTimestamp": event["lastTimestamp"]}
        try:
            await self._client.merge_patch(EVENTS, known.namespace, known.name, patch)
        except NotFound:
            return None
        return more

    def _affordable(self, uid: str) -> bool:
        now = self._clock.now()
        budget = self._budgets.setdefault(uid, _Budget(_BURST, now))
        self._budgets.move_to_end(uid)
        if len(self._budgets) > _REMEMBERED:
            self._budgets.popitem(last=False)
        gained = max(0.0, (now - budget.at).total_seconds()) / _REFILL_SECONDS
        budget.tokens, budget.at = min(_BURST, budget.tokens + gained), now
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        return True

    def _event(self, metadata: JSON, reason: str, message: str, warning: bool) -> dict[str, Any]:
        stamp = self._clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        about = {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion") if key in metadata}
        return {
            "metadata": {
                "name": f"{metadata['name']}.{uuid4().hex}",
                "namespace": metadata["namespace"],
                **({"annotations": {ANNOTATION_TRACE: trace}} if (trace := trace_id()) else {}),
            },
            "involvedObject": {"apiVersion": ROLLOUTS.api_version, "kind": ROLLOUTS.kind, **about},
            "reason": reason,
            "message": _one_line(message),
            "type": "Warning" if warning else "Normal",
            "count": 1,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "source": {"component": MANAGER},
            "reportingComponent": _REPORTER,
            "reportingInstance": socket.gethostname()[:128],
        }


def _one_line(text: str) -> str:
    """As long as the API server takes it: what model servers say has several lines."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_MESSAGE else line[: _LONGEST_MESSAGE - 3] + "..."
