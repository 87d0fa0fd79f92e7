"""Requests of people: one annotation, `modelrollout.io/request: <verb>:<revision>.<attempt>:<step>[:<target>]`.

The token names what it was meant for, so that one which arrives late does nothing. `status.lastRequest` keeps the last
token that was handled. Here is how a token is read and whether it is late; `fitting` says whether its verb makes sense,
`verbs` what it does.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from modelrollout.core.snapshot import Snapshot

_TOKEN = re.compile(
    r"(?P<verb>[a-z-]+):(?P<revision>[0-9a-f]{10})\.(?P<attempt>\d{1,9}):(?P<step>\d{1,3})(:(?P<target>[0-9a-f]{10}))?"
)
LONGEST = 256
"""Characters of a token that are kept."""


class Verb(StrEnum):
    """What can be asked for."""

    ABORT = "abort"
    RETRY = "retry"
    UNDO = "undo"
    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    SKIP = "skip"


OF_A_STEP = frozenset({Verb.PROMOTE, Verb.SKIP})
"""Verbs that end a step: only the one that was seen."""


@dataclass(frozen=True, slots=True)
class Request:
    """A token that could be read. `target` is the revision to go back to, empty for the one promoted before."""

    verb: Verb
    revision: str
    attempt: int
    step: int
    target: str = ""


def pending(s: Snapshot) -> Request | str | None:
    """The request that was not handled yet, what is wrong with it if it cannot be read, None when there is none."""
    last = s.status.last_request
    if not s.request or (last is not None and last.token == s.request[:LONGEST]):
        return None
    match = _TOKEN.fullmatch(s.request)
    if match is None:
        return "not understood: a request looks like abort:0123456789.2:1, verb:revision.attempt:step"
    if match["verb"] not in set(Verb):
        return f"{match['verb']}: not understood; there are {', '.join(Verb)}"
    if match["target"] and match["verb"] != Verb.UNDO:
        return f"{match['verb']}: not understood: only undo has a fourth part, the revision to go back to"
    verb, attempt, step = Verb(match["verb"]), int(match["attempt"]), int(match["step"])
    return Request(verb, match["revision"], attempt, step, match["target"] or "")


def stale(s: Snapshot, request: Request) -> str:
    """Why a request comes too late, or was never right; empty when it speaks of what is the case."""
    rollout = s.status.rollout
    asked = f"{request.verb}: stale, asked for revision {request.revision}, attempt {request.attempt}"
    if request.verb is Verb.RETRY or (request.verb is Verb.UNDO and rollout is None):
        return _stale_at_rest(s, request, asked)
    if rollout is None:
        return f"{asked}, which is not under way: nothing is"
    now = f"version {rollout.target.version} is, as {rollout.target.revision}.{rollout.attempt}:{rollout.step}"
    if (rollout.target.revision, rollout.attempt) != (request.revision, request.attempt):
        return f"{asked}, which is not under way: {now}"
    if request.verb in OF_A_STEP and request.step != rollout.step:
        return f"{request.verb}: stale, asked in step {request.step}, which is over or to come: {now}"
    return ""


def _stale_at_rest(s: Snapshot, request: Request, asked: str) -> str:
    """Retry speaks of the revision that was rejected last, undo of the one that serves."""
    rollout, rejected, stable = s.status.rollout, s.status.rejected, s.status.stable
    last = s.status.history[0].attempt if s.status.history else 0
    meant = (request.revision, request.attempt)
    if request.verb is Verb.RETRY:
        fits = rollout is None and rejected is not None and meant == (rejected.target.revision, last)
        return "" if fits else f"{asked}, which is not the one that was rejected last"
    if stable is None:
        return "undo: nothing serves yet, so there is nothing to go back from"
    return "" if meant == (stable.revision, last) else f"{asked}, which is not what serves: version {stable.version} is"
