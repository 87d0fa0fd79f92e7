"""Requests of people: one annotation, `modelrollout.io/request: <verb>:<revision>.<attempt>:<step>`.

The token names what it was meant for, so that one which arrives late does nothing. `status.lastRequest` keeps the last
token that was handled; a second retry of the same revision is another attempt, hence another token.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import LastRequest, Stage

_TOKEN = re.compile(r"(?P<verb>[a-z-]+):(?P<revision>[0-9a-f]{10})\.(?P<attempt>\d{1,9}):(?P<step>\d{1,3})")
_LONGEST = 256


class Verb(StrEnum):
    """What can be asked for."""

    ABORT = "abort"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class _Request:
    verb: Verb
    revision: str
    attempt: int


def asks(s: Snapshot, verb: Verb) -> bool:
    """Whether somebody asks for this now, and it fits what is going on."""
    request = _pending(s)
    return isinstance(request, _Request) and request.verb is verb and not _misses(s, request)


def handled(s: Snapshot) -> LastRequest | None:
    """What `status.lastRequest` says after this pass. A retry that cannot start yet stays pending."""
    request = _pending(s)
    waits = isinstance(request, _Request) and request.verb is Verb.RETRY and not _misses(s, request) and not s.may_start
    if request is None or waits:
        return s.status.last_request
    answer = request if isinstance(request, str) else _misses(s, request) or f"{request.verb}: done"
    return LastRequest(s.request[:_LONGEST], answer)


def _pending(s: Snapshot) -> "_Request | str | None":
    """The request that was not handled yet, what is wrong with it if it cannot be read, None when there is none."""
    last = s.status.last_request
    if not s.request or (last is not None and last.token == s.request[:_LONGEST]):
        return None
    match = _TOKEN.fullmatch(s.request)
    if match is None:
        return "not understood: a request looks like abort:0123456789.2:1, verb:revision.attempt:step"
    if match["verb"] not in set(Verb):
        return f"{match['verb']}: not understood; there are {', '.join(Verb)}"
    return _Request(Verb(match["verb"]), match["revision"], int(match["attempt"]))


def _misses(s: Snapshot, request: _Request) -> str:
    """Why a request does nothing, empty when it fits. The step is not compared: an abort is wanted in any of them."""
    rollout, rejected = s.status.rollout, s.status.rejected
    asked = f"{request.verb}: stale, asked for revision {request.revision}, attempt {request.attempt}"
    if request.verb is Verb.RETRY:
        last = s.status.history[0].attempt if s.status.history else 0
        fits = rollout is None and rejected is not None and rejected.target.revision == request.revision
        return "" if fits and request.attempt == last else f"{asked}, which is not the one that was rejected last"
    if rollout is None or (rollout.target.revision, rollout.attempt) != (request.revision, request.attempt):
        return f"{asked}, which is not under way"
    if rollout.stage is Stage.INITIALIZING:
        return "abort: nothing to go back to, this is the first version; change spec.model.version instead"
    return "abort: it is being taken back already" if rollout.stage is Stage.ROLLING_BACK else ""
