"""From counters to what each pod answered (docs/judge-statistics.md, "Counts")."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrollout.core.counters import Counters, PodWindow
from modelrollout.core.judge.rounds import Marks, Round, marks_of, next_round
from modelrollout.core.values import moment_of

if TYPE_CHECKING:
    from datetime import datetime

AT = 1000.0


def counters(good: float, bad: float = 0.0, scraped: float = 0.0) -> Counters:
    """So many answers, the good ones within 10 ms."""
    return Counters(bad, {10_000.0: good, inf: good}, scraped)


def window(pod: str, born: float | None = None, changed: float | None = None) -> PodWindow:
    """A pod whose container started then, whose versions changed then."""
    return PodWindow(pod, moment_of(0), _moment(born), changed=_moment(changed))


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment_of(seconds)


def heard(marks: Marks, look: dict[str, Counters], *canary: PodWindow, at: float = AT) -> tuple[Round | None, Marks]:
    """The round of these canary pods beside a stable pod that answers ten times."""
    stable = {"s": counters(10.0 * (at - AT + 10), scraped=at)}
    return next_round(marks, at, {**stable, **look}, canary, (window("s"),))


@pytest.mark.parametrize(
    ("before", "now", "pod", "answers"),
    [
        pytest.param(counters(5), counters(9, 1), window("c"), 5.0, id="the difference"),
        pytest.param(None, counters(9), window("c"), None, id="one that was not read before is only marked"),
        pytest.param(None, counters(9), window("c", born=995), 9.0, id="one that started since counts from zero"),
        pytest.param(counters(50), counters(7), window("c", born=995), 7.0, id="a restart begins at zero"),
        pytest.param(counters(50), counters(49), window("c", born=10), None, id="backwards without a restart: no"),
        pytest.param(counters(50), None, window("c"), None, id="one that vanished keeps what it had"),
        pytest.param(counters(50), counters(60), window("c", changed=995), None, id="it changed sides meanwhile"),
        pytest.param(counters(50), counters(60), window("c", changed=900), 10.0, id="it changed sides before"),
        pytest.param(
            counters(50, scraped=980), counters(50, scraped=980), window("c"), None, id="not read anew: nothing"
        ),
    ],
)
def test_what_a_pod_answered(
    before: Counters | None, now: Counters | None, pod: PodWindow, answers: float | None
) -> None:
    """Only what is known to have come in between counts."""
    # A second canary pod is well read, so that the round does not wait for the first.
    marks = marks_of(AT - 10, {"s": counters(0), "x": counters(0), **({"c": before} if before else {})})
    look = {"x": counters(1, scraped=AT), **({"c": now} if now else {})}
    result, _ = heard(marks, look, pod, window("x"))
    assert result is not None
    found = result.canary.get("c")
    assert (found.answers if found else None) == answers


def test_round_waits_for_a_scrape() -> None:
    """While nothing of a side was read anew, nothing is counted and nothing is lost: the next round has it all."""
    marks = marks_of(AT - 10, {"s": counters(0), "c": counters(50, scraped=980)})
    waiting, same = heard(marks, {"c": counters(50, scraped=980)}, window("c"))
    assert (waiting, same) == (None, marks)
    result, _ = heard(marks, {"c": counters(62, scraped=1004)}, window("c"), at=AT + 5)
    assert result is not None
    assert (result.seconds, result.canary["c"].answers) == (15, 12)


def test_round_does_not_wait_for_ever() -> None:
    """After a minute the side that is read goes on alone."""
    marks = marks_of(AT - 70, {"s": counters(0), "c": counters(50, scraped=900)})
    result, _ = heard(marks, {"c": counters(50, scraped=900)}, window("c"))
    assert result is not None
    assert not result.canary


def test_pods_on_no_side_are_marked() -> None:
    """A canary pod that was asked by hand before it had weight starts at what it had then."""
    marks = marks_of(AT - 10, {"s": counters(0)})
    _, marks = heard(marks, {"c": counters(5)})
    result, _ = heard(marks, {"c": counters(8)}, window("c"), at=AT + 10)
    assert result is not None
    assert result.canary["c"].answers == 3


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_nothing_is_counted_twice(events: list[tuple[int, bool, bool]]) -> None:
    """Whatever scrapes fail or show old numbers, the sum of the rounds is never more than what was answered."""
    truth, shown, total = 0.0, 0.0, 0.0
    marks = marks_of(AT, {"s": counters(0), "c": counters(0, scraped=AT)})
    at = AT
    for more, lost, old in events:
        at, truth = at + 10, truth + more
        shown = shown if old else truth
        look = {} if lost else {"c": counters(shown if not old else max(0.0, shown - 1), scraped=at)}
        result, marks = heard(marks, look, window("c", born=1.0), at=at)
        total += sum(c.answers for c in result.canary.values()) if result else 0.0
    assert total <= truth
