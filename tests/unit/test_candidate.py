"""The rule of an election, without I/O: who may claim the lease, and for how long its holder may act."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelrollout.election import Candidate, Lease, Terms

TERMS = Terms(duration=15, renew=10, retry=2)
THEIRS = Lease("other", 15, transitions=3, version="7")


def candidate() -> Candidate:
    """One that has seen nothing."""
    return Candidate("me", TERMS)


def leader(sent: float = 0.0) -> Candidate:
    """One that won at a moment."""
    made = candidate()
    made.observe(None, sent)
    made.won(Lease("me", 15, version="1"), sent)
    return made


@pytest.mark.parametrize(
    ("seen", "at", "claims"),
    [
        pytest.param(None, 0.0, True, id="no lease yet"),
        pytest.param(replace(THEIRS, holder=""), 0.0, True, id="released"),
        pytest.param(replace(THEIRS, holder="me"), 0.0, True, id="ours from before a restart"),
        pytest.param(THEIRS, 14.9, False, id="theirs, seen for less than it lasts"),
        pytest.param(THEIRS, 15.0, True, id="theirs, seen unchanged for as long as it lasts"),
        pytest.param(replace(THEIRS, duration=60), 20.0, False, id="their duration counts, not ours"),
    ],
)
def test_a_lease_is_claimed_when_nobody_can_hold_it(seen: Lease | None, at: float, claims: bool) -> None:
    """Free, ours, or unchanged before our own eyes for as long as it lasts."""
    mine = candidate()
    mine.observe(seen, 0.0)
    mine.observe(seen, at)
    claim = mine.claim(at)
    assert (claim is not None) is claims
    if claim is not None:
        assert (claim.holder, claim.version) == ("me", seen.version if seen else "")


def test_every_renewal_that_is_seen_starts_the_wait_anew() -> None:
    """What counts is when a change was seen, never a stamp that another clock made."""
    mine = candidate()
    mine.observe(THEIRS, 0.0)
    mine.observe(replace(THEIRS, version="8"), 14.0)
    assert mine.claim(28.9) is None
    assert mine.claim(29.0) is not None


def test_a_change_of_hands_is_counted_and_a_renewal_is_not() -> None:
    """`leaseTransitions` tells people how often the leader changed."""
    mine = candidate()
    mine.observe(THEIRS, 0.0)
    taken = mine.claim(15.0)
    assert taken is not None
    assert taken.transitions == 4
    mine.won(replace(taken, version="8"), 15.0)
    renewed = mine.claim(17.0)
    assert renewed is not None
    assert renewed.transitions == 4


def test_a_lease_that_somebody_deleted_counts_for_as_long_as_it_would_have() -> None:
    """Its holder does not know yet that it is gone."""
    mine = candidate()
    mine.observe(THEIRS, 0.0)
    mine.observe(None, 5.0)
    assert mine.claim(14.9) is None
    claim = mine.claim(15.0)
    assert claim is not None
    assert claim.version == ""
    holder = leader()
    holder.observe(None, 1.0)
    assert holder.leading
    made = holder.claim(1.0)
    assert made is not None
    assert made.version == ""


def test_a_holder_stops_before_anybody_can_take_over() -> None:
    """Its time counts from when the renewal was sent; what it then began is over before the lease is."""
    mine = leader(sent=100.0)
    assert mine.left(109.9) > 0
    assert mine.left(110.0) <= 0
    assert mine.margin(109.9) == pytest.approx(5.1)
    assert candidate().left(0.0) < 0


def test_a_holder_that_sees_another_one_has_lost() -> None:
    """However much of its time was left."""
    mine = leader()
    mine.observe(THEIRS, 1.0)
    assert not mine.leading
    assert mine.left(1.0) < 0
    assert mine.resign() is None


def test_resigning_frees_the_lease_and_ends_the_right_to_act() -> None:
    """The next one need not wait; we do nothing more."""
    mine = leader()
    free = mine.resign()
    assert free is not None
    assert free.holder == ""
    assert mine.left(0.0) < 0
