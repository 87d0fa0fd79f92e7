"""Events as people see them: through the real kubectl, in the order in which things happened last."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
import yaml

from modelrollout.adapters.clock import SystemClock
from modelrollout.adapters.credentials import Credentials
from modelrollout.adapters.events import EventRecorder
from modelrollout.adapters.kube import connect
from modelrollout.core.reasons import Reason
from tests.golden.kubectl import Kubectl
from tests.golden.kubectl import connect as kubectl_for

if TYPE_CHECKING:
    from datetime import datetime

    from tests.contract.conftest import Rollouts

_EXAMPLE = Path(__file__).parents[2] / "examples" / "smallest.yaml"
_HAPPENED = (
    (Reason.ROLLOUT_STARTED, "attempt 2: version 102", False),
    (Reason.ROUTE_OVERWRITTEN, "argocd-controller changed HTTPRoute recsys;\n  it was written back", True),
    (Reason.WEIGHT_LIVE, "step 1/2: 10 % is live", False),
    (Reason.ROUTE_OVERWRITTEN, "argocd-controller changed HTTPRoute recsys; it was written back", True),
)


class Minutes:
    """A clock on which a minute passes with each look, so that the last look was just now."""

    def __init__(self, looks: int) -> None:
        self._next = SystemClock().now() - timedelta(minutes=looks)

    def now(self) -> datetime:
        """The time."""
        self._next += timedelta(minutes=1)
        return self._next


@pytest.fixture(scope="module")
def kubectl(rollouts: Rollouts, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """The real one, for the API server of these tests."""
    return kubectl_for(rollouts, tmp_path_factory.mktemp("kubectl"))


@pytest.fixture(scope="module")
def told(rollouts: Rollouts, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An object to which something happened, one thing twice; its events are posted."""
    manifest = yaml.safe_load(_EXAMPLE.read_text())
    manifest["metadata"]["name"] = f"told-{uuid4().hex[:8]}"
    made: dict[str, Any] = rollouts.create(manifest, dry_run=False)
    folder = tmp_path_factory.mktemp("operator")
    kubectl_for(rollouts, folder)
    asyncio.run(_emit(str(folder / "kubeconfig"), made))
    return made


async def _emit(kubeconfig: str, made: dict[str, Any]) -> None:
    credentials = Credentials(kubeconfig)
    await credentials.load()
    async with connect(credentials) as client:
        # The recorder looks at its clock twice for each event: what time it is, and whether it may be posted.
        recorder = EventRecorder(client, Minutes(2 * len(_HAPPENED)))
        for reason, message, warning in _HAPPENED:
            recorder.emit(made, reason, message, warning=warning)
        posting = asyncio.create_task(recorder.run())
        await recorder.flush()
        posting.cancel()


def test_events_are_sorted_by_when_they_last_happened(kubectl: Kubectl, told: dict[str, Any]) -> None:
    """What happened again comes last, counted, however long ago it first happened."""
    about = f"involvedObject.name={told['metadata']['name']}"
    shown = kubectl("get", "events", "--sort-by=.lastTimestamp", f"--field-selector={about}", "--no-headers")
    assert [line.split()[2] for line in shown.splitlines()] == ["RolloutStarted", "WeightLive", "RouteOverwritten"]


def test_describe_shows_each_event_in_one_line(kubectl: Kubectl, told: dict[str, Any]) -> None:
    """With its type, how often it happened, and who says it; lines of others do not break the table."""
    shown = kubectl("describe", "mro", told["metadata"]["name"])
    lines = [line.split() for line in shown.partition("Events:")[2].splitlines()[3:]]
    assert [line[:2] for line in lines] == [
        ["Normal", "RolloutStarted"],
        ["Normal", "WeightLive"],
        ["Warning", "RouteOverwritten"],
    ]
    assert "(x2" in lines[-1]
    assert all("modelrollout" in line for line in lines)
    assert " ".join(lines[-1]).endswith("argocd-controller changed HTTPRoute recsys; it was written back")
