"""What people may want to be told about: a filter over reasons, for notifications."""

from enum import StrEnum

from modelrollout.core.reasons import ABORTS, STALLS, Reason


class Topic(StrEnum):
    """One choice of the setting."""

    STARTED = "started"
    WAITING = "waiting"
    ABORTED = "aborted"
    PROMOTED = "promoted"
    STALLED = "stalled"


_TOPICS = {
    Reason.ROLLOUT_STARTED: Topic.STARTED,
    Reason.WAITING_FOR_APPROVAL: Topic.WAITING,
    Reason.PROMOTED: Topic.PROMOTED,
    Reason.UNDONE: Topic.ABORTED,
    **dict.fromkeys(ABORTS, Topic.ABORTED),
    **dict.fromkeys(STALLS, Topic.STALLED),
}


def topic_of(reason: str) -> Topic | None:
    """Which choice an event belongs to, None for one that nobody is called about."""
    return _TOPICS[Reason(reason)] if reason in _TOPICS else None
