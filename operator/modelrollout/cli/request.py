"""Requests of people as the operator reads them: pure, from an object as it was seen.

`modelrollout.io/request: <verb>:<revision>.<attempt>:<step>[:<target revision>]`. The token says what the person saw,
so that one which comes late does nothing (docs/design.md, "Requests").
"""

from modelrollout.cli.errors import Failure
from modelrollout.core.values import JSON

UNDER_WAY_ONLY = frozenset({"promote", "promote-full", "abort", "skip"})
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


def undo_target(obj: JSON, wanted: str) -> tuple[str, int]:
    """Revision and version to go back to: the one promoted before, or the `wanted` version or revision."""
    status: JSON = obj.get("status", {})
    if "rollout" in status:
        version = status["canary"]["version"]
        raise Failure(f"{obj['metadata']['name']}: version {version} is under way", "Abort it first.")
    name, serving = obj["metadata"]["name"], status.get("stable", {}).get("revision", "")
    promoted = [entry for entry in status.get("history", ()) if entry["outcome"] == "Promoted"]
    earlier = {entry["revision"]: entry["version"] for entry in promoted if entry["revision"] != serving}
    known = ", ".join(str(version) for version in dict.fromkeys(earlier.values())) or "none"
    for revision, version in earlier.items():
        if wanted in {"", revision, str(version)}:
            return revision, version
    if wanted and wanted in {serving, str(status.get("stable", {}).get("version"))}:
        raise Failure(f"{name}: {wanted} is what serves now", f"Promoted before it: {known}.")
    if wanted:
        raise Failure(f"{name}: {wanted} was never promoted here, or too long ago", f"Promoted before: {known}.")
    raise Failure(f"{name}: nothing was promoted before what serves now, so there is nothing to go back to")


def answered(obj: JSON, asked: str) -> str | None:
    """What the operator answered to a token, None while it has not."""
    last: JSON = obj.get("status", {}).get("lastRequest", {})
    return str(last.get("answer", "")) if last.get("token") == asked else None


def was_done(verb: str, answer: str) -> bool:
    """Whether an answer means yes. All others say why not: stale, not understood, not possible now."""
    return answer.startswith(f"{verb}: done")


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
        raise Failure(f"{name}: nothing serves yet", "`kubectl modelrollout status` says what it waits for.")
    return status["stable"]["revision"], _last_attempt(status), 0


def _last_attempt(status: JSON) -> int:
    return int(status["history"][0]["attempt"]) if status.get("history") else 0


def _settled(status: JSON) -> str:
    return f"Status: {status.get('phase', 'not looked at yet')}. {status.get('message', '')}".strip()
