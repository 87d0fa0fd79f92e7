"""Alertmanager calls a running operator: the version is out of the traffic before Prometheus would be asked again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from playground import box
from playground.interference import Operator
from tests.interference.conftest import ALONE
from tests.situations import NEXT, STABLE, ended, history, live, start, wait_for_answers
from tests.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene
    from tests.interference.conftest import Unled

ADDRESS = "127.0.0.1:9494"
TOKEN = "only-alertmanager-knows"
_CALL = """
import json, sys, time, urllib.error, urllib.request
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
headers = {"Authorization": f"Bearer {sys.argv[2]}", "Content-Type": "application/json"}
request = urllib.request.Request(sys.argv[1], sys.stdin.buffer.read(), headers)
sent = time.time()
try:
    with direct.open(request, timeout=10) as response:
        print(json.dumps([response.status, sent, json.load(response)]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, sent, {}]))
"""
"""Sends what it reads; prints the status of the answer, when it was asked, and what was said."""


def call(here: Scene, token: str, **labels: str) -> tuple[int, float, dict[str, Any]]:
    """What Alertmanager would send about an alert that fires with these labels."""
    alert = {"status": "firing", "labels": labels, "fingerprint": "f1", "startsAt": "2026-01-01T00:00:00Z"}
    argv = [sys.executable, "-c", _CALL, f"http://{ADDRESS}/alertmanager", token]
    body = json.dumps({"version": "4", "status": "firing", "alerts": [alert]})
    done = subprocess.run(box.enter(here.state, argv), input=body, check=True, capture_output=True, text=True)
    status, sent, answer = json.loads(done.stdout)
    return status, sent, answer


def asked_of_prometheus_seldom(here: Scene) -> dict[str, Any]:
    """Version 102 in a long step, with a named alert that the next poll would be a minute late for."""
    analysis = {
        **here.manifest(NEXT)["spec"]["analysis"],
        "interval": "60s",
        "alerts": [{"matchLabels": {"alertname": "Complaints"}}],
    }
    strategy = {**here.manifest(NEXT)["spec"]["strategy"], "steps": [{"weight": 30, "duration": "10m"}]}
    return here.manifest(NEXT, analysis=analysis, strategy=strategy)


def test_a_call_takes_the_version_back(
    unled: Callable[[str], Unled], record_property: Callable[[str, object], None]
) -> None:
    """Weight 0 follows the call; strangers, other namespaces and alerts that nobody named change nothing."""
    stand = unled("webhook")
    here, token_file = stand.here, stand.lane.folder / "webhook.token"
    token_file.write_text(f"{TOKEN}\n")
    flags = ("--namespace", here.name, ALONE, "--alerts-address", ADDRESS, "--alerts-token-file", str(token_file))
    with Operator(here.state, stand.lane, *flags):
        start(here)
        with Witness(here) as witness, here.traffic() as traffic:
            wait_for_answers(traffic)
            here.kube.apply(asked_of_prometheus_seldom(here))
            here.wait("the step", live(30))
            alert = {"alertname": "Complaints", "namespace": here.namespace}
            assert call(here, "somebody-else", **alert)[0] == 401
            assert call(here, TOKEN, **{**alert, "namespace": "another"})[::2] == (200, {"firing": 1, "matched": 0})
            assert call(here, TOKEN, **{**alert, "alertname": "Another"})[::2] == (200, {"firing": 1, "matched": 0})
            assert here.weight() == 30
            status, sent, answer = call(here, TOKEN, **alert)
            assert (status, answer) == (200, {"firing": 1, "matched": 1})
            end = here.wait("the end", ended(NEXT))
    zero = min(entry.time for entry in stand.lane.writes() if entry.kind == "httproutes" and entry.time > sent)
    record_property("seconds from the call to the write of weight 0", round(zero - sent, 3))
    assert witness.walk()[-2:] == [30, 0]
    assert history(end)[:2] == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert end["rejected"]["reason"] == "AlertFiring"
    assert "alert Complaints" in end["rejected"]["message"]
