"""All rules side by side over the same ticks; `trial` asks when each would have taken the version back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.judge.textbook import Fixed, Kayenta, Proportions
from benchmarks.judge.twin import Twin, Variant
from benchmarks.judge.windows import Breaches, Limit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.judge.traces import Tick

    Numbers = NDArray[np.float64]

ALARM = Limit(300, 60, ratio=1.5)
FLAGGER = Limit(60, 60, ratio=1.5, empty_fails=True)
FLAGGER_THRESHOLD = 5
ARGO_FAILURES, ARGO_ERRORS = 4, 5
IN_A_ROW = 5


class Own:
    """The operator's rule alone, and its suspicion."""

    def __init__(self, runs: int, comparisons: int = 1, variant: Variant = Variant()) -> None:  # noqa: B008 - frozen
        self.twin = Twin(runs, comparisons, variant)

    def hear(self, tick: Tick) -> None:
        """Take a tick in."""
        self.twin.hear(tick)

    def times(self) -> dict[str, Numbers]:
        """When each rule would have ended each run: seconds, infinite for never."""
        return {"proof": self.twin.proven, "suspicion": self.twin.alarmed}


class Everybody(Own):
    """The operator's rule, and its rivals with the settings of their own documentation.

    Flagger rolls back a tick after its threshold; a window without answers is a failed check there, and an error with
    Argo, whose fifth error in a row aborts.
    """

    def __init__(self, runs: int) -> None:
        super().__init__(runs)
        self._unfixed, self._proportions, self._kayenta = Fixed(runs, 1.0), Proportions(runs), Kayenta(runs)
        self._alarm, self._flagger = Breaches(runs, ALARM), Breaches(runs, FLAGGER)

    def hear(self, tick: Tick) -> None:
        """Take a tick in."""
        super().hear(tick)
        for rule in (self._unfixed, self._proportions, self._kayenta, self._alarm, self._flagger):
            rule.hear(tick)

    def times(self) -> dict[str, Numbers]:
        """When each rule would have ended each run."""
        alarm = self._alarm
        argo = alarm.in_all[ARGO_FAILURES - 1].clip(max=alarm.empty[ARGO_ERRORS - 1])
        return {
            **super().times(),
            "phi 1": self._unfixed.failed,
            "one breach": alarm.in_all[0],
            "five in a row": alarm.in_a_row[IN_A_ROW - 1],
            "Flagger": self._flagger.in_all[FLAGGER_THRESHOLD - 1] + FLAGGER.interval,
            "Argo": argo,
            "Kayenta": self._kayenta.failed,
            "z-test": self._proportions.failed,
        }


class Remembering(Own):
    """From the canary's first answer on nobody serves the stable version: what that did before stands in."""

    def hear(self, tick: Tick) -> None:
        """Take a tick in."""
        self.twin.hear(tick, frozen=tick.at > 0)


class Certifying(Own):
    """When the operator's rule first says that the canary is no worse than is tolerated, and when it has proof."""

    def __init__(self, runs: int) -> None:
        super().__init__(runs)
        self._certified = np.full(runs, np.inf)

    def hear(self, tick: Tick) -> None:
        """Take a tick in."""
        super().hear(tick)
        self._certified[self.twin.passed & np.isinf(self._certified)] = tick.at

    def times(self) -> dict[str, Numbers]:
        """The first moments of both."""
        return {"no worse": self._certified, "proof": self.twin.proven}
