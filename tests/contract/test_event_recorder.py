"""Events on a real API server: what people see of many, and how many there may be."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from modelrollout.adapters.clock import SystemClock
from modelrollout.adapters.events import EventRecorder
from modelrollout.resources import EVENTS
from tests.contract.test_cluster import client, kubeconfig, rollout

if TYPE_CHECKING:
    from modelrollout.adapters.kube import KubeClient

__all__ = ["client", "kubeconfig", "rollout"]


async def test_an_event_that_repeats_is_counted_up(client: KubeClient, rollout: dict[str, Any]) -> None:
    """People see one line with a count, and a changed message as a line of its own."""
    recorder = EventRecorder(client, SystemClock())
    task = asyncio.create_task(recorder.run())
    for message in ("same", "same", "same", "other", "long" * 1000):
        recorder.emit(rollout, "Tested", message, warning=message == "other")
    await recorder.flush()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = await client.list(EVENTS, "default", fields=f"involvedObject.uid={rollout['metadata']['uid']}")
    told = {(event["message"][:8], event["type"], event["count"]) for event in found.items}
    assert told == {("same", "Normal", 3), ("other", "Warning", 1), ("longlong", "Normal", 1)}


async def test_an_object_has_a_budget_of_events(client: KubeClient, rollout: dict[str, Any]) -> None:
    """Whatever goes round in circles cannot flood the API server."""

    class Stopped:
        def now(self) -> datetime:
            """Always the same moment."""
            return datetime(2026, 1, 1, tzinfo=UTC)

    recorder = EventRecorder(client, Stopped())
    task = asyncio.create_task(recorder.run())
    for number in range(60):
        recorder.emit(rollout, "Tested", f"message {number}", warning=False)
    await recorder.flush()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    found = await client.list(EVENTS, "default", fields=f"involvedObject.uid={rollout['metadata']['uid']}")
    assert len(found.items) == 25
