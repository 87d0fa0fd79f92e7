"""What a version does: which share of its answers fails, and how long the others take. Called by `traffic` and `plan`.

Times are lognormal, as those of model servers are, and are counted in TensorFlow Serving's own buckets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import erfc, inf, log, sqrt
from random import Random

from modelrollout.core.counters import Counters
from modelrollout.planning.chance import binomial, scattered

BOUNDS = tuple(10 * 1.8**k for k in range(33))
"""Upper bounds of TensorFlow Serving's latency buckets, in microseconds; a last one holds the rest."""
_NEVER = 1e-7


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How one version answers. `median` in seconds; `spread` is the standard deviation of the logarithm of times.

    A share of its answers, `tail`, takes `tail_factor` times as long.
    """

    errors: float = 0.0
    median: float = 0.02
    spread: float = 0.5
    tail: float = 0.0
    tail_factor: float = 1.0


def answer(chance: Random, count: int, behaviour: Behaviour, *, timed: bool = True) -> Counters:
    """What so many requests add to a pod's counters; without `timed` all good answers are in one bucket."""
    bad = binomial(chance, count, min(1.0, behaviour.errors))
    good = count - bad
    if not timed:
        return Counters(bad, {inf: good})
    below = _buckets(behaviour.median, behaviour.spread, behaviour.tail, behaviour.tail_factor)
    counts = accumulate(scattered(chance, good, below.shares))
    # Cumulative, and the same bounds in every server.
    found = {
        **below.empty,
        **dict(zip(below.bounds, counts, strict=True)),
        **dict.fromkeys(below.full, good),
        inf: good,
    }
    return Counters(bad, found)


@dataclass(frozen=True, slots=True)
class _Buckets:
    """Bounds that some answers are below, with the share of each bucket; those that none is below, and all are."""

    bounds: tuple[float, ...]
    shares: tuple[float, ...]
    empty: Mapping[float, int]
    full: tuple[float, ...]


@lru_cache(maxsize=1024)
def _buckets(median: float, spread: float, tail: float, tail_factor: float) -> _Buckets:
    below = {bound: share_below(bound / 1e6, Behaviour(0.0, median, spread, tail, tail_factor)) for bound in BOUNDS}
    full = tuple(bound for bound, share in below.items() if share > 1 - _NEVER)
    bounds = tuple(bound for bound, share in below.items() if share > _NEVER and bound not in full[1:])
    shares = tuple(after - before for before, after in pairwise((0.0, *(below[bound] for bound in bounds))))
    return _Buckets(bounds, shares, {bound: 0 for bound in BOUNDS if below[bound] <= _NEVER}, full[1:])


def share_below(seconds: float, behaviour: Behaviour) -> float:
    """Share of the good answers that take no longer."""
    usual = _below(seconds, behaviour.median, behaviour.spread)
    slow = _below(seconds, behaviour.median * behaviour.tail_factor, behaviour.spread)
    return (1 - behaviour.tail) * usual + behaviour.tail * slow


def _below(seconds: float, median: float, spread: float) -> float:
    """Share of a lognormal distribution that is below."""
    if spread <= 0:
        return float(seconds >= median)
    return 0.5 * erfc(-log(seconds / median) / (spread * sqrt(2)))
