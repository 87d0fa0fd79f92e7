"""decide(): one row per situation, named by the rule that it shows (docs/design.md, "Safety rules")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.core.analysis import Verdict
from modelrollout.core.decide import decide
from modelrollout.core.evidence import marker
from modelrollout.core.snapshot import Child, ContainerExit, Snapshot
from modelrollout.core.status import End, Outcome, Rejected, Stage, Status
from tests.builders import (
    NEW,
    NOW,
    OLD,
    WITH_CANARY,
    canary_pod,
    progressing,
    raw_spec,
    report,
    rollout,
    route,
    silent,
    snapshot,
    stable_pods,
    told,
    version,
)

if TYPE_CHECKING:
    from modelrollout.core.actions import Decision

END = End(Outcome.ROLLED_BACK, "AnalysisFailed", "bad")
LONG = timedelta(minutes=5)
BOTH = report(OLD, NEW, stable=NEW)
CANNOT_LOAD = stable_pods(report(OLD, failed=NEW))[0]


def stage_of(decision: Decision) -> Stage | None:
    """The stage that was decided."""
    return decision.status.rollout.stage if decision.status.rollout else None


@dataclass(frozen=True)
class Row:
    """A situation, and the stage and condition that follow from it."""

    given: Snapshot
    stage: Stage | None
    reason: str = ""
    stalled: str = ""


def policy(**fields: Any) -> dict[str, Any]:
    """A spec whose metric has these fields."""
    metric = {"name": "errors", "kind": "ErrorRate", "test": "Limits", "limits": {"max": "0.1"}, **fields}
    return raw_spec(analysis={"prometheus": {"address": "http://prometheus"}, "metrics": [metric]})


def with_spec(given: Snapshot, spec: dict[str, Any]) -> Snapshot:
    """The same situation under another spec of the same revision."""
    return replace(given, spec=snapshot(spec=spec).spec)


ROWS = [
    pytest.param(Row(snapshot(), Stage.PREPARING), id="another version in spec starts a rollout"),
    pytest.param(Row(snapshot(spec=raw_spec(OLD)), None), id="the version that serves starts nothing"),
    pytest.param(
        Row(snapshot(status=Status(stable=version(OLD), rejected=Rejected(version(NEW), "r", "m"))), None),
        id="a rejected revision is not tried again while spec keeps it",
    ),
    pytest.param(Row(snapshot(spec=raw_spec(100)), Stage.PREPARING), id="a lower version takes the steps as any other"),
    pytest.param(
        Row(snapshot(status=Status()), Stage.INITIALIZING), id="the first version ever is initialised without steps"
    ),
    pytest.param(
        Row(snapshot(rollout(Stage.PREPARING), pods=WITH_CANARY), Stage.PREPARING),
        id="a canary that answers first proves that both versions fit",
    ),
    pytest.param(
        Row(snapshot(rollout(Stage.PREPARING, fits=True), pods=WITH_CANARY), Stage.PROGRESSING),
        id="a canary that answers and has proved the fit takes the first step",
    ),
    pytest.param(
        Row(
            snapshot(
                rollout(Stage.PREPARING),
                pods=(*stable_pods(report(OLD)), canary_pod(report(NEW, stable=NEW, failed=OLD))),
            ),
            Stage.PREPARING,
            stalled="NoMemoryForTwoVersions",
        ),
        id="two versions that do not fit in one server are stalled, not rejected",
    ),
    pytest.param(
        Row(
            snapshot(
                rollout(Stage.PREPARING),
                pods=(*stable_pods(report(OLD)), canary_pod(report(), ready=False, scheduled=NOW - timedelta(hours=1))),
            ),
            Stage.ROLLING_BACK,
            "CanaryNotReady",
        ),
        id="a canary that is not ready by its deadline is rejected",
    ),
    pytest.param(
        Row(
            snapshot(
                rollout(Stage.PREPARING, since=timedelta(hours=2)),
                pods=(
                    *stable_pods(report(OLD)),
                    canary_pod(
                        None, ready=False, scheduled=None, unschedulable="0/3 nodes: Insufficient nvidia.com/gpu"
                    ),
                ),
            ),
            Stage.PREPARING,
        ),
        id="waiting for a GPU never counts towards the deadline",
    ),
    pytest.param(
        Row(progressing(Verdict.PASS, timedelta(seconds=59)), Stage.PROGRESSING), id="a step stays for its duration"
    ),
    pytest.param(
        Row(progressing(Verdict.PASS, timedelta(seconds=60), step=2), Stage.PROMOTING),
        id="after the last step the version is promoted",
    ),
    pytest.param(Row(progressing(None, LONG, step=2), Stage.PROGRESSING), id="no step ends before a first measurement"),
    pytest.param(Row(progressing(Verdict.FAIL, LONG), Stage.ROLLING_BACK, "AnalysisFailed"), id="Fail aborts"),
    pytest.param(Row(progressing(Verdict.NO_DATA, LONG, step=2), Stage.PROGRESSING), id="NoData holds without end"),
    pytest.param(Row(progressing(Verdict.ERROR, LONG, step=2), Stage.PROGRESSING), id="Error holds without end"),
    pytest.param(
        Row(progressing(Verdict.AMBIGUOUS, LONG, step=2), Stage.PROGRESSING), id="Ambiguous holds without end"
    ),
    pytest.param(
        Row(progressing(Verdict.LOW_TRAFFIC, timedelta(seconds=179), step=2), Stage.PROGRESSING),
        id="LowTraffic stays until maxDuration",
    ),
    pytest.param(
        Row(progressing(Verdict.LOW_TRAFFIC, timedelta(seconds=180), step=2), Stage.PROMOTING),
        id="LowTraffic goes on at maxDuration: a quiet night freezes nothing",
    ),
    pytest.param(
        Row(with_spec(progressing(Verdict.LOW_TRAFFIC, LONG, step=2), policy(onLowTraffic="Hold")), Stage.PROGRESSING),
        id="LowTraffic with Hold stays",
    ),
    pytest.param(
        Row(
            with_spec(progressing(Verdict.LOW_TRAFFIC, LONG, step=2), policy(onLowTraffic="Abort")),
            Stage.ROLLING_BACK,
            "AnalysisLowTraffic",
        ),
        id="LowTraffic with Abort is taken back at maxDuration",
    ),
    pytest.param(
        Row(progressing(Verdict.INCONCLUSIVE, timedelta(seconds=60), step=2), Stage.PROMOTING),
        id="Inconclusive with enough requests goes on at duration",
    ),
    pytest.param(
        Row(
            silent(with_spec(progressing(Verdict.NO_DATA, LONG), policy(deadline="4m")), Verdict.NO_DATA, NOW - LONG),
            Stage.ROLLING_BACK,
            "AnalysisNoData",
        ),
        id="NoData aborts once its declared deadline has passed",
    ),
    pytest.param(
        Row(
            silent(with_spec(progressing(Verdict.NO_DATA, LONG), policy(deadline="6m")), Verdict.NO_DATA, NOW - LONG),
            Stage.PROGRESSING,
        ),
        id="NoData before its deadline does not abort",
    ),
    pytest.param(
        Row(
            replace(progressing(Verdict.PASS, LONG), route=route(0, abort=marker(rollout(Stage.PREPARING), END))),
            Stage.ROLLING_BACK,
            "AnalysisFailed",
        ),
        id="an abort that only the route remembers is carried on",
    ),
    pytest.param(
        Row(
            replace(
                progressing(Verdict.PASS, timedelta(seconds=5)),
                pods=(*WITH_CANARY[:2], canary_pod(exit=ContainerExit(139, "segfault", NOW))),
            ),
            Stage.ROLLING_BACK,
            "CanaryUnavailable",
        ),
        id="a canary container that exits while it has traffic is proof",
    ),
    pytest.param(
        Row(
            replace(
                progressing(Verdict.PASS, LONG),
                spec=snapshot(spec=raw_spec(103)).spec,
                target=snapshot(spec=raw_spec(103)).target,
            ),
            Stage.ROLLING_BACK,
            "NewRevision",
        ),
        id="a third version supersedes the rollout",
    ),
    pytest.param(
        Row(
            replace(
                progressing(Verdict.PASS, LONG),
                spec=snapshot(spec=raw_spec(OLD)).spec,
                target=snapshot(spec=raw_spec(OLD)).target,
            ),
            Stage.ROLLING_BACK,
            "SpecReturned",
        ),
        id="spec back to the stable version cancels the rollout",
    ),
    pytest.param(
        Row(
            snapshot(
                rollout(Stage.PROMOTING, step=2), pods=(*stable_pods(BOTH, report(OLD, stable=OLD)), canary_pod())
            ),
            Stage.PROMOTING,
        ),
        id="promotion goes on until every stable pod is verified",
    ),
    pytest.param(
        Row(snapshot(rollout(Stage.PROMOTING, step=2), pods=(*stable_pods(BOTH, BOTH), canary_pod())), Stage.BAKING),
        id="the bake starts when every stable pod is verified",
    ),
    pytest.param(
        Row(
            snapshot(
                rollout(Stage.PROMOTING, step=2), pods=(*stable_pods(BOTH, report(OLD, NEW, stable=OLD)), canary_pod())
            ),
            Stage.PROMOTING,
        ),
        id="a pod whose label has not moved is not verified",
    ),
    pytest.param(
        Row(
            snapshot(
                rollout(Stage.PROMOTING, step=2),
                pods=(told(CANNOT_LOAD, OLD, NEW, stable=OLD), canary_pod()),
            ),
            Stage.ROLLING_BACK,
            "PromotionLoadFailed",
        ),
        id="a stable pod that cannot load the new version ends the promotion",
    ),
    pytest.param(
        Row(
            snapshot(
                rollout(Stage.ROLLING_BACK, end=END, since=LONG),
                pods=stable_pods(report(OLD), report(OLD, loading=NEW)),
            ),
            Stage.ROLLING_BACK,
            "AnalysisFailed",
        ),
        id="a rollback is not over while a stable pod still loads the new version",
    ),
    pytest.param(
        Row(
            snapshot(rollout(Stage.ROLLING_BACK, end=END, since=LONG), pods=stable_pods(report(OLD), None)),
            Stage.ROLLING_BACK,
            "AnalysisFailed",
        ),
        id="a rollback is not over while a stable pod does not report",
    ),
    pytest.param(
        Row(snapshot(rollout(Stage.ROLLING_BACK, end=END, since=LONG)), None),
        id="a rollback is over when only the old version is left and the canary is gone",
    ),
    pytest.param(
        Row(
            snapshot(
                children={
                    ("Service", "recsys-stable"): Child(
                        {"kind": "Service", "metadata": {"name": "recsys-stable"}}, owned=False
                    )
                }
            ),
            None,
            stalled="NameTaken",
        ),
        id="a child of somebody else is never written",
    ),
    pytest.param(
        Row(
            snapshot(refused="the API server refused Deployment recsys-stable: quota"),
            Stage.PREPARING,
            stalled="WriteRefused",
        ),
        id="a write that was refused is shown as stalled",
    ),
]


@pytest.mark.parametrize("row", ROWS)
def test_stage(row: Row) -> None:
    """The stage that follows, why, and whether somebody else has to do something."""
    decision = decide(row.given)
    assert stage_of(decision) is row.stage
    end = decision.status.rollout.end if decision.status.rollout else None
    assert (end.reason if end else "") == row.reason
    stalled = [c.reason for c in decision.status.story.conditions if c.type == "Stalled" and c.reason != "RolledBack"]
    assert stalled == ([row.stalled] if row.stalled else [])
