"""Replicas change while a rollout is under way, by hand or by an autoscaler: a matter of scale, never of revision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.situations import (
    NEXT,
    PHASES,
    STABLE,
    ended,
    failures,
    healthy,
    history,
    last_version,
    quick,
    reach,
    scale,
    serving,
    settled,
    some_often,
    start,
    wait_for_answers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.scene import Scene

ENDS = {"RollingBack": ("RolledBack", STABLE), "RolledBack": ("RolledBack", STABLE)}


def _slug(phase: str) -> str:
    return phase.lower().replace(" ", "-")


def _start(here: Scene, replicas: int) -> None:
    start(here, serving={**here.manifest(STABLE)["spec"]["serving"], "replicas": replicas})


@pytest.mark.parametrize("phase", some_often(PHASES, "Promoting half way"))
def test_more_replicas_by_an_autoscaler(scene: Callable[[str], Scene], phase: str) -> None:
    """In every phase the scale subresource adds stable pods, which end up with the version that serves at the end."""
    here = scene(f"up-{_slug(phase)}")
    few = 2 if phase == "Promoting half way" else 1
    _start(here, few)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, phase, replicas=few)
        before = serving(here)
        scale(here, few + 1)
        status = here.wait("one pod more", lambda s: ended(NEXT)(s) and s["replicas"] == few + 1, 120)
        end, version = ENDS.get(phase, ("Promoted", NEXT))
        settled(here, "Healthy" if end == "Promoted" else end)
    assert history(status) == [(NEXT, end), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    assert len(serving(here)) == few + 1
    assert set(before) <= set(serving(here))
    assert last_version(here) == version


@pytest.mark.parametrize("phase", some_often(PHASES, "step 1"))
def test_fewer_replicas(scene: Callable[[str], Scene], phase: str) -> None:
    """In every phase `spec` may ask for fewer stable pods; the rollout comes to its end with those that stay."""
    here = scene(f"down-{_slug(phase)}")
    _start(here, 2)
    with here.traffic() as traffic:
        wait_for_answers(traffic)
        reach(here, phase)
        before = serving(here)
        here.kube.apply(quick(here, NEXT, replicas=1))
        status = here.wait("one pod", lambda s: ended(NEXT)(s) and s["replicas"] == 1, 120)
        end, version = ENDS.get(phase, ("Promoted", NEXT))
        settled(here, "Healthy" if end == "Promoted" else end)
    assert history(status) == [(NEXT, end), (STABLE, "Promoted")]
    assert not failures(traffic.answers())
    assert len(serving(here)) == 1
    assert set(serving(here)) <= set(before)
    assert last_version(here) == version


def test_scale_subresource_counts_stable_pods_alone(scene: Callable[[str], Scene]) -> None:
    """An autoscaler sees the stable pods and their selector, not the canary's; scaling starts no rollout."""
    here = scene("scale")
    _start(here, 1)
    url = f"{here.kube.url}/apis/modelrollout.io/v1alpha1/namespaces/default/modelrollouts/scale/scale"
    reach(here, "step 1", replicas=1)
    seen = here.kube.session.get(url, timeout=10).json()
    assert (seen["spec"]["replicas"], seen["status"]["replicas"]) == (1, 1)
    assert {pod["metadata"]["name"] for pod in here.kube.list("Pod", labelSelector=seen["status"]["selector"])} == set(
        serving(here)
    )
    here.wait("the end", lambda s: ended(NEXT)(s) and healthy(s), 120)
    scale(here, 2)
    here.wait("two pods", lambda s: healthy(s) and s["replicas"] == 2)
    assert [entry["attempt"] for entry in settled(here)["history"]] == [2, 1]
