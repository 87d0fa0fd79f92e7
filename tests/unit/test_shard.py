"""Which namespaces are an operator's: left at once, entered after a while, and never by what is old."""

from __future__ import annotations

from typing import Any

import pytest

from modelrollout.ports import Key
from modelrollout.resources import Listing
from modelrollout.shard import ENTER_AFTER, Shard, lease_name, parse_selector

KEY = Key("a", "recsys")


class Watch:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def namespace(name: str, version: int) -> dict[str, Any]:
    """One as the API server gives it."""
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


def listing(version: int, **namespaces: int) -> Listing:
    """Names with the resourceVersion of each."""
    return Listing(tuple(namespace(name, at) for name, at in namespaces.items()), version)


def begun(clock: Watch, version: int = 10, **namespaces: int) -> Shard:
    """A shard that has its first listing."""
    shard = Shard("team=x", clock)
    shard.learn(listing(version, **namespaces))
    return shard


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("team=a", "team=a"),
        ("  tier != gold ,team==a ", "team==a,tier != gold"),
        ("b, a", "a,b"),
        ("!example.com/owner", "!example.com/owner"),
        ("team in (a, b),x", "team in (a, b),x"),
        ("team  notin (a,)", "team notin (a,)"),
        ("team=", "team="),
    ],
)
def test_a_selector_is_read(text: str, parsed: str) -> None:
    """As kubectl takes it; whoever writes it in another order means the same shard."""
    assert parse_selector(text) == parsed


@pytest.mark.parametrize("text", [",", "team=a,", "team in a", "-team", "team=a b", "team in (a", "a=b=c", "team>3"])
def test_what_is_no_selector_is_refused(text: str) -> None:
    """At the start, with the requirement that is wrong."""
    with pytest.raises(ValueError, match="is no requirement of a label selector"):
        parse_selector(text)


def test_every_shard_has_a_lease_of_its_own() -> None:
    """By its name, else by what it selects; without a shard the lease is called as it always was."""
    assert lease_name("modelrollout", "", "") == "modelrollout"
    assert lease_name("modelrollout", "blue", "team=a") == "modelrollout-blue"
    by_hash = {lease_name("modelrollout", "", selector) for selector in ("team=a", "team=b", "")}
    assert len(by_hash) == 3
    assert all(len(name) < 30 for name in by_hash)


def test_what_was_there_at_the_start_is_ours_at_once() -> None:
    """A process that takes over from another of the same shard does not wait."""
    shard = begun(Watch(), a=1)
    assert shard.owns(KEY)
    assert shard.wait(Key("b", "recsys")) is None


@pytest.mark.parametrize("told", ["by a watch", "by a listing"])
def test_a_namespace_that_comes_is_entered_after_a_while(told: str) -> None:
    """Until then whoever had it may not have seen that its label is another."""
    clock = Watch()
    shard = begun(clock)
    if told == "by a watch":
        assert shard.hear("ADDED", namespace("a", 11))
    else:
        assert shard.learn(listing(12, a=11)) == {"a"}
    assert shard.wait(KEY) == ENTER_AFTER
    clock.now += ENTER_AFTER - 1
    assert not shard.hear("MODIFIED", namespace("a", 13))
    assert not shard.owns(KEY)
    clock.now += 1
    assert shard.owns(KEY)


@pytest.mark.parametrize("told", ["by a watch", "by a listing"])
def test_a_namespace_that_goes_is_left_at_once(told: str) -> None:
    """No further pass begins in it."""
    shard = begun(Watch(), a=1, b=2)
    if told == "by a watch":
        assert shard.hear("DELETED", namespace("a", 11))
    else:
        assert shard.learn(listing(12, b=2)) == {"a"}
    assert shard.wait(KEY) is None
    assert shard.owns(Key("b", "recsys"))


def test_old_news_change_nothing() -> None:
    """A listing from before a label came, or went, does not undo it; neither does a late event."""
    shard = begun(Watch(), a=1)
    shard.hear("ADDED", namespace("b", 20))
    assert shard.learn(listing(15, a=1)) == set()
    shard.hear("DELETED", namespace("a", 21))
    assert shard.learn(listing(20, a=1, b=20)) == set()
    assert not shard.hear("MODIFIED", namespace("a", 20))
    assert shard.wait(KEY) is None
    assert shard.learn(listing(30, a=25, b=20)) == {"a"}


def test_a_namespace_that_returns_is_entered_anew() -> None:
    """Another operator may have acted in it meanwhile."""
    shard = begun(Watch(), a=1)
    shard.hear("DELETED", namespace("a", 21))
    assert shard.hear("ADDED", namespace("a", 22))
    assert shard.wait(KEY) == ENTER_AFTER


def test_the_api_server_selects() -> None:
    """Only namespaces with the label are listed and watched."""
    assert Shard("team=x", Watch()).resource.selector == "team=x"
