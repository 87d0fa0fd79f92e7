"""What a request that fits does to the rollout under way, before the ladder of its stage is climbed.

docs/design.md, "Requests". The change and `lastRequest` are in one write of `status`, so no kill can part them.
`abort` and `undo` of what is under way are proofs (`evidence`), `retry` and `undo` at rest are starts (`transitions`).
"""

from dataclasses import replace

from modelrollout.core.fitting import granted
from modelrollout.core.progressing import left
from modelrollout.core.requests import Request, Verb
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.status import Approval, Rollout, Stage, Status

_LONGEST = 1024


def carried_out(s: Snapshot) -> Status:
    """The status with what somebody asks for done, as far as it is done at once."""
    request, rollout = granted(s), s.status.rollout
    if request is None or rollout is None:
        return s.status
    noted = replace(s, status=s.status.with_rollout(requested=noted_request(s, request, rollout.requested)))
    return _changed(noted, rollout, request.verb)


def noted_request(s: Snapshot, request: Request, before: str = "") -> str:
    """Who asked for what, for the history; of very many the last."""
    said = f"{request.verb} by {s.asker or 'somebody'}"
    return "; ".join(filter(None, (before, said)))[-_LONGEST:]


def _changed(s: Snapshot, rollout: Rollout, verb: Verb) -> Status:
    match verb:
        case Verb.PAUSE:
            return s.status.with_rollout(paused=s.now, paused_by=s.asker or "somebody")
        case Verb.RESUME:
            return s.status.with_rollout(paused=None, paused_by="")
        case Verb.PROMOTE:
            return s.status.with_rollout(paused=None, paused_by="", approved=Approval.STEP)
        case Verb.SKIP:
            going = s.status.with_rollout(paused=None, paused_by="")
            return left(replace(s, status=going), rollout)
        case Verb.PROMOTE_FULL:
            # The present step is made the last: its weight is live, and nobody's share grows before promotion.
            steps = rollout.steps[: rollout.step] if rollout.stage is Stage.PROGRESSING else rollout.steps
            return s.status.with_rollout(paused=None, paused_by="", approved=Approval.FULL, steps=steps)
    return s.status
