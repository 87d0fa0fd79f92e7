"""A simulated rollout in words and as data. Pure; `cli.commands.simulate` prints it."""

from collections.abc import Iterable
from typing import Any

from modelrollout.planning.simulate import Played
from modelrollout.planning.trace import Mark
from modelrollout.planning.world import Happening

_QUIET = frozenset({"RolloutStarted", "CanaryReady", "WeightSet", "BakeStarted"})
"""What people read, and what needs no line in a picture: the weight shows it."""


def as_words(description: str, played: Played) -> str:
    """What would have happened, line by line."""
    lines = [description, ""]
    lines += [f"{clock(item.at):>9}  {item.reason}: {item.message}" for item in played.told]
    lines += ["", _end(played), _users(played)]
    if played.suspicions:
        lines.append(f"Suspicions: {played.suspicions}.")
    if played.left_out:
        lines.append(
            f"Left out, because the scenario gives no values (queries, predictions): {', '.join(played.left_out)}."
        )
    return "\n".join(lines)


def _end(played: Played) -> str:
    if played.end is None:
        return f"Not over after {clock(played.seconds)}: {played.waits}."
    return f"{played.end.end.outcome} after {clock(played.seconds)} ({played.end.end.reason})."


def _users(played: Played) -> str:
    words = f"Users got {played.answers:,.0f} answers, {played.bad:,.0f} of them bad"
    return f"{words}; about {max(0.0, played.extra):,.0f} would not have been bad without the rollout."


def as_data(played: Played) -> dict[str, Any]:
    """The same for programs; times in seconds since the rollout began."""
    end = played.end.end if played.end else None
    return {
        "outcome": str(end.outcome) if end else None,
        "reason": end.reason if end else None,
        "message": end.message if end else played.waits,
        "seconds": played.seconds,
        "answers": played.answers,
        "bad": played.bad,
        "badForTheNewVersion": round(max(0.0, played.extra), 1),
        "suspicions": played.suspicions,
        "leftOut": list(played.left_out),
        "events": [{"at": item.at, "reason": item.reason, "message": item.message} for item in played.told],
    }


def marks(told: Iterable[Happening]) -> list[Mark]:
    """Lines for the picture."""
    return [Mark(item.at, item.reason) for item in told if item.reason not in _QUIET | {"WeightLive"}]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds since the rollout began."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
