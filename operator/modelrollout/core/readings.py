"""What is worth reading for a rollout as it stands: probes follow this plan, so that an idle object costs nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from modelrollout.core.counters import PodWindow, pod_pattern
from modelrollout.core.judge.memory import Memory
from modelrollout.core.names import Track, child
from modelrollout.core.pods import counts_as_new
from modelrollout.core.snapshot import Pod, Snapshot
from modelrollout.core.spec import Analysis, Gpu, Method, Metric
from modelrollout.core.status import Baseline, Rollout, Stage
from modelrollout.core.undo import pursued
from modelrollout.core.values import JSON, format_duration

ACTIVE_INTERVAL = timedelta(seconds=1)
"""How often model servers are asked while something is to change in them."""
RESTING_INTERVAL = timedelta(seconds=2)
"""How often while a step's weight is live, or the new version bakes: nothing is to change, but silence is to be seen.

With many rollouts at once these questions are most of what the process computes.
"""
IDLE_INTERVAL = timedelta(minutes=10)
"""How often they are asked when nothing is: finds a server that lost its configuration without restarting.

If it came oftener, it would be most of what hundreds of idle objects cost.
"""


@dataclass(frozen=True, slots=True)
class CapacityQuestion:
    """How many pods with this resource would fit on the nodes that `pod` (serving.pod) allows."""

    gpu: Gpu
    pod: JSON


@dataclass(frozen=True, slots=True)
class ServerPlan:
    """Which model servers to ask, as (pod name, uid, ip), how often, and whether a rollout is under way."""

    model: str
    pods: tuple[tuple[str, str, str], ...]
    interval: timedelta
    under_way: bool = False


@dataclass(frozen=True, slots=True)
class MetricsPlan:
    """What to measure. `key` names the comparison: runs of breaches do not reach across it.

    A pod's answers count from its window's start on. `weight` is the live weight to check the split against, None
    where the split is not what the route says. Without `judged` the canary has no traffic yet and only the sequential
    judge looks, at stable alone; `others` are pods that will be on a side. `stored` is what that judge had remembered.
    `may_miss_stable` says that pods which serve the stable version alone may be gone for good.
    """

    key: str
    namespace: str
    model: str
    analysis: Analysis
    canary: tuple[PodWindow, ...]
    stable: tuple[PodWindow, ...]
    baseline: tuple[Baseline, ...] = ()
    weight: int | None = None
    attempt: int = 0
    judged: bool = True
    others: tuple[str, ...] = ()
    may_miss_stable: bool = False
    stored: Memory | None = None


def filled(plan: MetricsPlan, metric: Metric, pods: Iterable[str]) -> str:
    """A user's query with its placeholders filled in: these pods, the namespace, the model, the window."""
    values = {
        "pods": pod_pattern(pods),
        "namespace": plan.namespace,
        "model": plan.model,
        "window": format_duration(metric.window),
    }
    text = metric.query or ""
    for name, value in values.items():
        text = text.replace(f"${{{name}}}", value)
    return text


@dataclass(frozen=True, slots=True)
class Readings:
    """All of it; None for what is not needed now. Another `wish` than before: everything is read at once."""

    servers: ServerPlan | None = None
    metrics: MetricsPlan | None = None
    capacity: CapacityQuestion | None = None
    wish: str = ""


def readings_wanted(s: Snapshot) -> Readings:
    """What to read for this object until its state changes. Pure."""
    s = pursued(s, s.status.rollout)
    return Readings(_servers(s), _metrics(s), _capacity(s), s.status.reconcile_handled)


def _servers(s: Snapshot) -> ServerPlan:
    pods = tuple(sorted((pod.name, pod.uid, pod.ip) for pod in s.pods if pod.ip and not pod.terminating))
    rollout = s.status.rollout
    if rollout is None or rollout.stage is Stage.INITIALIZING:
        return ServerPlan(s.spec.model_name, pods, IDLE_INTERVAL if _settled(s) else ACTIVE_INTERVAL)
    return ServerPlan(s.spec.model_name, pods, RESTING_INTERVAL if _rests(rollout) else ACTIVE_INTERVAL, under_way=True)


def _settled(s: Snapshot) -> bool:
    """Whether stable's servers have been seen with what they should have; of a first version all that there are yet."""
    rollout, stable = s.status.rollout, s.status.stable
    if rollout is not None:
        asked = [pod for pod in s.track(Track.STABLE) if pod.ip]
        return all(pod.report is not None and rollout.target.version in pod.report.answering for pod in asked)
    alone = {stable.version} if stable else set()
    return all(pod.report is not None and pod.report.active == alone for pod in s.track(Track.STABLE) if pod.ready)


