"""When a round of measurements is due: right after Prometheus has read the canary, where that comes as often.

Asked at any time, an answer is half an interval old on average. Used by `probes`.
"""

from dataclasses import dataclass
from datetime import timedelta

from modelrollout.core.analysis import Analysed
from modelrollout.core.spec import Analysis

_MARGIN = timedelta(milliseconds=250)
"""How long after a scrape to ask, at most: what was read has to be there."""
_SHARE = 8
"""That margin as a part of the interval, at most; no pause is shorter either."""
_MISSES = 4
"""After so many looks that were to come right after a scrape and did not, the interval alone counts from then on."""
_SURE = 10
"""After so many in a row that did, those misses are forgotten: it was a scrape that was late or failed."""


@dataclass(slots=True)
class Rhythm:
    """Of one plan's rounds. Where scrapes come in another beat, or late, it is given up."""

    _aimed: bool = False
    _met: int = 0
    _missed: int = 0

    def pause(self, analysis: Analysis, measured: Analysed, elapsed: float) -> float:
        """Seconds from now until the next round, `elapsed` after the moment that the last one looked at."""
        interval, timeout = analysis.interval.total_seconds(), analysis.timeout.total_seconds()
        due = self._after_look(analysis.interval, timeout, measured.age)
        # Rounds that take long leave others out, rather than to be asked without a pause.
        rest = due - elapsed if elapsed < due else (due - elapsed) % interval
        return rest if rest >= interval / _SHARE else rest + interval

    def _after_look(self, interval: timedelta, timeout: float, age: timedelta | None) -> float:
        """Seconds from one look to the next. `age` is that of the canary's latest scrape at the look, if known."""
        whole = interval.total_seconds()
        if age is None or self._missed >= _MISSES:
            return whole
        margin = min(_MARGIN, interval / _SHARE)
        if timedelta() <= age <= 2 * margin:
            self._aimed, self._met = True, self._met + 1
            self._missed = 0 if self._met >= _SURE else self._missed
            return whole
        self._missed, self._met = self._missed + int(self._aimed), 0
        if self._missed >= _MISSES:
            # Where a slow scrape is always missed by a little, any other moment is better.
            return whole + min(whole / 2, timeout)
        self._aimed = True
        due = whole - ((age - margin) % interval).total_seconds()
        # No two looks at the same scrape, should it be late; nor a pause that makes the last look too old.
        return due if due >= min(whole / 2, timeout) else due + whole
