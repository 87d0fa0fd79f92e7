"""A gauge on both sides (GPU memory, duty cycle, queue depth), judged minute by minute (docs/judge-statistics.md).

A gauge has no bad answers to count. Its means of whole minutes are compared by a Mann-Whitney test against what is
tolerated, so that a difference which is real but small is no proof. Minutes of one side are like the minute before: the
test is widened by how much they are. `metrics` hands rounds in, `gauge_words` says what came of them.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from math import erfc, log, sqrt
from statistics import fmean, median

from modelrollout.core.judge.process import BLOCK
from modelrollout.core.judge.rounds import Round
from modelrollout.core.spec import Limits, Metric

FIRST_LOOK = 8
"""Minutes: with fewer even sides that share no value prove nothing."""
MOST_MINUTES = 60
"""What lies further back says nothing of now."""
TOLERATED_RATIO = 1.25
"""How many times stable's value is tolerated where a metric does not say; Kayenta's band."""
WRONGLY_CALM = 0.05
"""The chance in an hour that a canary which is over what is tolerated is said to be within."""
ALIKE, ALIKE_MINUTES = 0.5, 5
"""How much a minute is like the one before (a correlation) until so many have been seen."""
GROWTH_MINUTES, LEAST_GROWTH_MINUTES = 10, 5


@dataclass(frozen=True, slots=True)
class Look:
    """What the minutes say. `share` is how often a canary's minute is beyond what is tolerated of one of stable's.

    `p` is how likely that is by chance, `needed` what it may be for proof at this look. `calm` is the same of being
    within. `lower` says that it is the drop under stable that was looked at.
    """

    minutes: int
    canary: float
    stable: float
    share: float
    p: float
    needed: float
    calm: float
    lower: bool = False


@dataclass(frozen=True, slots=True)
class Growth:
    """How much the steepest canary pod grows in a minute, and in how many minutes in a row it was over the limit."""

    pod: str
    slope: float
    minutes: int
    steep: int


@dataclass(frozen=True, slots=True)
class Gauges:
    """All that is remembered of a gauge; times in POSIX seconds.

    `sums` are canary's and stable's values of the minute under way and how many looks they are of; `open` is the same
    for each canary pod. `canary` and `stable` are means of minutes in which both had traffic, `looks` how many there
    have ever been. `pods` are the last means of each canary pod. `proven` is when proof came.
    """

    begun: float | None = None
    sums: tuple[float, float, int] = (0.0, 0.0, 0)
    open: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    canary: tuple[float, ...] = ()
    stable: tuple[float, ...] = ()
    looks: int = 0
    pods: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    look: Look | None = None
    growth: Growth | None = None
    passed: bool = False
    proven: float | None = None


def hear_gauge(metric: Metric, known: Gauges, heard: Round, alpha: float) -> Gauges:
    """What is remembered after a round; a minute counts once it is over. `alpha` is for an hour."""
    if heard.seconds > BLOCK:
        # Nobody looked for so long that the minute under way is of another time.
        known = _afresh(known, heard.at)
    known = _with_values(metric.name, known, heard)
    if known.begun is None or heard.at - known.begun < BLOCK:
        return known
    return _afresh(_judged(metric, _with_minute(known), heard.at, alpha), heard.at)


def tolerance(limits: Limits) -> tuple[float | None, float | None]:
    """How many times stable's value the canary may have, and how far it may be under it; None for any."""
    ratio, drop = limits.max_ratio_to_stable, limits.max_drop_from_stable
    return (TOLERATED_RATIO if ratio is None and drop is None else ratio), drop


def _afresh(known: Gauges, at: float) -> Gauges:
    return replace(known, begun=at, sums=(0.0, 0.0, 0), open={})


def _with_values(name: str, known: Gauges, heard: Round) -> Gauges:
    ours = {pod: counts.gauges[name] for pod, counts in heard.canary.items() if name in counts.gauges}
    theirs = [counts.gauges[name] for counts in (heard.stable or {}).values() if name in counts.gauges]
    if not ours:
        return known
    known = known if known.begun is not None else _afresh(known, heard.at - min(heard.seconds, BLOCK))
    had = known.open
    pods = {pod: (had.get(pod, (0.0, 0))[0] + value, had.get(pod, (0.0, 0))[1] + 1) for pod, value in ours.items()}
    canary, stable, looks = known.sums
    sums = (canary + fmean(ours.values()), stable + fmean(theirs), looks + 1) if theirs else known.sums
    return replace(known, sums=sums, open={**had, **pods})


def _with_minute(known: Gauges) -> Gauges:
    """The minute that is over, as means."""
    means = {pod: total / looks for pod, (total, looks) in known.open.items()}
    pods = {pod: (*known.pods.get(pod, ()), mean)[-GROWTH_MINUTES:] for pod, mean in means.items()}
    canary, stable, looks = known.sums
    if not looks:
        return replace(known, pods=pods)
    return replace(
        known,
        pods=pods,
        canary=(*known.canary, canary / looks)[-MOST_MINUTES:],
        stable=(*known.stable, stable / looks)[-MOST_MINUTES:],
        looks=known.looks + 1,
    )


