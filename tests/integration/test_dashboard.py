"""The chart's dashboard on a rollout: every panel has something to show."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import requests

from playground.paths import REPOSITORY
from tests.situations import NEXT, live, start, wait_for_answers

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

DASHBOARD = REPOSITORY / "helm" / "modelrollout" / "files" / "dashboard.json"
LIMIT = 60
BOTH = {"stable", "canary"}


def expressions(here: Scene) -> dict[str, str]:
    """The panels' expressions for this rollout, by the panel's title and the letter of its line."""
    dashboard = json.loads(DASHBOARD.read_text())
    found = {}
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$namespace", here.namespace).replace("$rollout", here.name)
            found[f"{panel['title']} {target['refId']}"] = expression
    return found


def ask(here: Scene, expression: str) -> list[Any]:
    """What the playground's Prometheus says to it."""
    address = here.state.read_info()["prometheus"]
    answer = requests.get(f"{address}/api/v1/query", params={"query": expression}, timeout=10).json()
    assert answer["status"] == "success", answer
    result: list[Any] = answer["data"]["result"]
    return result


def test_every_panel_has_data_while_a_canary_has_traffic(scene: Callable[[str], Scene]) -> None:
    """Each expression of the dashboard, asked as Grafana would, gives at least one series; of errors, both sides'."""
    here = scene("dashboard")
    gpu = {"resource": "nvidia.com/mig-1g.10gb", "count": 1}
    start(here)
    manifest = here.manifest(NEXT, strategy={"steps": [{"weight": 50, "duration": "10m"}]})
    manifest["spec"]["serving"] |= {"gpu": gpu, "replicas": 1}
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(manifest)
        here.wait("weight", live(50), 120)
        empty, sides = expressions(here), set[str]()
        deadline = time.monotonic() + LIMIT
        while (empty or sides != BOTH) and time.monotonic() < deadline:
            time.sleep(1)
            empty = {panel: expression for panel, expression in empty.items() if not ask(here, expression)}
            shares = ask(here, expressions(here)["Share of errors by side A"])
            sides = {series["metric"]["side"] for series in shares}
    assert not empty
    assert sides == BOTH
