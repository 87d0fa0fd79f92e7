"""What the pods of both tracks show about a rollout: who answers, who has the new revision, who is on the way.

A stable pod gets the new revision in one of three ways, and each has its own proof (docs/design.md, "Promotion"):

- reload to a higher version: both versions are loaded, and label `stable` names the new one;
- reload to a lower version: the old one has to go, or it would go on answering, as the highest that is available;
- roll: the pod was made from the new template.
"""

from datetime import datetime, timedelta

from modelrollout.core.names import Track
from modelrollout.core.snapshot import Pod, Snapshot
from modelrollout.core.spec import Method
from modelrollout.core.status import Rollout

SHOWS = timedelta(seconds=3)
"""A reload acts at the server's next disk poll and tick, about 1.2 s; what is seen later than this is its outcome."""
LOST_AFTER = timedelta(seconds=5)
"""So long a canary pod that carried the weight may be unready or silent; one failed probe is not worth a setback."""

SIGHT = timedelta(seconds=30)
"""So long after the API server did not answer, pods may be shown as they were before."""
GATEWAY_SIGHT = timedelta(seconds=60)
"""And so long a gateway may not have asked it again: client-go waits for up to 30 s, times two, between two tries."""


def answering(s: Snapshot, track: Track, version: int) -> list[Pod]:
    """Pods that count: ready, and the version answers in their own model server."""
    return [pod for pod in s.track(track) if pod.ready and pod.report and version in pod.report.answering]


def ready(s: Snapshot, track: Track) -> list[Pod]:
    """Pods that get requests at all."""
    return [pod for pod in s.track(track) if pod.ready]


def silent(s: Snapshot, pod: Pod) -> bool:
    """Whether its model server does not answer for a while: its users get errors that no server counts."""
    since = pod.server.silent_since
    return since is not None and s.now - since >= LOST_AFTER


def carrying(s: Snapshot, rollout: Rollout) -> list[Pod]:
    """Canary pods that may have traffic. After a restart of this process a server that was not asked yet counts."""
    version = rollout.target.version
    return [
        pod
        for pod in ready(s, Track.CANARY)
        if not silent(s, pod) and (pod.report is None or version in pod.report.answering)
    ]


def unseen(s: Snapshot) -> bool:
    """Whether a gateway may still be blind after an outage: it would send requests without knowing new pods."""
    return s.unheard is not None and s.now < s.unheard + GATEWAY_SIGHT


def ready_by(s: Snapshot, start: datetime) -> datetime:
    """When pods that got their place at `start` are late; never while what is known of them may be old."""
    end = start + s.spec.strategy.canary_ready_deadline
    return end if s.unheard is None else max(end, s.unheard + SIGHT)


def canary_replicas(s: Snapshot, rollout: Rollout) -> int:
    """Canary pods for the current step; before the first, those that it will need. 0 for a rollout without steps."""
    if not rollout.steps:
        return 0
    step = rollout.current_step or rollout.steps[0]
    return step.canary_replicas(s.spec.serving.replicas)


def stable_version(s: Snapshot) -> int:
    """The version to go back to. Only asked while there is one."""
    assert s.status.stable is not None
    return s.status.stable.version


def keeps_standby(s: Snapshot, rollout: Rollout) -> bool:
    """Whether a promoted pod keeps the old version loaded until the bake is over, so that going back is one call."""
    return rollout.method is Method.RELOAD and rollout.target.version > stable_version(s)


def template(s: Snapshot, rollout: Rollout) -> int:
    """Template of promoted stable pods: a roll makes one that is called after its attempt."""
    assert s.status.stable is not None
    return rollout.attempt if rollout.method is Method.ROLL else s.status.stable.template


def counts_as_new(s: Snapshot, rollout: Rollout, pod: Pod) -> bool:
    """Whether a stable pod may answer with the new revision: without a label the highest available version answers."""
    version, report = rollout.target.version, pod.report
    if rollout.method is Method.ROLL:
        return pod.template == template(s, rollout)
    if report is None or version not in report.active:
        return False
    return version > stable_version(s) or stable_version(s) not in report.available


