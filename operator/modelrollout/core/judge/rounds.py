"""From counters that Prometheus holds to what each pod answered between two looks (docs/judge-statistics.md, "Counts").

Nothing is guessed: a pod whose counters were not read anew adds nothing until they are, one whose counters went
backwards without a restart is not believed, and what a pod answered before it changed sides is on neither.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from modelrollout.core.counters import Counters, PodWindow, increase, shrank
from modelrollout.core.judge.process import BLOCK


@dataclass(frozen=True, slots=True)
class Mark:
    """A pod's counters when they were last taken, and when that was (POSIX seconds)."""

    at: float
    counters: Counters


@dataclass(frozen=True, slots=True)
class Marks:
    """Every pod's last counters; `at` is when the last round ended."""

    at: float
    pods: Mapping[str, Mark] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Round:
    """What each pod answered in the `seconds` before `at`. `stable` is None when no pod serves that version alone."""

    at: float
    seconds: float
    canary: Mapping[str, Counters]
    stable: Mapping[str, Counters] | None


def marks_of(at: float, look: Mapping[str, Counters]) -> Marks:
    """Where counting starts: everything that `look` shows was there before."""
    return Marks(at, {pod: Mark(at, counters) for pod, counters in look.items()})


def next_round(
    marks: Marks,
    at: float,
    look: Mapping[str, Counters],
    canary: Iterable[PodWindow],
    stable: Iterable[PodWindow],
) -> tuple[Round | None, Marks]:
    """The round that ends with a look at `at`, None while a side waits for its next scrape, and the new marks.

    Pods of the look that are on no side are marked, so that counting can begin with them at any moment.
    """
    new, old = tuple(canary), tuple(stable)
    if at - marks.at < BLOCK and any(_waits(marks, look, side) for side in (new, old)):
        return None, marks
    doubted = {w.pod for w in (*new, *old) if not _believed(marks, look, w)}
    after = {pod: Mark(at, counters) for pod, counters in look.items() if pod not in doubted}
    answered = _answered(marks, look, old) if old else None
    return Round(at, at - marks.at, _answered(marks, look, new), answered), Marks(at, {**marks.pods, **after})


def _answered(marks: Marks, look: Mapping[str, Counters], side: Iterable[PodWindow]) -> dict[str, Counters]:
    found = {window.pod: _since(marks, look.get(window.pod), window) for window in side}
    return {pod: counts for pod, counts in found.items() if counts is not None}


def _waits(marks: Marks, look: Mapping[str, Counters], side: Iterable[PodWindow]) -> bool:
    """Whether nothing of a side was read anew."""
    seen = [window for window in side if window.pod in look]
    return bool(seen) and all(_stale(marks, look, window) for window in seen)


def _since(marks: Marks, end: Counters | None, window: PodWindow) -> Counters | None:
    """What a pod answered since its mark, None when that is not known."""
    mark = marks.pods.get(window.pod)
    if end is None:
        return None
    if window.changed is not None and (mark is None or mark.at < window.changed.timestamp()):
        return None
    if mark is None:
        fresh = window.new or (window.born is not None and window.born.timestamp() >= marks.at)
        return end if fresh else None
    if not _newer(mark, end) or (shrank(mark.counters, end) and not _restarted(mark, window)):
        return None
    return increase(mark.counters, end)


def _believed(marks: Marks, look: Mapping[str, Counters], window: PodWindow) -> bool:
    """Whether a pod's counters become its mark."""
    mark, end = marks.pods.get(window.pod), look.get(window.pod)
    if end is None or mark is None:
        return end is not None
    return _newer(mark, end) and (not shrank(mark.counters, end) or _restarted(mark, window))


def _stale(marks: Marks, look: Mapping[str, Counters], window: PodWindow) -> bool:
    mark, end = marks.pods.get(window.pod), look.get(window.pod)
    return mark is not None and end is not None and not _newer(mark, end)


def _newer(mark: Mark, end: Counters) -> bool:
    """Whether Prometheus has read the pod since; where it does not say when, it has."""
    return not end.scraped or end.scraped > mark.counters.scraped


def _restarted(mark: Mark, window: PodWindow) -> bool:
    return window.born is not None and window.born.timestamp() > mark.at - 1
