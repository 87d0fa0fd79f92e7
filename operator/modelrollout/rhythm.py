"""When a round of measurements is due: right after Prometheus has read the canary, where that comes as often.

Asked at any time, an answer is half an interval old on average. Used by `probes`.
"""

from dataclasses import dataclass
from datetime import timedelta

from modelrollout.core.analysis import Analysed
from modelrollout.core.spec import Analysis

_MARGIN = 0.25
"""Seconds after a scrape at which to ask, at most: what was read has to be there."""
_SHARE = 8
"""That margin as a part of the interval, at most; no pause is shorter either."""
_LATEST, _SHRINKS = 0.75, 0.75
"""Where scrapes take longer the margin grows, to this part of the interval at most; by the other it shrinks again."""
_MISSES = 5
"""After so many looks that did not see the scrape they were to come after, the interval alone counts."""
_SURE = 10
"""After so many in a row that did, those misses are forgotten: it was a scrape that was late or failed."""
_AGAIN = 30
"""After so many by the interval alone one more is tried: the beat may be there by now, or the load gone. After so many
that saw their scrape the margin shrinks."""


@dataclass(slots=True)
class Rhythm:
    """Of one plan's rounds. Where scrapes come in another beat, or late, it is given up for a while.

    A look that comes late itself misses nothing: whether the scrape that it sees is in the beat tells.
    """

    _beat: float | None = None
    """The moment of a scrape that a look was aimed by, in seconds since the epoch."""
    _margin: float = 0.0
    """Seconds after a scrape at which to ask, where they have grown."""
    _met: int = 0
    """Looks in a row that saw the scrape they were aimed by."""
    _in_vain: int = 0
    """Looks in a row that did not."""
    _missed: int = 0
    _unaimed: int = 0

    def pause(self, analysis: Analysis, measured: Analysed, elapsed: float) -> float:
        """Seconds from now until the next round, `elapsed` after the moment that the last one looked at."""
        interval = analysis.interval.total_seconds()
        due = self._after_look(interval, analysis.timeout.total_seconds(), measured)
        # Rounds that take long leave others out, rather than to be asked without a pause.
        rest = due - elapsed if elapsed < due else (due - elapsed) % interval
        return rest if rest >= interval / _SHARE else rest + interval

    def _after_look(self, interval: float, timeout: float, measured: Analysed) -> float:
        """Seconds from one look to the next. The age of the canary's latest scrape at the look may not be known."""
        if measured.age is None:
            return interval
        age, at = measured.age / timedelta(seconds=1), measured.at.timestamp()
        if not self._aims(interval, age, at):
            self._beat = None
            return interval
        self._beat = at - age
        due = interval - (age - self._after(interval)) % interval
        # No two looks at the same scrape, should it be late; nor a pause that makes the last look too old.
        return due if due >= min(interval / 2, timeout) else due + interval

    def _aims(self, interval: float, age: float, at: float) -> bool:
        """Whether the next look is to come right after a scrape, by how the last that was to fared."""
        if self._beat is not None and self._meets(interval, age, (at - self._beat) % interval):
            return True
        if self._missed < _MISSES:
            return True
        self._margin, self._in_vain = 0.0, 0
        self._unaimed = (self._unaimed + 1) % _AGAIN
        return self._unaimed == 0

    def _meets(self, interval: float, age: float, aimed: float) -> bool:
        """Whether a look saw the scrape it was aimed by, of this age by now, or if it came late that of another pod."""
        least = self._least(interval)
        late = max(0.0, aimed - self._after(interval))
        if -late - least <= age - aimed <= least:
            self._met, self._in_vain = self._met + 1, 0
            self._missed = 0 if self._met >= _SURE else self._missed
            if self._met % _AGAIN == 0:
                self._margin *= _SHRINKS
            return True
        self._met, self._missed, self._in_vain = 0, self._missed + 1, self._in_vain + 1
        # One alone may have failed; of two in a row what they read was not there yet.
        if self._in_vain > 1:
            self._margin = min(interval * _LATEST, 2 * max(least, self._margin))
        return False

    def _after(self, interval: float) -> float:
        return max(self._margin, self._least(interval))

    @staticmethod
    def _least(interval: float) -> float:
        return min(_MARGIN, interval / _SHARE)
