"""What a version does: which share of its answers fails, and how long the others take. Called by `traffic` and `plan`.

Times are lognormal, as those of model servers are, and are counted in TensorFlow Serving's own buckets.
"""

from dataclasses import dataclass
from functools import lru_cache
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
    bounds, shares = buckets(behaviour.median, behaviour.spread, behaviour.tail, behaviour.tail_factor)
    below, found = 0, dict[float, float]()
    for bound, part in zip(bounds, scattered(chance, good, shares), strict=True):
        below += part
        found[bound] = below
    # Buckets are cumulative and the same in every server, so all of them are there.
    lowest, highest = bounds[0], bounds[-1]
    ends = {bound: 0.0 if bound < lowest else float(good) for bound in BOUNDS if bound < lowest or bound > highest}
    return Counters(bad, {**ends, **found, inf: good})


@lru_cache(maxsize=256)
def buckets(median: float, spread: float, tail: float, tail_factor: float) -> tuple[list[float], list[float]]:
    """The buckets that get answers at all, as upper bounds, and the share of each."""
    bounds, shares, before = [], [], 0.0
    for bound in BOUNDS:
        seconds = bound / 1e6
        below = (1 - tail) * _below(seconds, median, spread) + tail * _below(seconds, median * tail_factor, spread)
        if below > _NEVER and before < 1 - _NEVER:
            bounds.append(bound)
            shares.append(below - before)
            before = below
    return bounds or [BOUNDS[-1]], shares or [0.0]


def _below(seconds: float, median: float, spread: float) -> float:
    """Share of a lognormal distribution that is below."""
    if spread <= 0:
        return float(seconds >= median)
    return 0.5 * erfc(-log(seconds / median) / (spread * sqrt(2)))
