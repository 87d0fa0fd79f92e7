"""Requests of people as the operator reads them: pure, from an object as it was seen.

`modelrollout.io/request: <verb>:<revision>.<attempt>:<step>[:<target revision>]`. The token says what the person saw,
so that one which comes late does nothing (docs/design.md, "Requests").
"""

from modelrollout.cli.errors import Failure
from modelrollout.core.status_json import status_from_json
from modelrollout.core.undo import earlier, safe_places
from modelrollout.core.values import JSON

UNDER_WAY_ONLY = frozenset({"promote", "promote-full", "abort", "skip", "pause", "resume"})
"""Verbs that need a rollout under way."""


def token(verb: str, obj: JSON, target: str = "") -> str:
    """The request for this verb and object. Raises Failure when there is nothing it could be about."""
    status: JSON = obj.get("status", {})
    name = obj["metadata"]["name"]
    if "rollout" in status and verb != "retry":
        revision, attempt, step = _under_way(status)
    elif verb in UNDER_WAY_ONLY:
        raise Failure(f"{name}: nothing is under way, so there is nothing to {verb}", _settled(status))
    elif verb == "retry":
        revision, attempt, step = _rejected(status, name)
    else:
        revision, attempt, step = _stable(status, name)
    return f"{verb}:{revision}.{attempt}:{step}" + (f":{target}" if target else "")


def undo_target(obj: JSON, wanted: str) -> str:
    """Revision to go back to: the `wanted` version or revision, else the one promoted before.

    Empty for a rollout under way, which is taken back. Raises Failure when there is no such version.
    """
    status, name = status_from_json(obj.get("status", {})), obj["metadata"]["name"]
    if status.stable is None:
        raise _nothing_serves(name)
    stable = {status.stable.revision, str(status.stable.version)}
    if status.rollout is not None:
        version = status.rollout.target.version
        if wanted in {"", *stable}:
            return ""
        raise Failure(f"{name}: version {version} is under way", "Undo without --to takes it back.")
    known = ", ".join(str(version) for version in dict.fromkeys(item.version for item in earlier(status))) or "none"
    for place in earlier(status) if wanted else safe_places(status):
        if wanted in {"", place.revision, str(place.version)}:
            return place.revision
    if wanted and wanted in stable:
        raise Failure(f"{name}: {wanted} is what serves now", f"Promoted before it: {known}.")
    if wanted:
        raise Failure(f"{name}: {wanted} was never promoted here, or too long ago", f"Promoted before: {known}.")
    raise Failure(
        f"{name}: nothing was promoted before what serves now that nobody went back from", f"With --to: {known}."
    )


def answered(obj: JSON, asked: str) -> str | None:
    """What the operator answered to a token, None while it has not."""
    last: JSON = obj.get("status", {}).get("lastRequest", {})
    return str(last.get("answer", "")) if last.get("token") == asked else None


def _under_way(status: JSON) -> tuple[str, int, int]:
    rollout = status["rollout"]
    return status["canary"]["revision"], rollout["attempt"], rollout.get("step", 0)


def _rejected(status: JSON, name: str) -> tuple[str, int, int]:
    if "rollout" in status:
        raise Failure(f"{name}: version {status['canary']['version']} is under way", "Retry is for a rejected version.")
    if "rejected" not in status:
        raise Failure(f"{name}: no version is rejected, so there is nothing to retry", _settled(status))
    return status["rejected"]["revision"], _last_attempt(status), 0


def _stable(status: JSON, name: str) -> tuple[str, int, int]:
    if "stable" not in status:
        raise _nothing_serves(name)
    return status["stable"]["revision"], _last_attempt(status), 0


def _nothing_serves(name: str) -> Failure:
    return Failure(f"{name}: nothing serves yet", "`kubectl modelrollout status` says what it waits for.")


def _last_attempt(status: JSON) -> int:
    return int(status["history"][0]["attempt"]) if status.get("history") else 0


def _settled(status: JSON) -> str:
    return f"Status: {status.get('phase', 'not looked at yet')}. {status.get('message', '')}".strip()