def verified(s: Snapshot, rollout: Rollout, pod: Pod) -> bool:
    """Whether a stable pod is through its promotion."""
    version, report = rollout.target.version, pod.report
    if report is None or version not in report.answering or pod.template != template(s, rollout):
        return False
    if rollout.method is Method.ROLL:
        return pod.ready
    return report.labels.get("stable") == version and (keeps_standby(s, rollout) or report.active == {version})


def promoted(s: Snapshot, rollout: Rollout) -> bool:
    """Whether every stable pod is through, and there are as many as there should be."""
    pods = s.track(Track.STABLE)
    return len(pods) >= s.spec.serving.replicas and all(verified(s, rollout, pod) for pod in pods)


def touched(rollout: Rollout, pod: Pod) -> bool:
    """Whether a stable pod's promotion by reload has begun: the new version is listed, or is being called for."""
    report, version = pod.report, rollout.target.version
    listed = report is not None and version in report.active
    return listed or (pod.server.reloading and pod.server.reload is not None and pod.server.reload.asks_for(version))


def changing(s: Snapshot, rollout: Rollout) -> list[Pod]:
    """Stable pods in the middle of their promotion."""
    if rollout.method is Method.ROLL:
        return [p for p in s.track(Track.STABLE) if counts_as_new(s, rollout, p) and not verified(s, rollout, p)]
    return [pod for pod in s.track(Track.STABLE) if touched(rollout, pod) and not verified(s, rollout, pod)]


def held_up(s: Snapshot, rollout: Rollout) -> list[Pod]:
    """Stable pods that are not through their promotion though they were told, or that do not answer."""
    version = rollout.target.version
    return [
        pod
        for pod in s.track(Track.STABLE)
        if not verified(s, rollout, pod)
        and (pod.report is None or (pod.server.reload is not None and pod.server.reload.asks_for(version)))
    ]


def load_failure(s: Snapshot, rollout: Rollout, pod: Pod) -> str:
    """Why a stable pod cannot load the new version, empty while that is not proven.

    Servers never forget a failed load, so one that is listed may be of an earlier attempt: only what is still so
    after a call of this process counts.
    """
    call, version = pod.server.reload, rollout.target.version
    if pod.report is None or call is None or call.ended is None or not call.asks_for(version):
        return ""
    return pod.report.failure(version) if s.now - call.ended >= SHOWS else ""


def not_returned(s: Snapshot) -> list[Pod]:
    """Stable pods that may have anything but the stable revision, even a version that is still loading.

    One that is LOADING would become available later, so it counts as there until it is END; and one that was called
    for may not show yet. A pod without an address has not started; it will come up on the ConfigMap. One that is on
    its way out counts while it is ready: it still answers.
    """
    stable, rollout = s.status.stable, s.status.rollout
    assert stable is not None
    assert rollout is not None
    staying = [
        pod
        for pod in s.track(Track.STABLE)
        if pod.template != stable.template
        or (pod.ip and (pod.report is None or pod.report.active != {stable.version}))
        or (may_be_changing(rollout) and not _settled_alone(s, pod))
    ]
    leaving = (pod for pod in s.pods if pod.track is Track.STABLE and pod.terminating and pod.ready)
    return staying + [pod for pod in leaving if pod.report is None or pod.report.active != {stable.version}]


def may_be_changing(rollout: Rollout) -> bool:
    """Whether stable pods may have been called to load the new version: only after the last step."""
    return rollout.method is Method.RELOAD and rollout.step == len(rollout.steps)


def called_alone(s: Snapshot, pod: Pod) -> bool:
    """Whether the last call of this process asked for the stable version and nothing else."""
    return pod.server.reload is not None and set(pod.server.reload.target.versions) == {stable_version(s)}


def _settled_alone(s: Snapshot, pod: Pod) -> bool:
    """Whether what was called for before has had its time to show. A pod without an address was never called."""
    call = pod.server.reload
    if not pod.ip:
        return True
    return called_alone(s, pod) and call is not None and call.ended is not None and s.now - call.ended >= SHOWS
