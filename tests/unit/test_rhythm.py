"""When the next round of measurements is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from modelrollout.core.analysis import Analysed
from modelrollout.core.spec_json import parse_spec
from modelrollout.rhythm import Rhythm
from tests.simulation.scenarios import SPEC

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelrollout.core.spec import Analysis

AT = datetime(2026, 1, 2, tzinfo=UTC)
PHASES = [0.0, 0.02, 0.1, 0.37, 0.5, 0.73, 0.98]


def analysis(interval: float, timeout: float = 5.0) -> Analysis:
    """Rounds each so many seconds."""
    prometheus = {**SPEC["analysis"]["prometheus"], "timeout": f"{timeout:g}s"}
    wish = {**SPEC["analysis"], "interval": f"{interval:g}s", "prometheus": prometheus}
    found = parse_spec({**SPEC, "analysis": wish}, "m").analysis
    assert found is not None
    return found


def seen(age: float | None, at: float = 0.0) -> Analysed:
    """A round, so many seconds after the first, that found the latest scrape so old."""
    return Analysed("1", AT + timedelta(seconds=at), {}, age=None if age is None else timedelta(seconds=age))


def looks(
    interval: float, period: float, late: float, begin: float, fails: Callable[[int], bool] = lambda _: False
) -> list[tuple[float, float]]:
    """Moments of 200 looks and the age of what they saw; scrapes each `period` are there `late` seconds later."""
    rhythm, now, found = Rhythm(), 10_000 + begin * period, []
    for _ in range(200):
        number = (now - late) // period
        while fails(int(number)):
            number -= 1
        found.append((now, now - number * period))
        now += rhythm.pause(analysis(interval), seen(found[-1][1], now), 0.0)
    return found


@pytest.mark.parametrize("begin", PHASES)
@pytest.mark.parametrize(("interval", "period"), [(1, 1), (10, 10), (10, 5), (30, 15), (60, 15)])
def test_looks_follow_the_scrapes(interval: float, period: float, begin: float) -> None:
    """From the third look on what is seen is fresh, and the interval is kept."""
    found = looks(interval, period, 0.02, begin)
    assert max(age for _, age in found[2:]) <= min(0.5, interval / 4)
    assert all(after - before == pytest.approx(interval) for (before, _), (after, _) in pairwise(found[2:]))


@pytest.mark.parametrize("begin", PHASES)
@pytest.mark.parametrize(("interval", "period"), [(5, 15), (1, 30), (5, 3), (29, 15), (20, 15), (45, 30), (10, 7)])
def test_scrapes_in_another_beat_are_given_up(interval: float, period: float, begin: float) -> None:
    """After some looks that are out of the beat the interval is kept, now and then another is tried; none is close."""
    moments = [at for at, _ in looks(interval, period, 0.02, begin)]
    pauses = [after - before for before, after in pairwise(moments)]
    assert sum(pause != pytest.approx(interval) for pause in pauses[6:]) <= len(pauses) / 20
    assert min(pauses) >= min(interval / 2, 5) - 1e-6
    assert max(pauses) <= interval + min(interval / 2, 5) + 1e-6


@pytest.mark.parametrize("begin", PHASES)
@pytest.mark.parametrize("late", [0.1, 0.3, 0.6])
def test_slow_scrapes_are_waited_for(late: float, begin: float) -> None:
    """Looks come later after scrapes of which nothing is there in time, as long as that is so."""
    found = looks(1, 1, late, begin)
    assert sum(age > 1 for _, age in found[6:]) <= 15
    assert found[-1][0] - found[0][0] == pytest.approx(199, abs=3)


@pytest.mark.parametrize("begin", PHASES)
@pytest.mark.parametrize("pods", [[0.0], [0.0, 0.45]])
def test_a_look_that_comes_late_itself_misses_nothing(pods: list[float], begin: float) -> None:
    """A busy operator keeps to the beat: the next look is right after a scrape again, of whichever pod."""
    rhythm, now, ages = Rhythm(), 10_000 + begin, []
    for number in range(100):
        now += 0.3 if number % 2 else 0.0
        ages.append(min((now - 0.02 - pod) % 1 + 0.02 for pod in pods))
        now += rhythm.pause(analysis(1), seen(ages[-1], now), 0.0)
    assert ages[4::2] == pytest.approx([0.125] * 48)
    assert max(ages[5::2]) < 0.5


def test_load_at_the_start_does_not_give_the_beat_up_for_ever() -> None:
    """Scrapes that fail more often than not for a while, then come as they should."""
    found = looks(1, 1, 0.02, 0.4, fails=lambda number: number < 10_020 and number % 7 > 0)
    assert all(age < 0.2 for _, age in found[60:])


def test_scrapes_that_fail_now_and_then_change_nothing() -> None:
    """A pod that restarts, a Prometheus that is late: the beat is kept, for hours."""
    found = looks(1, 1, 0.02, 0.4, fails=lambda number: number % 20 == 0)
    assert sum(age > 0.2 for _, age in found) < 15


def test_without_a_word_of_when_the_interval_stands() -> None:
    """No canary, no answer, or a server that does not say; it is not held against the scrapes."""
    rhythm = Rhythm()
    ages = (None, None, 0.25, None, None, None, None, None, 1.0)
    pauses = [rhythm.pause(analysis(2), seen(age, 2.0 * number), 0.0) for number, age in enumerate(ages)]
    assert pauses == [*([2.0] * 8), pytest.approx(2 - 1 + 0.25)]


@pytest.mark.parametrize(("took", "rest"), [(0.5, 1.5), (1.2, 0.8), (1.9, 2.1), (5.0, 1.0), (86_400.3, 1.7)])
def test_rounds_that_take_long_leave_others_out(took: float, rest: float) -> None:
    """There is always a pause, and the beat is kept."""
    assert Rhythm().pause(analysis(2), seen(None), took) == pytest.approx(rest)
