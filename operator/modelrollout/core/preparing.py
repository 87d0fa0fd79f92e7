"""What a canary that is being prepared still owes, for how long it may, and in whose words it failed.

docs/design.md, "Stages of a rollout": nobody's traffic is touched until its pods answer and both versions fit.
"""

from collections.abc import Iterator
from datetime import datetime

from modelrollout.core.diagnosis import server_words
from modelrollout.core.names import Track, child
from modelrollout.core.pods import ready_by, stable_version
from modelrollout.core.reasons import Reason
from modelrollout.core.snapshot import LoadState, ServerReport, Snapshot
from modelrollout.core.status import End, Outcome, Rollout
from modelrollout.core.targets import proving_pod
from modelrollout.core.values import parse_time


def not_ready(s: Snapshot, rollout: Rollout) -> End:
    """The end of a rollout whose canary did not come up in time."""
    report = proving_report(s, rollout)
    error = report.failure(stable_version(s)) if report else ""
    if error:
        message = f"both versions do not fit in one server: {error}"
        return End(Outcome.ROLLED_BACK, Reason.NO_MEMORY_FOR_TWO_VERSIONS, message, error)
    words = server_words(s.track(Track.CANARY), rollout.target.version, f"{s.target.base_path}/{s.target.version}")
    return End(Outcome.ROLLED_BACK, Reason.CANARY_NOT_READY, f"canary not ready in time: {words}", words)


def too_late(s: Snapshot) -> bool:
    """The deadline runs from when the canary got its place: waiting for a GPU is nobody's fault."""
    start = canary_deadline_start(s)
    return start is not None and s.now >= ready_by(s, start)


def canary_deadline_start(s: Snapshot) -> datetime | None:
    """When the last canary pod got its node, None while one has none; without any pod since when none can be made."""
    pods = s.track(Track.CANARY)
    if not pods:
        return _refused_since(s)
    placed = [pod.scheduled for pod in pods if pod.scheduled is not None]
    if len(placed) < len(pods):
        return None
    told = list(_told(s, s.status.rollout)) if s.status.rollout else []
    return max(placed + told)


def _told(s: Snapshot, rollout: Rollout) -> Iterator[datetime]:
    """Since when canary pods that answer know what to load for the proof that both versions fit, and after it.

    Now for one that was not told yet: it owes nothing. The API server may have been away.
    """
    proving, old = proving_pod(s, rollout), stable_version(s)
    both = not rollout.fits
    for pod in [proving] if proving else s.track(Track.CANARY) if rollout.fits else ():
        call, state = pod.server.reload, pod.report.state(old) if pod.report else None
        if call is not None and call.asks_for(old) is both:
            yield call.over or call.sent
        elif state is (None if both else LoadState.AVAILABLE):
            yield s.now


def _refused_since(s: Snapshot) -> datetime | None:
    """Since when the canary's pods are refused (by a quota, say). A pod that is only gone for a moment is not."""
    found = s.child("Deployment", child(s.name, Track.CANARY))
    conditions = found.raw.get("status", {}).get("conditions", ()) if found else ()
    failed = (item for item in conditions if item["type"] == "ReplicaFailure" and item["status"] == "True")
    return next((parse_time(item["lastTransitionTime"]) for item in failed), None)


def both_answer(s: Snapshot, rollout: Rollout) -> bool:
    """Both versions answer in one canary server: promotion by reload will fit."""
    report = proving_report(s, rollout)
    return report is not None and stable_version(s) in report.answering


def proving_report(s: Snapshot, rollout: Rollout) -> ServerReport | None:
    """What the server says that is to prove that both versions fit, None before it may."""
    pod = proving_pod(s, rollout)
    return pod.report if pod else None
