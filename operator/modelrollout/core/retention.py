"""A rejected canary that is kept for a look at it, without traffic (docs/design.md, "A rejected canary").

How long follows from the history and `spec` alone, so a pass after a kill keeps it as long as the one before.
"""

from dataclasses import replace
from datetime import datetime

from modelrollout.core.fitting import wishes_start
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import Outcome, Rollout, Status


def kept_until(s: Snapshot, status: Status) -> datetime | None:
    """Until when there is a rejected canary to look at, None when there is none; who starts a rollout gets its GPUs."""
    rejected, last = status.rejected, status.history[0] if status.history else None
    if status.rollout is not None or rejected is None or last is None or not s.canary_left:
        return None
    if last.end.outcome is not Outcome.ROLLED_BACK or last.target.revision != rejected.target.revision:
        return None
    until = last.ended + s.spec.strategy.retain
    return until if s.now < until and not _another_wanted(replace(s, status=status)) else None


def to_be_kept(s: Snapshot, rollout: Rollout) -> bool:
    """Whether the canary of a rollout on its way back is to outlast it."""
    rejected = rollout.end is not None and rollout.end.outcome is Outcome.ROLLED_BACK and rollout.undoes is None
    return rejected and bool(s.spec.strategy.retain)


def _another_wanted(s: Snapshot) -> bool:
    status = s.status
    known = {version.revision for version in (status.stable, status.rejected and status.rejected.target) if version}
    return wishes_start(s) or (s.target.name not in known and not s.spec.paused)
