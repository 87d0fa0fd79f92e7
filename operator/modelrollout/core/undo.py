"""Which way a new revision goes out: with steps, or back by the fast path to one that was promoted lately."""

from itertools import pairwise

from modelrollout.core.reasons import Reason
from modelrollout.core.revisions import Revision
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import HistoryEntry, Outcome


def goes_back(s: Snapshot) -> bool:
    """Whether `spec` asks for one of the last `fastPathRevisions` that were promoted before the stable one.

    A revision that somebody went back from has to take its steps again.
    """
    limit = s.spec.strategy.fast_path
    return s.target.name in _before(s)[:limit]


def _before(s: Snapshot) -> list[str]:
    """Revisions promoted before the stable one, the latest first, without those that were left by the fast path."""
    promoted = [entry for entry in s.status.history if entry.end.outcome is Outcome.PROMOTED]
    left = {_left(newer, older) for newer, older in pairwise(promoted)}
    current = s.status.stable.revision if s.status.stable else ""
    earlier = [entry.target.revision for entry in promoted if entry.target.revision != current]
    return [revision for revision in dict.fromkeys(earlier) if revision not in left]


def _left(newer: HistoryEntry, older: HistoryEntry) -> str:
    return older.target.revision if newer.end.reason == Reason.UNDONE else ""


def method(s: Snapshot, stable: Revision | None) -> Method:
    """How stable pods will get the revision that `spec` asks for: a reload changes the version and nothing else."""
    if s.spec.strategy.method is Method.ROLL or stable is None or not s.target.same_pods(stable):
        return Method.ROLL
    return Method.RELOAD
