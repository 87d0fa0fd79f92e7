"""What versions answer at random has the shares that it should have."""

from __future__ import annotations

from math import inf
from random import Random
from statistics import fmean, pvariance

import pytest

from modelrollout.core.counters import quantile
from modelrollout.planning.answers import BOUNDS, Behaviour, answer
from modelrollout.planning.chance import binomial, poisson, scattered, varying
from modelrollout.planning.recording import behaviour_of


@pytest.mark.parametrize("mean", [0.0, 0.3, 5.0, 200.0])
def test_counts_vary_as_random_arrivals_do(mean: float) -> None:
    """A Poisson count has its mean as its variance, be it drawn one by one or from the normal distribution."""
    chance = Random(1)
    found = [poisson(chance, mean) for _ in range(4000)]
    assert fmean(found) == pytest.approx(mean, rel=0.05)
    assert pvariance(found) == pytest.approx(mean, rel=0.1)


@pytest.mark.parametrize(("trials", "share"), [(50, 0.02), (50, 0.9), (5000, 0.3), (10, 0.0), (0, 0.5), (7, 1.0)])
def test_successes_vary_as_trials_do(trials: int, share: float) -> None:
    """A binomial count has the mean and the variance of independent trials, and is never more than there were."""
    chance = Random(2)
    found = [binomial(chance, trials, share) for _ in range(4000)]
    assert all(0 <= count <= trials for count in found)
    assert fmean(found) == pytest.approx(trials * share, rel=0.05)
    assert pvariance(found) == pytest.approx(trials * share * (1 - share), rel=0.12)


def test_trials_are_scattered_over_all_kinds() -> None:
    """Every trial is of one kind at most, and each kind gets its share."""
    chance = Random(3)
    counts = [scattered(chance, 100, [0.5, 0.3, 0.1]) for _ in range(1000)]
    assert all(sum(found) <= 100 for found in counts)
    assert [fmean(kind) for kind in zip(*counts, strict=True)] == pytest.approx([50, 30, 10], rel=0.05)


def test_jitter_is_a_factor_of_mean_one() -> None:
    """Noise makes errors come and go, not more of them."""
    chance = Random(4)
    found = [varying(chance, 0.5) for _ in range(4000)]
    assert fmean(found) == pytest.approx(1, rel=0.05)
    assert pvariance(found) == pytest.approx(0.25, rel=0.15)


def test_answers_are_counted_as_a_model_server_counts_them() -> None:
    """Bad answers have no time; good ones are in cumulative buckets of which the last holds them all."""
    counts = answer(Random(5), 10_000, Behaviour(errors=0.1, median=0.02))
    assert counts.answers == 10_000
    assert counts.bad == pytest.approx(1000, rel=0.1)
    heights = [counts.buckets[bound] for bound in (*BOUNDS, inf)]
    assert heights == sorted(heights)
    assert quantile(counts.buckets, 0.5) == pytest.approx(0.02, rel=0.1)


def test_a_tail_is_slower_than_the_rest() -> None:
    """A share of slow answers moves the 99th percentile and leaves the median alone."""
    usual, tailed = (answer(Random(6), 10_000, Behaviour(tail=tail, tail_factor=8)) for tail in (0.0, 0.05))
    assert quantile(tailed.buckets, 0.5) == pytest.approx(quantile(usual.buckets, 0.5), rel=0.1)
    assert (quantile(tailed.buckets, 0.99) or 0) > 2 * (quantile(usual.buckets, 0.99) or 0)


def test_what_was_counted_tells_how_pods_answer() -> None:
    """The behaviour that is read from counters is the one that made them."""
    made = Behaviour(errors=0.01, median=0.05, spread=0.4)
    found = behaviour_of(answer(Random(7), 100_000, made))
    assert found.errors == pytest.approx(made.errors, rel=0.1)
    assert found.median == pytest.approx(made.median, rel=0.1)
    assert found.spread == pytest.approx(made.spread, rel=0.3)
