"""Children that somebody else changes: written back at once, but not in a fight without end."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

WINDOW = timedelta(seconds=60)
MOST = 5
"""So many repairs of one object within the window are a fight: it is `Stalled`, and repaired only now and then."""
TRUCE = timedelta(seconds=30)
"""Between two repairs of an object that is fought over."""

ObjectName = tuple[str, str]
"""Kind and name."""


@dataclass(slots=True)
class Repairs:
    """What was repaired lately, of one ModelRollout. A repair writes again what was written before."""

    _done: dict[ObjectName, list[datetime]] = field(default_factory=dict)
    _fought: dict[ObjectName, datetime] = field(default_factory=dict)

    def first(self, which: ObjectName, now: datetime) -> bool:
        """Whether this would be the first repair of the object for a while: worth an event."""
        return not [moment for moment in self._done.get(which, ()) if now - moment < WINDOW]

    def allow(self, which: ObjectName, now: datetime) -> bool:
        """Whether the object may be repaired now; counts it if so."""
        done = [moment for moment in self._done.get(which, ()) if now - moment < WINDOW]
        if which in self._fought:
            self._fought[which] = now
            if done and now - done[-1] < TRUCE:
                return False
        self._done[which] = [*done, now]
        if len(done) + 1 >= MOST:
            self._fought[which] = now
        return True

    def contested(self, now: datetime) -> str:
        """The object that is fought over, as `Kind name`; empty once no repair was wanted for the whole window."""
        self._fought = {which: wanted for which, wanted in self._fought.items() if now - wanted < WINDOW}
        return next((f"{kind} {name}" for kind, name in self._fought), "")
