"""The node agent's only clock: wall-clock times as the Kubernetes API writes them. Called wherever a state
begins.
"""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """`moment` as the API's ``metav1.Time``: UTC, whole seconds, for example ``2026-01-31T08:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
