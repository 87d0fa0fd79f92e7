"""Ways back to a version that was promoted before: by the fast path or with steps, as `spec` or somebody asks.

An undo that somebody asks for is a rollout like any other, only that `spec` asks for something else: `pursued` lets
everything else see what `spec` would say if it asked for the version that is gone back to.
"""

from dataclasses import replace
from itertools import pairwise

from modelrollout.core.reasons import Reason
from modelrollout.core.revisions import Revision
from modelrollout.core.snapshot import Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import HistoryEntry, Outcome, Rollout, Status, Version


def goes_back(s: Snapshot) -> bool:
    """Whether `spec` asks for one of the last `fastPathRevisions` that were promoted before the stable one.

    A revision that somebody went back from has to take its steps again.
    """
    limit = s.spec.strategy.fast_path
    return s.target.name in [version.revision for version in safe_places(s.status)[:limit]]


def safe_places(status: Status) -> list[Version]:
    """Versions promoted before the stable one, the latest first, but for those that somebody went back from, or that
    were taken back when they were tried last.
    """
    promoted = [entry for entry in status.history if entry.end.outcome is Outcome.PROMOTED]
    left = {_left(newer, older) for newer, older in pairwise(promoted)}
    last = {entry.target.revision: entry.end.outcome for entry in reversed(status.history)}
    failed = {revision for revision, outcome in last.items() if outcome is Outcome.ROLLED_BACK}
    return [version for version in earlier(status) if version.revision not in left | failed]


def earlier(status: Status) -> list[Version]:
    """Versions other than the stable one that were promoted and are still in the history, the latest first."""
    current = status.stable.revision if status.stable else ""
    promoted = [entry.target for entry in status.history if entry.end.outcome is Outcome.PROMOTED]
    found = {version.revision: version for version in reversed(promoted) if version.revision != current}
    order = dict.fromkeys(version.revision for version in promoted)
    return [replace(found[revision], template=0) for revision in order if revision in found]


def _left(newer: HistoryEntry, older: HistoryEntry) -> str:
    return older.target.revision if newer.end.reason == Reason.UNDONE else ""


def undo_target(s: Snapshot, wanted: str) -> Revision | str:
    """The revision that an undo at rest goes back to, or why there is none. Without a wish the last safe place."""
    known = earlier(s.status)
    there = ", ".join(f"{version.version} ({version.revision})" for version in known) or "none"
    if not wanted:
        chosen = next(iter(safe_places(s.status)), None)
    else:
        chosen = next((version for version in known if version.revision == wanted), None)
    if s.status.stable is not None and wanted == s.status.stable.revision:
        return f"version {s.status.stable.version} serves already; promoted before it: {there}"
    if chosen is None and wanted:
        return f"revision {wanted} was never promoted here, or too long ago; promoted before: {there}"
    if chosen is None:
        return f"nothing was promoted before what serves now that nobody went back from; named, undo takes: {there}"
    found = s.revisions.get(chosen.revision)
    lost = f"the ControllerRevision of version {chosen.version} is gone; set spec.model.version to {chosen.version}"
    return lost if found is None else found


def in_place_of_spec(s: Snapshot, revision: Revision) -> Snapshot:
    """The same moment as if `spec` asked for this revision, whose replicas are nobody's but the user's."""
    serving = replace(revision.serving, replicas=s.spec.serving.replicas)
    spec = replace(s.spec, base_path=revision.base_path, version=revision.version, serving=serving)
    return replace(s, target=revision, spec=spec)


def pursued(s: Snapshot, rollout: Rollout | None) -> Snapshot:
    """What is to be made true: while an undo is under way and `spec` is as it was, the version that is gone back to."""
    if rollout is None or rollout.undoes is None or rollout.undoes.revision != s.target.name:
        return s
    revision = s.revisions.get(rollout.target.revision)
    return s if revision is None else in_place_of_spec(s, revision)


def agreed(s: Snapshot) -> Status:
    """The status once `spec` itself asks for the version that is gone back to: then it is a rollout like any other."""
    rollout = s.status.rollout
    if rollout is None or rollout.undoes is None or s.target.name != rollout.target.revision:
        return s.status
    return replace(s.status.with_rollout(undoes=None), rejected=None)


def method(s: Snapshot, stable: Revision | None) -> Method:
    """How stable pods will get the revision that `spec` asks for: a reload changes the version and nothing else."""
    if s.spec.strategy.method is Method.ROLL or stable is None or not s.target.same_pods(stable):
        return Method.ROLL
    return Method.RELOAD