def _judged(metric: Metric, known: Gauges, at: float, alpha: float) -> Gauges:
    growth = _growth(known, metric.limits.max_growth_per_minute)
    known = replace(known, growth=growth)
    proven = growth is not None and growth.steep >= metric.failures
    if known.sums[2]:
        look = looked(known, metric.limits, alpha)
        shown = known.looks >= FIRST_LOOK and look.calm <= spent(WRONGLY_CALM, known.looks)
        known = replace(known, look=look, passed=shown or (known.passed and look.share <= 0.5))
        proven = proven or (known.looks >= FIRST_LOOK and look.p <= look.needed)
    return replace(known, proven=at) if proven and known.proven is None else known


def looked(known: Gauges, limits: Limits, alpha: float) -> Look:
    """The last minutes against what is tolerated; of two limits the one that is nearer to proof."""
    ratio, drop = tolerance(limits)
    asked = [limit for limit in (ratio, drop) if limit is not None]
    needed = spent(alpha / len(asked), known.looks) if known.looks >= FIRST_LOOK else 0.0
    wider = widened(known.canary, known.stable)
    found = []
    if ratio is not None:
        floor = limits.max_if_stable_zero
        edge = [ratio * value if floor is None else max(floor, ratio * value) for value in known.stable]
        found.append(_look(known, known.canary, edge, wider, needed))
    if drop is not None:
        fallen = [value + drop for value in known.canary]
        found.append(replace(_look(known, known.stable, fallen, wider, needed), lower=True))
    return min(found, key=lambda look: look.p)


def _look(known: Gauges, high: Sequence[float], low: Sequence[float], wider: float, needed: float) -> Look:
    share, p, calm = mann_whitney(high, low, wider)
    return Look(known.looks, median(known.canary), median(known.stable), share, p, needed, calm)


def spent(alpha: float, minutes: int) -> float:
    """What the look after so many minutes may use of an hour's `alpha`: all looks up to an hour add up to it."""
    return alpha * log(minutes / (minutes - 1)) / log(MOST_MINUTES / (FIRST_LOOK - 1))


def mann_whitney(high: Sequence[float], low: Sequence[float], wider: float = 1.0) -> tuple[float, float, float]:
    """How often a value of `high` is above one of `low` (a tie is half), and how likely so much, and so little, is.

    Both probabilities are of sides that are alike, by the normal approximation with ties; `wider` multiplies variance.
    """
    ours, theirs, lower = len(high), len(low), sorted(low)
    above = sum(bisect_left(lower, value) + bisect_right(lower, value) for value in high) / 2
    count = ours + theirs
    ties = sum(size**3 - size for size in Counter((*high, *low)).values()) / (count * (count - 1))
    deviation = sqrt(wider * ours * theirs / 12 * max(0.0, count + 1 - ties))
    beyond = above - ours * theirs / 2
    p, calm = (_tail((part - 0.5) / deviation) if deviation else 1.0 for part in (beyond, -beyond))
    return above / (ours * theirs), p, calm


def _tail(z: float) -> float:
    return erfc(z / sqrt(2)) / 2


def ranks(values: Sequence[float]) -> list[float]:
    """The place of each value among all, from 1; equal ones share theirs."""
    order = sorted(values)
    return [(bisect_left(order, value) + bisect_right(order, value) + 1) / 2 for value in values]


def widened(*sides: Sequence[float]) -> float:
    """By how much variance grows because minutes are like those before: (1 + r) / (1 - r), as for a series of order 1.

    r is the mean of both sides' correlation of ranks from one minute to the next, corrected for how few there are.
    """
    count = len(sides[0])
    seen = fmean(_alike(ranks(side)) for side in sides)
    corrected = seen + (1 + 3 * seen) / count
    r = min(0.98, max(0.0, (ALIKE_MINUTES * ALIKE + count * corrected) / (ALIKE_MINUTES + count)))
    return (1 + r) / (1 - r)


def _alike(values: Sequence[float]) -> float:
    middle = fmean(values)
    off = [value - middle for value in values]
    spread = sum(value * value for value in off)
    return sum(a * b for a, b in pairwise(off)) / spread if spread else 0.0


def _growth(known: Gauges, limit: float | None) -> Growth | None:
    """The steepest canary pod; None without a limit, or before one has been seen for long enough."""
    slopes = {pod: slope(means) for pod, means in known.pods.items() if len(means) >= LEAST_GROWTH_MINUTES}
    if limit is None or not slopes:
        return None
    pod = max(slopes, key=lambda name: slopes[name])
    steep = known.growth.steep + 1 if known.growth else 1
    return Growth(pod, slopes[pod], len(known.pods[pod]), steep if slopes[pod] > limit else 0)


def slope(means: Sequence[float]) -> float:
    """How much a value grows in a minute, in the first and in the second half alike: one jump is no growth."""
    half = (len(means) + 1) // 2
    return min(_steepness(means[:half]), _steepness(means[-half:]))


def _steepness(means: Sequence[float]) -> float:
    """The median slope of all pairs (Theil and Sen): no single minute moves it."""
    pairs = combinations(enumerate(means), 2)
    return median((after - before) / (later - earlier) for (earlier, before), (later, after) in pairs)
