"""An alert of Prometheus takes a version back, whatever the metrics say; only one that the object named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.situations import (
    NEXT,
    STABLE,
    ended,
    failures,
    history,
    last_version,
    quick,
    settled,
    start,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene


def _alerted(here: Scene, version: int, **labels: str) -> dict[str, Any]:
    """A manifest whose metric lets everything pass, and which names the playground's alert with these labels."""
    manifest = quick(here, version, drainDuration="1s")
    manifest["spec"]["strategy"]["steps"] = [{"weight": 30, "duration": "30s"}]
    manifest["spec"]["analysis"]["metrics"] = [
        {"name": "latency", "kind": "Latency", "test": "Limits", "window": "3s", "limits": {"max": "30"}}
    ]
    manifest["spec"]["analysis"]["alerts"] = [{"matchLabels": {"alertname": "ModelErrors", **labels}}]
    return manifest


def test_a_firing_alert_takes_the_version_back(scene: Callable[[str], Scene]) -> None:
    """Half of the canary's answers are errors, which no metric looks at: the alert fires, and 101 serves again."""
    here = scene("alert")
    start(here)
    here.misbehave({"versions": {str(NEXT): {"error_rate": 0.5}}})
    with here.traffic(rate=60) as traffic:
        wait_for_answers(traffic)
        here.kube.apply(_alerted(here, NEXT, rollout=here.name))
        status = here.wait("the end", ended(NEXT))
    assert history(status) == [(NEXT, "RolledBack"), (STABLE, "Promoted")]
    assert status["rejected"]["reason"] == "AlertFiring"
    assert "alert ModelErrors (rollout=alert, severity=page) fires" in status["rejected"]["message"]
    assert "ALERTS{" in status["history"][0]["evidence"]
    settled(here, "RolledBack")
    assert last_version(here) == STABLE


def test_an_alert_that_fires_already_is_waited_for(scene: Callable[[str], Scene]) -> None:
    """The stable version answers with errors: the canary gets no traffic; once that is over, it is rolled out."""
    here = scene("alert-before")
    start(here)
    here.misbehave({"versions": {str(STABLE): {"error_rate": 0.5}}})
    with here.traffic(rate=60) as traffic:
        wait_for_answers(traffic, 500)
        manifest = _alerted(here, NEXT, rollout=here.name)
        manifest["spec"]["strategy"]["steps"] = [{"weight": 30, "duration": "2s"}]
        here.kube.apply(manifest)
        status = here.wait("the alert in the message", lambda s: "fires already" in s.get("message", ""))
        assert status["rollout"]["stage"] == "Preparing"
        assert here.weight() == 0
        before = len(traffic.answers())
        here.misbehave({})
        status = here.wait("102 promoted", lambda s: history(s)[:1] == [(NEXT, "Promoted")])
    assert failures(traffic.answers()[:before])


def test_an_alert_that_was_not_named_changes_nothing(scene: Callable[[str], Scene]) -> None:
    """The alert of another rollout fires beside this one, which is promoted."""
    noisy, here = scene("alert-noisy"), scene("alert-quiet")
    start(noisy)
    start(here)
    noisy.misbehave({"versions": {str(STABLE): {"error_rate": 0.5}}})
    manifest = _alerted(here, NEXT, rollout=here.name)
    manifest["spec"]["strategy"]["steps"] = [{"weight": 30, "duration": "5s"}]
    with noisy.traffic(rate=60), here.traffic() as traffic:
        wait_for_answers(traffic)
        here.kube.apply(manifest)
        here.wait("102 promoted", lambda s: history(s)[:1] == [(NEXT, "Promoted")])
    assert not failures(traffic.answers())
