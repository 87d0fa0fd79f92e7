"""What counts as bad for a metric: failed answers, answers slower than a bound, or those that fall elsewhere.

A distribution (prediction scores in a histogram, predicted classes in a labelled counter) has no bad answers. It is
judged both ways: more on one side of a cut than stable has, or fewer (docs/judge-statistics.md, "Distributions").
"""

from collections.abc import Mapping
from math import inf, log

from modelrollout.core.counters import ALL, Counters
from modelrollout.core.judge.process import Arm
from modelrollout.core.spec import Metric, MetricKind

Arms = tuple[Arm, ...]
Bound = float | str
"""An upper bound in microseconds of a latency; a cell of a distribution."""

BODY = (0.5, 0.1)
"""Shares of stable's answers that are slower than a latency's first bounds; its quantile gives the last."""
CUTS = (0.1, 0.5, 0.9)
"""Shares of stable's answers under a histogram's cuts."""
MOST_CLASSES = 4


def arms_of(metric: Metric, bounds: tuple[Bound, ...], counts: Counters) -> Arms | None:
    """One arm for each comparison. None for a pod without such counts."""
    if metric.kind is MetricKind.DISTRIBUTION:
        cells = counts.cells.get(metric.name)
        return _both_ways(bounds, cells) if cells is not None else None
    answers = counts.answers
    if metric.kind is MetricKind.ERROR_RATE:
        return (Arm(counts.bad, answers),)
    # Those that failed count as slow: no server times them.
    return tuple(Arm(max(0.0, answers - counts.buckets.get(float(bound), 0.0)), answers) for bound in bounds)


def _both_ways(bounds: tuple[Bound, ...], cells: Mapping[str, float]) -> Arms:
    everything = all_of(cells)
    inside = [min(everything, cells.get(str(bound), 0.0)) for bound in bounds]
    return tuple(Arm(part, everything) for count in inside for part in (count, everything - count))


def all_of(cells: Mapping[str, float]) -> float:
    """How many there are: a histogram's last bucket holds all, classes add up."""
    return cells[ALL] if ALL in cells else sum(cells.values())


def described(metric: Metric, bounds: tuple[Bound, ...], index: int) -> str:
    """What an answer is that counts as bad in one of the comparisons."""
    if metric.kind is MetricKind.ERROR_RATE:
        return "bad"
    if metric.kind is MetricKind.LATENCY:
        return f"slower than {float(bounds[index]) / 1000:.4g} ms or failed"
    return f"{'outside' if index % 2 else 'in'} {bounds[index // 2]}"


def bounds_of(metric: Metric, seen: Counters) -> tuple[Bound, ...]:
    """Where a metric's comparisons cut, from what stable did; empty where there is nothing to cut."""
    if metric.kind is MetricKind.DISTRIBUTION:
        return _cuts(seen.cells.get(metric.name, {}))
    return _slow_bounds(seen, metric.quantile)


def seen_of(metric: Metric, seen: Counters) -> float:
    """How many answers bounds can be taken from."""
    return all_of(seen.cells.get(metric.name, {})) if metric.kind is MetricKind.DISTRIBUTION else seen.answers


def _cuts(cells: Mapping[str, float]) -> tuple[str, ...]:
    """A histogram's bounds that are nearest to its 10th, 50th and 90th percentile; the most frequent classes."""
    everything = all_of(cells)
    shares = {cell: count / everything for cell, count in cells.items() if everything and 0 < count < everything}
    if not shares:
        return ()
    if ALL not in cells:
        return tuple(sorted(sorted(shares, key=lambda cell: -shares[cell])[:MOST_CLASSES]))
    return tuple(sorted({min(shares, key=lambda cell: abs(shares[cell] - wanted)) for wanted in CUTS}))


def _slow_bounds(seen: Counters, quantile: float) -> tuple[float, ...]:
    """The bucket bounds that are nearest to stable's median, 90th percentile and the metric's quantile."""
    tails = {bound: 1 - count / seen.good for bound, count in seen.buckets.items() if bound != inf and seen.good}
    usable = {bound: tail for bound, tail in tails.items() if 0 < tail < 1}
    if not usable:
        # No answer is slower than the lowest bound that holds them all: slower ones would be news.
        return tuple(sorted(bound for bound, tail in tails.items() if tail <= 0)[:1])
    wanted = (*BODY, 1 - quantile)
    chosen = {min(usable, key=lambda bound: abs(log(usable[bound] / share))) for share in wanted}
    return tuple(sorted(chosen))


def distance(canary: Mapping[str, float], stable: Mapping[str, float]) -> tuple[float, float]:
    """How far two distributions are apart, for people: Kolmogorov-Smirnov distance, population stability index.

    For classes the first is the total variation. Cells that one side never had count as half an answer.
    """
    ours, theirs = all_of(canary), all_of(stable)
    if not ours or not theirs:
        return 0.0, 0.0
    names = sorted({*canary, *stable} - {ALL}, key=_place)
    gaps = [canary.get(cell, 0.0) / ours - stable.get(cell, 0.0) / theirs for cell in names]
    classes = ALL not in canary
    furthest = sum(map(abs, gaps)) / 2 if classes else max(map(abs, gaps), default=0.0)
    pairs = zip(_bins(canary, names, classes), _bins(stable, names, classes), strict=True)
    parts = [((a + 0.5) / (ours + 1), (b + 0.5) / (theirs + 1)) for a, b in pairs]
    return furthest, sum((p - q) * log(p / q) for p, q in parts)


def _bins(cells: Mapping[str, float], names: list[str], classes: bool) -> list[float]:
    """Counts that do not overlap: a histogram's buckets hold those below them too."""
    counts = [cells.get(cell, 0.0) for cell in names]
    if classes:
        return counts
    upper = [*counts, all_of(cells)]
    return [high - low for low, high in zip([0.0, *upper[:-1]], upper, strict=True)]


def _place(cell: str) -> tuple[float, str]:
    """Bounds in their order, classes by name."""
    try:
        return float(cell.removeprefix("<=")), ""
    except ValueError:
        return inf, cell
