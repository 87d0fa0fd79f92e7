"""Random counts that are the same each time, from the standard library alone. Called by `answers` and `noise`.

Where a count is expected to be large the normal distribution stands in: its error is far below the noise itself.
"""

from collections.abc import Sequence
from math import exp, log, log1p, sqrt
from random import Random

_LARGE = 30.0


def poisson(chance: Random, mean: float) -> int:
    """How often something happens that is expected `mean` times."""
    if mean > _LARGE:
        return max(0, round(chance.gauss(mean, sqrt(mean))))
    limit, count, left = exp(-mean), 0, chance.random()
    while left > limit:
        count, left = count + 1, left * chance.random()
    return count


def binomial(chance: Random, trials: int, share: float) -> int:
    """How many of so many trials succeed."""
    if share > 0.5:
        return trials - binomial(chance, trials, 1 - share)
    if trials <= 0 or share <= 0:
        return 0
    if trials * share > _LARGE:
        return min(trials, max(0, round(chance.gauss(trials * share, sqrt(trials * share * (1 - share))))))
    # From one success to the next: as many steps as there are successes.
    found, position, miss = 0, 0, log1p(-share)
    while (position := position + 1 + int(log(1 - chance.random()) / miss)) <= trials:
        found += 1
    return found


def scattered(chance: Random, trials: int, shares: Sequence[float]) -> list[int]:
    """So many trials over kinds that have these shares; what is left of 1 belongs to none of them."""
    counts, left, rest = [], trials, 1.0
    for share in shares:
        count = binomial(chance, left, min(1.0, share / rest)) if rest > 0 else 0
        counts.append(count)
        left, rest = left - count, rest - share
    return counts


def varying(chance: Random, spread: float) -> float:
    """A factor of mean 1 with this coefficient of variation (gamma distributed)."""
    return chance.gammavariate(1 / spread**2, spread**2) if spread > 0 else 1.0
