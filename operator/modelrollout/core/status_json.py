"""`status` to and from the JSON that the API server stores. The reconciler is the only caller."""

from dataclasses import fields
from datetime import datetime
from typing import Any

from modelrollout.core.spec import Method, Step
from modelrollout.core.spec_json import MANUAL, parse_step
from modelrollout.core.status import (
    SCHEMA_VERSION,
    Approval,
    Baseline,
    Condition,
    End,
    HistoryEntry,
    Judged,
    LastRequest,
    Outcome,
    Rejected,
    Rollout,
    Stage,
    Status,
    Story,
    Version,
)
from modelrollout.core.values import JSON, format_duration, format_time, parse_time


def status_to_json(status: Status) -> dict[str, Any]:
    """`status` as the API server stores it. Fields without a value are left out."""
    story = status.story
    return _without_nones(
        {
            "schemaVersion": status.schema_version,
            "observedGeneration": status.observed_generation,
            "phase": str(story.phase),
            "message": _line(story.message),
            "progress": _line(story.progress) or None,
            "nextDecision": _line(story.next_decision) or None,
            "lastVerdict": story.last_verdict or None,
            "currentStep": story.current_step or None,
            "replicas": status.replicas,
            "selector": status.selector or None,
            "stable": _version_json(status.stable),
            "canary": _version_json(status.rollout.target if status.rollout else None),
            "rollout": _rollout_json(status.rollout, story),
            "rejected": _rejected_json(status.rejected),
            "lastRequest": _request_json(status.last_request),
            "lastHandledReconcileAt": status.reconcile_handled or None,
            "analysis": [_judged_json(judged) for judged in status.analysis] or None,
            "history": [_history_json(entry) for entry in status.history] or None,
            "conditions": [_condition_json(condition) for condition in story.conditions],
        }
    )


def status_from_json(raw: JSON) -> Status:
    """The inverse of `status_to_json`, for what the rules need; of the story only conditions are read back."""
    return Status(
        schema_version=raw.get("schemaVersion", SCHEMA_VERSION),
        observed_generation=raw.get("observedGeneration", 0),
        stable=_version(raw.get("stable")),
        rollout=_rollout(raw.get("rollout"), raw.get("canary")),
        rejected=_rejected(raw.get("rejected")),
        analysis=tuple(_judged(item) for item in raw.get("analysis", ())),
        history=tuple(_history(item) for item in raw.get("history", ())),
        replicas=raw.get("replicas", 0),
        selector=raw.get("selector", ""),
        last_request=_request(raw.get("lastRequest")),
        reconcile_handled=raw.get("lastHandledReconcileAt", ""),
        story=Story(conditions=tuple(_condition(item) for item in raw.get("conditions", ()))),
    )


def _flat(value: Any) -> dict[str, Any]:
    return {item.name: getattr(value, item.name) for item in fields(value)}


def _without_nones(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if value is not None}


def _line(text: str) -> str:
    """One line, as kubectl shows it: model servers and the API server speak in several."""
    return " ".join(text.split())[:1024]


def _time_json(moment: datetime | None) -> str | None:
    return None if moment is None else format_time(moment)


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _version_json(version: Version | None) -> dict[str, Any] | None:
    if version is None:
        return None
    return _without_nones({**_flat(version), "template": version.template or None})


def _version(raw: JSON | None) -> Version | None:
    return Version(raw["revision"], raw["version"], raw.get("template", 0)) if raw else None


def _end_json(end: End) -> dict[str, Any]:
    return {
        "outcome": str(end.outcome),
        "reason": str(end.reason),
        "message": _line(end.message),
        "evidence": end.evidence[:2048] or None,
    }


def _end(raw: JSON) -> End | None:
    if "outcome" not in raw:
        return None
    return End(Outcome(raw["outcome"]), raw.get("reason", ""), raw.get("message", ""), raw.get("evidence", ""))


def _rollout_json(rollout: Rollout | None, story: Story) -> dict[str, Any] | None:
    if rollout is None:
        return None
    return _without_nones(
        {
            "attempt": rollout.attempt,
            "stage": str(rollout.stage),
            "started": format_time(rollout.started),
            "since": format_time(rollout.since),
            "steps": [_step_json(step) for step in rollout.steps] or None,
            "step": rollout.step,
            "stepStarted": _time_json(rollout.step_started),
            "weightSet": story.weight_set,
            "weightLive": rollout.live,
            "liveSince": _time_json(rollout.live_since),
            "method": str(rollout.method),
            "carriers": rollout.carriers or None,
            "lostSince": _time_json(rollout.lost_since),
            "setbacks": rollout.setbacks or None,
            "suspectedSince": _time_json(rollout.suspected),
            "suspectedBy": rollout.suspect or None,
            "suspicions": rollout.suspicions or None,
            "oddPods": list(rollout.odd) or None,
            "oddStablePods": list(rollout.odd_stable) or None,
            "fits": rollout.fits or None,
            "pausedSince": _time_json(rollout.paused),
            "pausedBy": rollout.paused_by or None,
            "waitingSince": _time_json(rollout.waiting),
            "approved": str(rollout.approved) if rollout.approved else None,
            "undoes": _version_json(rollout.undoes),
            "requestedBy": rollout.requested or None,
            "baseline": [_baseline_json(item) for item in rollout.baseline] or None,
            **(_end_json(rollout.end) if rollout.end else {}),
        }
    )


