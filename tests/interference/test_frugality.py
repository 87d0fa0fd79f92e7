"""How much an operator writes while something happens: only what has changed."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import requests

from playground.kube import Kube
from tests.situations import NEXT, ended, outcome, start, wait_for_answers
from tests.witness import now

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene
    from tests.interference.conftest import Staged

STATUS = "modelrollouts/status"


def test_a_good_rollout_writes_only_what_changed(staged: Callable[[str], Staged]) -> None:
    """Every write of a rollout's status says something new, and there are few writes of each kind."""
    stand = staged("frugal")
    here = stand.here
    start(here)
    statuses: list[dict[str, Any]] = []
    threading.Thread(target=_follow, args=(here, statuses), daemon=True).start()
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        time.sleep(5)  # what the first version still settles
        since = now()
        here.kube.apply(here.manifest(NEXT))
        status = here.wait("the end", ended(NEXT), 150)
        time.sleep(5)
    assert outcome(status, NEXT) == "Promoted", status
    counted = stand.lane.written(since)
    told = [one for number, one in enumerate(statuses) if number and one != statuses[number - 1]]
    assert counted[STATUS] <= len(told)
    assert counted[STATUS] <= 40
    assert counted["httproutes"] == 3
    assert counted["deployments"] <= 3
    assert counted["configmaps"] <= 4
    assert counted["controllerrevisions"] <= 2
    assert counted["events"] <= 11  # two of them if Prometheus had yet to read the canary when its weight was live
    assert set(counted) <= {STATUS, "httproutes", "deployments", "configmaps", "controllerrevisions", "events"}


def test_a_new_process_writes_nothing(staged: Callable[[str], Staged]) -> None:
    """It finds everything as it should be: the operator's own upgrade is no storm of writes."""
    stand = staged("restarted")
    start(stand.here)
    time.sleep(5)  # what the first version still settles
    since = now()
    stand.operator.kill()
    while stand.operator.starts < 2:
        time.sleep(0.2)
    time.sleep(12)  # it has listed everything by then, and asked the model servers
    assert not stand.lane.written(since)


def _follow(here: Scene, statuses: list[dict[str, Any]]) -> None:
    """Note every status that the object has from now on, until its watch ends."""
    kube = Kube.connect(here.state.host_kubeconfig)
    with suppress(requests.RequestException):  # the playground may go before this thread does
        statuses.extend(item.get("status", {}) for item in kube.watch("ModelRollout", here.name, here.namespace))
