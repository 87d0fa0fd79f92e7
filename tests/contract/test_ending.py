"""How an operator ends: what it does is finished, the lease is free, and the process is gone within seconds."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from playground.interference import Rule
from tests.contract.stand import Process, Stand, Subject, operating_alone

if TYPE_CHECKING:
    from collections.abc import Iterator


STATUS = Rule(method="PATCH", target="/status", delay=3.0)
_LONGEST = 60


@pytest.fixture
def subject(stand: Stand, request: pytest.FixtureRequest) -> Iterator[Subject]:
    """An operator that has acted once."""
    with operating_alone(stand, request.node.name) as made:
        yield made


def holder(subject: Subject) -> str:
    """Who has the lease."""
    path = f"apis/coordination.k8s.io/v1/namespaces/{subject.name}/leases/modelrollout"
    found = subject.stand.kube.session.get(f"{subject.stand.kube.url}/{path}", timeout=10).json()
    return str(found["spec"].get("holderIdentity") or "")


def wait_until(process: Process, path: str, told: tuple[int, str]) -> None:
    """Until it answers that, or is over."""
    while process.told(path) != told:
        assert process.running.poll() is None, process.log.read_text()[-3000:]
        time.sleep(0.05)


def test_a_signal_lets_the_pass_under_way_end(subject: Subject) -> None:
    """It stops being ready at once, writes what it was about to write, frees the lease and ends with 0."""
    assert holder(subject)
    subject.lane.obey(STATUS)
    subject.stand.wish(subject.name, subject.name, "the last one")
    time.sleep(1)
    subject.process.running.send_signal(signal.SIGTERM)
    wait_until(subject.process, "/readyz", (503, "stopping\n"))
    assert subject.process.told("/livez")[0] == 200
    assert subject.process.running.wait(_LONGEST) == 0
    assert subject.granted() == "the last one"
    assert holder(subject) == ""


def test_what_was_said_is_posted_before_the_end(subject: Subject) -> None:
    """Events that wait for a slow API server are not lost by a signal."""
    subject.lane.obey(Rule(method="POST", target="/events", delay=1.0))
    subject.stand.make_rollout("another", subject.name)
    while not subject.stand.kube.get("Deployment", "another-stable", subject.name):
        time.sleep(0.05)
    subject.process.running.send_signal(signal.SIGTERM)
    assert subject.process.running.wait(_LONGEST) == 0
    events = subject.stand.kube.list("Event", subject.name)
    assert "another" in {event["involvedObject"]["name"] for event in events}


def test_a_second_signal_ends_it_at_once(subject: Subject) -> None:
    """Whoever asks twice does not want to wait for a pass; what that leaves undone is for the next process."""
    subject.lane.obey(STATUS)
    subject.stand.wish(subject.name, subject.name, "never granted")
    time.sleep(1)
    subject.process.running.send_signal(signal.SIGTERM)
    wait_until(subject.process, "/readyz", (503, "stopping\n"))
    subject.process.running.send_signal(signal.SIGINT)
    assert subject.process.running.wait(_LONGEST) == 128 + signal.SIGINT
    assert subject.granted() == "at the start"


def test_it_ends_although_the_api_server_is_away(subject: Subject) -> None:
    """Nothing that cannot be written keeps the process: the lease runs out by itself."""
    subject.lane.obey(Rule(drop=True))
    subject.process.running.send_signal(signal.SIGTERM)
    assert subject.process.running.wait(_LONGEST) == 0