def _rests(rollout: Rollout) -> bool:
    """Whether no server is to load or unload anything before the stage changes."""
    return rollout.stage is Stage.BAKING or (rollout.stage is Stage.PROGRESSING and rollout.step_started is not None)


def _capacity(s: Snapshot) -> CapacityQuestion | None:
    """Asked while pods of a kind that is not there yet are to start: the canary's first, or those of a roll."""
    rollout, gpu = s.status.rollout, s.spec.serving.gpu
    if rollout is None or gpu is None:
        return None
    starts = rollout.stage is Stage.PREPARING and not s.child("Deployment", child(s.name, Track.CANARY))
    rolls = rollout.stage is Stage.PROMOTING and rollout.method is Method.ROLL
    return CapacityQuestion(gpu, s.spec.serving.pod) if starts or rolls else None


def _metrics(s: Snapshot) -> MetricsPlan | None:
    rollout = s.status.rollout
    if rollout is None or s.spec.analysis is None or not (_judged(rollout) or _prepared(s, rollout)):
        return None
    old, new = sides(s, rollout)
    judged = _judged(rollout)
    settled = rollout.stage is Stage.PROGRESSING and rollout.step_started is not None
    return MetricsPlan(
        key=comparison(rollout),
        namespace=s.namespace,
        model=s.spec.model_name,
        analysis=s.spec.analysis,
        canary=tuple(_window(pod, rollout) for pod in new) if judged else (),
        stable=tuple(_window(pod, rollout) for pod in old),
        baseline=rollout.baseline,
        weight=rollout.live if settled else None,
        attempt=rollout.attempt,
        judged=judged,
        others=() if judged else tuple(pod.name for pod in new),
        may_miss_stable=rollout.stage in {Stage.PROMOTING, Stage.BAKING},
        stored=s.stored if s.stored and s.stored.attempt == rollout.attempt else None,
    )


def _prepared(s: Snapshot, rollout: Rollout) -> bool:
    """Whether there is something to look at before the canary has traffic: stable, or alerts that fire already."""
    return bool(s.spec.analysis and (s.spec.analysis.sequential or s.spec.analysis.alerts)) and rollout.stage in {
        Stage.PREPARING,
        Stage.PROGRESSING,
    }


def _judged(rollout: Rollout) -> bool:
    """The canary is judged as long as any weight is live, also while the next step is being set up."""
    if rollout.stage is Stage.PROGRESSING:
        return rollout.live_since is not None
    return rollout.stage in {Stage.PROMOTING, Stage.BAKING}


def comparison(rollout: Rollout) -> str:
    """Names what is being compared: measurements of one comparison say nothing in another."""
    weight = rollout.live if rollout.stage is Stage.PROGRESSING else ""
    return f"{rollout.attempt}/{rollout.stage}/{weight}/{rollout.setbacks}"


def sides(s: Snapshot, rollout: Rollout) -> tuple[tuple[Pod, ...], tuple[Pod, ...]]:
    """(old, new): pods that answer with the stable revision alone, and pods that may answer with the new one.

    A stable pod that has not reported is on neither side.
    """
    reported = [pod for pod in s.track(Track.STABLE) if pod.report is not None]
    new = [pod for pod in reported if counts_as_new(s, rollout, pod)]
    old = [pod for pod in reported if pod not in new]
    return tuple(old), (*s.track(Track.CANARY), *new)


def _window(pod: Pod, rollout: Rollout) -> PodWindow:
    """Where counting starts: the weight being live, and for a promoted pod also the last change of its versions.

    A canary pod is new there when no weight was live before: it cannot have answered anything.
    """
    start: datetime = rollout.live_since or rollout.since
    if rollout.stage is not Stage.PROGRESSING and pod.track is Track.STABLE and pod.server.changed is not None:
        start = max(start, pod.server.changed)
    first = rollout.stage is Stage.PROGRESSING and rollout.step <= 1 and pod.track is Track.CANARY
    promoted = rollout.stage in {Stage.PROMOTING, Stage.BAKING} and pod.track is Track.STABLE
    changed = pod.server.changed if promoted else None
    return PodWindow(pod.name, start, pod.started, new=first, changed=changed)