def _rollout(raw: JSON | None, target: JSON | None) -> Rollout | None:
    version = _version(target)
    if raw is None or version is None:
        return None
    return Rollout(
        attempt=raw["attempt"],
        stage=Stage(raw["stage"]),
        target=version,
        started=parse_time(raw["started"]),
        since=parse_time(raw["since"]),
        steps=tuple(parse_step(step) for step in raw.get("steps", ())),
        step=raw.get("step", 0),
        step_started=_time(raw.get("stepStarted")),
        live=raw.get("weightLive", 0),
        live_since=_time(raw.get("liveSince")),
        method=Method(raw.get("method", "Reload")),
        carriers=raw.get("carriers", 0),
        lost_since=_time(raw.get("lostSince")),
        setbacks=raw.get("setbacks", 0),
        suspected=_time(raw.get("suspectedSince")),
        suspect=raw.get("suspectedBy", ""),
        suspicions=raw.get("suspicions", 0),
        odd=tuple(raw.get("oddPods", ())),
        odd_stable=tuple(raw.get("oddStablePods", ())),
        fits=raw.get("fits", False),
        paused=_time(raw.get("pausedSince")),
        paused_by=raw.get("pausedBy", ""),
        waiting=_time(raw.get("waitingSince")),
        approved=Approval(raw["approved"]) if "approved" in raw else None,
        undoes=_version(raw.get("undoes")),
        requested=raw.get("requestedBy", ""),
        baseline=tuple(
            Baseline(item["name"], float(item["value"]), float(item["requests"])) for item in raw.get("baseline", ())
        ),
        end=_end(raw),
    )


def _baseline_json(item: Baseline) -> dict[str, Any]:
    # Decimal strings: the schema has no floats.
    return {"name": item.name, "value": f"{item.value:.9g}", "requests": f"{item.requests:.9g}"}


def _step_json(step: Step) -> dict[str, Any]:
    return _without_nones(
        {
            "weight": step.weight,
            "duration": format_duration(step.duration),
            "maxDuration": format_duration(step.max_duration),
            "replicas": step.replicas,
            "approval": MANUAL if step.manual else None,
        }
    )


def _request_json(request: LastRequest | None) -> dict[str, Any] | None:
    if request is None:
        return None
    return _without_nones({"token": request.token, "answer": request.answer, "requestedBy": request.by or None})


def _request(raw: JSON | None) -> LastRequest | None:
    return LastRequest(raw["token"], raw["answer"], raw.get("requestedBy", "")) if raw else None


def _rejected_json(rejected: Rejected | None) -> dict[str, Any] | None:
    if rejected is None:
        return None
    return {
        **(_version_json(rejected.target) or {}),
        "reason": str(rejected.reason),
        "message": _line(rejected.message),
    }


def _rejected(raw: JSON | None) -> Rejected | None:
    version = _version(raw)
    if raw is None or version is None:
        return None
    return Rejected(version, raw.get("reason", ""), raw.get("message", ""))


def _judged_json(judged: Judged) -> dict[str, Any]:
    return _without_nones({**_flat(judged), "silent_since": None, "silentSince": _time_json(judged.silent_since)})


def _judged(raw: JSON) -> Judged:
    return Judged(
        name=raw["name"],
        kind=raw.get("kind", ""),
        test=raw.get("test", ""),
        verdict=raw.get("verdict", ""),
        detail=raw.get("detail", ""),
        silent_since=_time(raw.get("silentSince")),
    )


def _history_json(entry: HistoryEntry) -> dict[str, Any]:
    return _without_nones(
        {
            "attempt": entry.attempt,
            **(_version_json(entry.target) or {}),
            **_end_json(entry.end),
            "started": format_time(entry.started),
            "ended": format_time(entry.ended),
            "took": format_duration(entry.took),
            "requestedBy": entry.requested or None,
        }
    )


def _history(raw: JSON) -> HistoryEntry:
    version, end = _version(raw), _end(raw)
    assert version is not None
    assert end is not None
    started, ended = parse_time(raw["started"]), parse_time(raw["ended"])
    return HistoryEntry(raw["attempt"], version, end, started, ended, raw.get("requestedBy", ""))


def _condition_json(condition: Condition) -> dict[str, Any]:
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": str(condition.reason),
        "message": _line(condition.message),
        # metav1.Time has whole seconds
        "lastTransitionTime": condition.since.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "observedGeneration": condition.generation,
    }


def _condition(raw: JSON) -> Condition:
    return Condition(
        type=raw["type"],
        status=raw["status"],
        reason=raw.get("reason", ""),
        message=raw.get("message", ""),
        since=parse_time(raw["lastTransitionTime"]),
        generation=raw.get("observedGeneration", 0),
    )
