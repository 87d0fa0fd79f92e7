"""What a rollout's status says, and how its users fare: the words of the tests on the real parts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from playground.load import Answer
    from playground.scene import Scene, Traffic

STABLE, NEXT = 101, 102


def healthy(status: dict[str, Any]) -> bool:
    """The rollout is settled and all stable pods answer."""
    return status.get("phase") == "Healthy"


def ended(version: int) -> Callable[[dict[str, Any]], bool]:
    """The rollout of a version is over."""
    return lambda status: "rollout" not in status and outcome(status, version) is not None


def outcome(status: dict[str, Any], version: int) -> str | None:
    """How the last rollout of a version ended."""
    return next((e["outcome"] for e in status.get("history", ()) if e["version"] == version), None)


def stage(name: str) -> Callable[[dict[str, Any]], bool]:
    """The rollout is in this stage."""
    return lambda status: status.get("rollout", {}).get("stage") == name


def live(weight: int) -> Callable[[dict[str, Any]], bool]:
    """This weight is live."""
    return lambda status: status.get("rollout", {}).get("weightLive") == weight


def start(scene: Scene, **spec: Any) -> None:
    """Version 101 serves, 102 is published."""
    scene.publish(STABLE, NEXT)
    scene.kube.apply(scene.manifest(STABLE, **spec))
    scene.wait("the first version serving", healthy)


def wait_for_answers(traffic: Traffic, count: int = 100) -> None:
    """Users have been answered."""
    while len(traffic.answers()) < count:
        time.sleep(0.1)


def failures(answers: list[Answer]) -> list[Answer]:
    """Answers that were no right answers."""
    return [answer for answer in answers if answer.error]


def containers(scene: Scene) -> set[tuple[str, int]]:
    """Stable pods with their restarts: the same before and after a promotion."""
    return {
        (pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"]) for pod in scene.pods("stable")
    }


def last_version(scene: Scene) -> int | None:
    """Who answers now."""
    with scene.traffic(rate=20) as traffic:
        wait_for_answers(traffic, 10)
    versions = {answer.version for answer in traffic.answers()}
    assert len(versions) == 1, versions
    return versions.pop()
