"""The operator dies at a write, before or after the API server takes it: the same end, nothing skipped or repeated.

The operator is started again at once. What must hold is stated by a witness of the route and by users' answers, not by
the operator.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from playground.interference import WRITES, Rule
from playground.interference.rules import OBJECT_WRITES
from tests.situations import STABLE, containers, ended, healthy, outcome, quick, wait_for_answers
from tests.witness import Witness, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playground.interference import Lane, Operator
    from playground.scene import Scene, Traffic
    from tests.interference.conftest import Staged

STEPS = [20, 50]
SIDE_BY_SIDE = 2
"""In each of the long tests, which run side by side themselves."""
_ANY = Rule(method=WRITES, target=OBJECT_WRITES, kill=True, times=1)
_ROUTE = replace(_ANY, method="PATCH", target=r"/httproutes/")
_ABORT = replace(_ROUTE, body=r"modelrollout\.io/abort")
_BAD = {str(version): {"error_rate": 0.6, "error_code": "INTERNAL"} for version in range(STABLE + 1, STABLE + 200)}


@dataclass
class Stand:
    """A rollout in a namespace of its own, with its operator, its witness and its users."""

    here: Scene
    lane: Lane
    operator: Operator
    witness: Witness
    traffic: Traffic
    good: bool
    versions: Iterator[int] = field(default_factory=lambda: count(STABLE + 1))
    serving: int = STABLE

    def survive(self, kill: Rule) -> bool:
        """Roll the next version out to its end with this kill; False when there was nothing to kill at."""
        version, before, starts = next(self.versions), len(self.lane.did("killed")), self.operator.starts
        self.here.publish(version)
        pods, attempt = containers(self.here), self.here.status()["history"][0]["attempt"]
        self.lane.obey(kill)
        since = now()
        self.here.kube.apply(_cheap(self.here, version))
        status = self.here.wait(f"the end of {version} with {kill}", ended(version), 200)
        wait_for_answers(self.traffic, len(self.traffic.answers()) + 50)
        self.lane.obey()
        kills = len(self.lane.did("killed")) - before
        assert self.operator.starts == starts + kills
        assert status["history"][0]["attempt"] == attempt + 1
        assert containers(self.here) == pods
        self._assert_end(status, version, since)
        return kills == 1

    def _assert_end(self, status: dict[str, Any], version: int, since: float) -> None:
        answers = self.traffic.answers()
        if self.good:
            assert outcome(status, version) == "Promoted", status
            self.witness.assert_promoted(answers, STEPS, since)
            assert {answer.version for answer in answers if answer.start > since} == {self.serving, version}
            self.serving = version
        else:
            assert outcome(status, version) == "RolledBack", status
            assert status["rejected"]["version"] == version
            self.witness.assert_taken_back(answers, STEPS, version, since)
        self.here.wait("rest", lambda s: s["phase"] == ("Healthy" if self.good else "RolledBack"))
        assert self.here.status()["stable"]["version"] == self.serving
        own = {"labelSelector": f"modelrollout.io/rollout={self.here.name},modelrollout.io/track=canary"}
        for kind in ("Deployment", "ConfigMap"):
            left = self.here.kube.list(kind, self.here.namespace, **own)
            assert all("deletionTimestamp" in item["metadata"] for item in left)


def _cheap(here: Scene, version: int) -> dict[str, Any]:
    """One pod on each side."""
    return quick(here, version, replicas=1, canaryReadyDeadline="5m")


@pytest.fixture
def stands(staged: Callable[[str], Staged]) -> Iterator[Callable[[str, bool], Stand]]:
    """Makes stands at which 101 serves."""
    with ExitStack() as stack:
        yield lambda name, good: stack.enter_context(_stand(staged(name), good))


@contextmanager
def _stand(made: Staged, good: bool) -> Iterator[Stand]:
    here = made.here
    here.publish(STABLE)
    here.misbehave({} if good else {"versions": _BAD})
    here.kube.apply(_cheap(here, STABLE))
    here.wait("the first version serving", healthy, 200)
    with Witness(here) as witness, here.traffic(rate=20) as traffic:
        wait_for_answers(traffic)
        yield Stand(here, made.lane, made.operator, witness, traffic, good)


def test_operator_killed_at_a_write_goes_on(stands: Callable[[str, bool], Stand]) -> None:
    """Killed at the writes that matter most, before and after they are taken, the operator comes to the same end."""
    kills = {
        True: [replace(_ROUTE, forward=True), replace(_ANY, method="DELETE")],
        False: [_ABORT, replace(_ABORT, forward=True)],
    }

    def go(good: bool) -> None:
        stand = stands(f"kill-{'good' if good else 'bad'}", good)
        assert all(stand.survive(kill) for kill in kills[good])

    with ThreadPoolExecutor(len(kills)) as threads:
        list(threads.map(go, kills))


@pytest.mark.long
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("forward", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_operator_killed_at_each_write_goes_on(stands: Callable[[str, bool], Stand], good: bool, forward: bool) -> None:
    """Killed at its first write, its second, and so on to its last, the operator comes to the same end."""

    def go(first: int) -> int:
        name = f"each-{'good' if good else 'bad'}-{'after' if forward else 'before'}-{first}"
        stand = stands(name, good)
        for number in count(first, SIDE_BY_SIDE):
            if not stand.survive(replace(_ANY, skip=number, forward=forward)):
                return number
        raise AssertionError

    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        ends = list(threads.map(go, range(SIDE_BY_SIDE)))
    assert min(ends) > 12, f"a rollout has more writes than {ends}"
