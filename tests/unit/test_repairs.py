"""Children that somebody else changes are written back, without a fight."""

from __future__ import annotations

from datetime import timedelta

from modelrollout.repairs import MOST, TRUCE, WINDOW, Repairs
from tests.builders import NOW

ROUTE = ("HTTPRoute", "recsys")
SECOND = timedelta(seconds=1)


def test_repairs_are_allowed_until_they_are_a_fight() -> None:
    """A few repairs are done at once; from the fifth within a minute on only one per truce."""
    repairs = Repairs()
    assert repairs.first(ROUTE, NOW)
    assert all(repairs.allow(ROUTE, NOW + n * SECOND) for n in range(MOST))
    assert not repairs.first(ROUTE, NOW + MOST * SECOND)
    assert repairs.contested(NOW + MOST * SECOND) == "HTTPRoute recsys"
    assert not repairs.allow(ROUTE, NOW + MOST * SECOND)
    assert repairs.allow(ROUTE, NOW + MOST * SECOND + TRUCE)


def test_other_objects_are_repaired_meanwhile() -> None:
    """A fight over one object does not stop the repair of another."""
    repairs = Repairs()
    for n in range(MOST):
        repairs.allow(ROUTE, NOW + n * SECOND)
    assert repairs.allow(("Service", "recsys-stable"), NOW + MOST * SECOND)


def test_fight_is_over_when_nobody_changed_anything_for_a_while() -> None:
    """A minute without a wish to repair ends it."""
    repairs = Repairs()
    for n in range(MOST):
        repairs.allow(ROUTE, NOW + n * SECOND)
    last = NOW + (MOST - 1) * SECOND
    assert repairs.contested(last + WINDOW - SECOND)
    assert repairs.contested(last + WINDOW) == ""
