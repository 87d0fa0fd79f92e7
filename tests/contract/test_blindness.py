"""Whatever the API server and the way to it do, an operator sees and acts again within seconds, as the same process.

docs/design.md, "The process", promises 15 s. On a busy machine it may take longer: these tests fail only at what does
not come at all, and record what was measured.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from playground.interference import WATCHES, Rule
from tests.contract.stand import NEVER, Stand, Subject, operating_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


LISTS = r"[?&]limit="
STREAM_ERROR = '{"type": "ERROR", "object": {"kind": "Status", "code": %d, "message": "%s"}}\n'
ABRUPT = 0.3
"""Seconds for which streams under way are cut before the fault: its next requests are those that meet it."""


@dataclass(frozen=True)
class Fault:
    """What happens on the way to the API server, for how many seconds; with `cuts` streams under way break first."""

    name: str
    rules: tuple[Rule, ...]
    seconds: float = 25.0
    cuts: bool = False
    long: bool = True


WHILE_IT_LASTS = [
    Fault("streams hang", (Rule(target=WATCHES, hush=True),), seconds=5, long=False),
    Fault("streams hang for long", (Rule(target=WATCHES, hush=True),), seconds=90),
    Fault(
        "an error in every stream", (Rule(target=WATCHES, say=STREAM_ERROR % (500, "etcd"), times=1),), 5, long=False
    ),
    Fault("an error in every stream, always", (Rule(target=WATCHES, say=STREAM_ERROR % (500, "etcd")),)),
    Fault("streams too old", (Rule(target=WATCHES, say=STREAM_ERROR % (410, "too old")),)),
    Fault("streams are cut", (Rule(target=WATCHES, drop=True),)),
    Fault("streams end at once", (Rule(target=WATCHES, end=True),)),
    Fault("streams talk nonsense", (Rule(target=WATCHES, say="{oops\n"),)),
    Fault("streams end in the middle of a line", (Rule(target=WATCHES, say='{"type": "ADD', end=True),)),
    Fault("streams say what is no event", (Rule(target=WATCHES, say='{"type": "ADDED", "object": {}}\n'),)),
    Fault("watches are refused with 410", (Rule(target=WATCHES, status=410),), cuts=True),
    Fault("watches are refused with 404", (Rule(target=WATCHES, status=404),), cuts=True),
    Fault("watches are refused with 403", (Rule(target=WATCHES, status=403),), cuts=True),
    Fault("watches are refused with 401", (Rule(target=WATCHES, status=401),), cuts=True),
    Fault("watches are refused with 500", (Rule(target=WATCHES, status=500),), cuts=True),
    Fault("watches are to wait", (Rule(target=WATCHES, status=429, retry_after=120),), cuts=True),
    Fault("watches are answered with nonsense", (Rule(target=WATCHES, text="<html>"),), cuts=True),
    Fault("every answer takes 2 s", (Rule(delay=2.0),), cuts=True),
]
"""A change is acted on while they last."""

OUTAGES = [
    Fault("404 to everything", (Rule(status=404),), seconds=8, cuts=True, long=False),
    Fault("401 to everything", (Rule(status=401),), seconds=20, cuts=True),
    Fault("403 to everything", (Rule(status=403),), seconds=20, cuts=True),
    Fault("429 to everything", (Rule(status=429, retry_after=120),), seconds=70, cuts=True),
    Fault("500 to everything", (Rule(status=500),), seconds=20, cuts=True),
    Fault("503 to everything", (Rule(status=503),), seconds=70, cuts=True),
    Fault("no answer to anything", (Rule(drop=True),), seconds=75),
    Fault("every answer takes 30 s", (Rule(target=WATCHES, hush=True), Rule(delay=30.0)), seconds=20),
    Fault("nonsense to everything", (Rule(text="<html>"),), seconds=20, cuts=True),
    Fault("empty answers to every read", (Rule(method="GET", text="{}"),), seconds=20, cuts=True),
]
"""A change is acted on once they are over."""


def cases(faults: list[Fault]) -> list[object]:
    """As parameters of a test."""
    return [pytest.param(fault, id=fault.name, marks=[pytest.mark.long] * fault.long) for fault in faults]


@pytest.fixture
def subject(stand: Stand, request: pytest.FixtureRequest) -> Iterator[Subject]:
    """An operator that has acted once, and is the same process at the end."""
    with operating_alone(stand, request.node.name) as made:
        yield made
        assert made.process.running.poll() is None, made.lane.log.read_text()[-3000:]
        assert made.process.told("/livez") == (200, "ok\n")


def meet(subject: Subject, fault: Fault) -> None:
    """Let the fault begin."""
    if fault.cuts:
        subject.lane.obey(Rule(target=WATCHES, drop=True))
        time.sleep(ABRUPT)
    subject.lane.obey(*fault.rules)
    time.sleep(ABRUPT)


@pytest.mark.parametrize("fault", cases(WHILE_IT_LASTS))
def test_a_change_is_seen_although_the_streams_are_disturbed(
    subject: Subject, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    """Nothing that watches do leaves the operator blind: not while it lasts, and not after it."""
    since = time.monotonic()
    meet(subject, fault)
    took = [subject.change("right after it began")]
    time.sleep(max(0.0, since + fault.seconds - time.monotonic()))
    took.append(subject.change("while it lasts"))
    subject.lane.obey()
    took.append(subject.change("when it is over"))
    report(record_property, fault, took)


@pytest.mark.parametrize("fault", cases(OUTAGES))
def test_a_change_is_seen_after_an_outage(
    subject: Subject, fault: Fault, record_property: Callable[[str, object], None]
) -> None:
    """What happened while the API server could not be asked is acted on when it can."""
    meet(subject, fault)
    time.sleep(fault.seconds)
    subject.stand.wish(subject.name, subject.name, "meanwhile")
    subject.lane.obey()
    took = [subject.stand.wait_until_granted(subject.name, subject.name, "meanwhile")]
    took.append(subject.change("when it is over"))
    report(record_property, fault, took)


@pytest.mark.long
def test_a_child_that_goes_unseen_is_made_again(
    subject: Subject, record_property: Callable[[str, object], None]
) -> None:
    """It is deleted while the streams hang; then a new listing, which no stream reports it in, takes their place."""
    name, kube = f"{subject.name}-stable", subject.stand.kube
    subject.lane.obey(Rule(target=WATCHES, hush=True))
    kube.delete("Deployment", name, subject.name)
    since = time.monotonic()
    subject.lane.obey(Rule(target=WATCHES, say=STREAM_ERROR % (410, "too old"), times=1))
    while kube.get("Deployment", name, subject.name) is None:
        assert time.monotonic() - since < NEVER, subject.lane.log.read_text()[-3000:]
        time.sleep(0.1)
    report(record_property, Fault("a child goes unseen", ()), [time.monotonic() - since])


@pytest.mark.long
def test_an_old_listing_undoes_nothing(subject: Subject, record_property: Callable[[str, object], None]) -> None:
    """A replica of the API server that is behind lists what was; what is newer stands, and what comes is seen."""
    found = subject.stand.kube.get("ModelRollout", subject.name, subject.name)
    assert found is not None
    subject.change("newer")
    subject.lane.obey(
        Rule(target=LISTS, at_version=found["metadata"]["resourceVersion"]),
        Rule(target=WATCHES, say=STREAM_ERROR % (410, "too old"), times=1),
    )
    time.sleep(10)
    assert subject.granted() == "newer"
    took = [subject.change("while it lasts")]
    subject.lane.obey()
    took.append(subject.change("when it is over"))
    report(record_property, Fault("old listings", ()), took)


@pytest.mark.long
def test_listings_that_fail_do_not_blind(subject: Subject, record_property: Callable[[str, object], None]) -> None:
    """Streams that are well go on without them; those that need one wait for it, and the operator with them."""
    subject.lane.obey(Rule(target=LISTS, status=500))
    took = [subject.change("with streams")]
    subject.lane.obey(
        Rule(target=LISTS, text="<html>"), Rule(target=WATCHES, say=STREAM_ERROR % (410, "too old"), times=1)
    )
    time.sleep(10)
    subject.stand.wish(subject.name, subject.name, "meanwhile")
    subject.lane.obey()
    took.append(subject.stand.wait_until_granted(subject.name, subject.name, "meanwhile"))
    report(record_property, Fault("listings fail", ()), took)


def report(record_property: Callable[[str, object], None], fault: Fault, took: list[float]) -> None:
    """For whoever reads the test's output."""
    seconds = [round(each, 1) for each in took]
    record_property(f"seconds of blindness: {fault.name}", seconds)
    logging.getLogger(__name__).warning("%s: seconds of blindness %s", fault.name, seconds)
