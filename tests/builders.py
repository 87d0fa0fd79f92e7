"""Snapshots with defaults: a test says only what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from modelrollout.core.analysis import Analysed, Measurement, MetricState, Verdict
from modelrollout.core.model_config import stable_target
from modelrollout.core.names import Track
from modelrollout.core.readings import comparison
from modelrollout.core.revisions import Revision, revision_of
from modelrollout.core.snapshot import (
    Capacity,
    Child,
    LoadState,
    Pod,
    ReloadCall,
    Route,
    RouteParent,
    Server,
    ServerReport,
    Snapshot,
    VersionState,
)
from modelrollout.core.spec_json import parse_spec
from modelrollout.core.status import Judged, Rollout, Stage, Status, Version

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
OLD, NEW = 101, 102


def raw_spec(version: int = NEW, **fields: Any) -> dict[str, Any]:
    """`spec` with two steps and one metric; keyword arguments replace whole fields."""
    spec: dict[str, Any] = {
        "model": {"basePath": "/models/recsys", "version": version},
        "serving": {"image": "tensorflow/serving", "replicas": 2, "storage": {"hostPath": {"path": "/models"}}},
        "traffic": {"gatewayAPI": {"parentRefs": [{"name": "inference"}]}},
        "strategy": {
            "steps": [{"weight": 10, "duration": "60s"}, {"weight": 50, "duration": "60s"}],
            "drainDuration": "10s",
            "bake": {"duration": "60s"},
        },
        "analysis": {
            "prometheus": {"address": "http://prometheus"},
            "metrics": [{"name": "errors", "kind": "ErrorRate", "test": "Limits", "limits": {"max": "0.1"}}],
        },
    }
    return {**spec, **fields}


def revision(version: int) -> Revision:
    """The revision of a version."""
    return revision_of(raw_spec(version))


def version(number: int) -> Version:
    """The same as status has it."""
    return Version(revision(number).name, number)


def report(
    *available: int, stable: int | None = None, loading: int | None = None, failed: int | None = None
) -> ServerReport:
    """A model server with these versions available; label stable on one of them."""
    states = [VersionState(number, LoadState.AVAILABLE) for number in available]
    if loading is not None:
        states.append(VersionState(loading, LoadState.LOADING))
    if failed is not None:
        states.append(VersionState(failed, LoadState.END, "refused"))
    labels = {"stable": stable} if stable is not None else {}
    return ServerReport(tuple(states), labels, frozenset(available))


def pod(name: str, track: Track, said: ServerReport | None, **fields: Any) -> Pod:
    """A ready pod whose server said this."""
    server = Server(report=said, changed=NOW - timedelta(minutes=5))
    made = Pod(
        name, f"uid-{name}", track, ip="10.0.0.1", ready=True, scheduled=NOW - timedelta(minutes=5), server=server
    )
    return replace(made, **fields)


def stable_pods(*reports: ServerReport | None) -> tuple[Pod, ...]:
    """Stable pods a, b, ... with these reports."""
    return tuple(pod(f"stable-{'abcd'[n]}", Track.STABLE, said) for n, said in enumerate(reports))


def told(pod: Pod, *versions: int, stable: int, ago: timedelta = timedelta(seconds=5)) -> Pod:
    """The pod after a reload call for these versions that was answered so long ago."""
    target = stable_target("recsys", "/models/recsys", set(versions), stable)
    call = ReloadCall(target, NOW - ago, NOW - ago)
    return replace(pod, server=replace(pod.server, reload=call))


def canary_pod(said: ServerReport | None = None, **fields: Any) -> Pod:
    """A canary pod, by default one that answers with the new version."""
    return pod("canary-a", Track.CANARY, said or report(NEW, stable=NEW), **fields)


def route(weight: int, *, problem: str = "", abort: str = "", seen: timedelta = timedelta(minutes=1)) -> Route:
    """A route with this weight, accepted unless there is a problem."""
    return Route(weight, 3, NOW - seen, abort, (RouteParent("inference", problem),))


def rollout(stage: Stage, *, step: int = 0, since: timedelta = timedelta(seconds=5), **fields: Any) -> Rollout:
    """A rollout of the new version in this stage; its step's weight has been live for as long as the stage is."""
    spec = parse_spec(raw_spec(), "recsys")
    begun = NOW - timedelta(minutes=10)
    made = Rollout(2, stage, version(NEW), begun, NOW - since, spec.strategy.steps, step)
    started = NOW - since if step else None
    live = spec.strategy.steps[step - 1].weight if step else 0
    made = replace(made, step_started=started, live=live, live_since=started, carriers=1 if step else 0)
    return replace(made, **fields)


def analysed(under_way: Rollout, verdict: Verdict, *, breaches: int = 0, metric: str = "errors") -> Analysed:
    """One metric with this verdict for the comparison under way."""
    state = MetricState(Measurement(metric, verdict, f"{metric} said so"), breaches, verdict, silent=2)
    return Analysed(comparison(under_way), NOW, {metric: state})


def snapshot(under_way: Rollout | None = None, *, spec: dict[str, Any] | None = None, **fields: Any) -> Snapshot:
    """Version 101 serves in two pods, weight 0, and `spec` asks for 102 unless it says otherwise."""
    asked = spec or raw_spec()
    target = revision_of(asked)
    children = {("Deployment", "recsys-canary"): _deployment("recsys-canary")} if under_way else {}
    made = Snapshot(
        now=NOW,
        name="recsys",
        namespace="default",
        uid="uid",
        generation=1,
        spec=parse_spec(asked, "recsys"),
        target=target,
        status=Status(stable=version(OLD), rollout=under_way),
        revisions={r.name: r for r in (revision(OLD), revision(NEW))},
        children=children,
        pods=stable_pods(report(OLD, stable=OLD), report(OLD, stable=OLD)),
        route=route(0),
        capacity=Capacity(4),
    )
    return replace(made, **fields)


def silent(given: Snapshot, verdict: Verdict, since: datetime) -> Snapshot:
    """The same situation, with the metric on record as without a verdict since then."""
    said = Judged("errors", "ErrorRate", "Limits", str(verdict), "errors said so", since)
    return replace(given, status=replace(given.status, analysis=(said,)))


def progressing(verdict: Verdict | None, since: timedelta, *, step: int = 1, **fields: Any) -> Snapshot:
    """In a step whose weight has been live for so long, with this verdict."""
    under_way = rollout(Stage.PROGRESSING, step=step, since=since, **fields)
    measured = analysed(under_way, verdict) if verdict else None
    weight = (10, 50)[step - 1]
    return snapshot(under_way, pods=WITH_CANARY, route=route(weight), analysed=measured)


def _deployment(name: str) -> Child:
    return Child({"kind": "Deployment", "metadata": {"name": name, "uid": f"uid-{name}"}}, owned=True)


WITH_CANARY = (*stable_pods(report(OLD, stable=OLD), report(OLD, stable=OLD)), canary_pod())
"""Two stable pods and a canary, each answering with its version."""
