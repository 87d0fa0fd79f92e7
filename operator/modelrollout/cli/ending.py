"""Whether a rollout has come to its end, and which. Pure; `status` makes its exit code from it."""

from modelrollout.cli.errors import Exit
from modelrollout.cli.views.words import at, condition, holds, seen
from modelrollout.core.values import JSON


def ending(obj: JSON) -> Exit | None:
    """OK when what `spec` asks for serves, REVERTED when it will not without somebody doing something, None before.

    Conditions count only once they speak about the object as it is now: right after `kubectl apply` they do not.
    """
    if not seen(obj) or at(obj, "status.rollout", None):
        return None
    if holds(obj, "Stalled"):
        return Exit.REVERTED
    return Exit.OK if holds(obj, "Ready") else None


def said(obj: JSON) -> str:
    """The end in one line."""
    name = at(obj, "metadata.name")
    reason = condition(obj, "Stalled").get("reason", "")
    words = {Exit.OK: "done", Exit.REVERTED: f"not done, {reason}", None: at(obj, "status.phase", "Pending")}
    return f"{name}: {words[ending(obj)]}: {at(obj, 'status.message', 'the operator has not looked at it yet')}"
