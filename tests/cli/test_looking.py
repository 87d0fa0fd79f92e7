"""`get`, `status`, `history`: what people see of rollouts, from manifests that a real API server gave in each phase."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
import yaml

from modelrollout.cli.views.words import span
from tests.cli.world import ROLLOUTS, MemoryCluster, holding, run
from tests.gitops.argo import Object, phase, phases


def _line(*arguments: str, name: str) -> list[str]:
    shown = run(holding(name), *arguments)
    assert shown.exit_code == 0, shown.output
    return shown.output.splitlines()[1].split()


def _pod(name: str, track: str, *, ready: bool = True) -> Object:
    labels = {"modelrollout.io/rollout": "good", "modelrollout.io/track": track}
    limits = {"nvidia.com/mig-1g.10gb": "1", "memory": "8Gi"}
    return {
        "metadata": {"name": name, "namespace": "default", "labels": labels, "resourceVersion": "1"},
        "spec": {"containers": [{"resources": {"limits": limits}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def _deployment(track: str, replicas: int, ready: int) -> Object:
    metadata = {"name": f"good-{track}", "namespace": "default", "labels": {"modelrollout.io/rollout": "good"}}
    return {"metadata": metadata, "spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}


def _crowd() -> MemoryCluster:
    cluster = holding("good-progressing-step-2-live")
    cluster.objects["deployments.apps"] = [_deployment("stable", 2, 2), _deployment("canary", 1, 0)]
    cluster.objects["pods"] = [
        _pod("good-stable-1", "stable"),
        _pod("good-stable-2", "stable"),
        _pod("good-canary-1", "canary", ready=False),
    ]
    states = [
        {"version": "102", "state": "LOADING"},
        {"version": "101", "state": "AVAILABLE"},
        {"version": "7", "state": "END"},
    ]
    cluster.servers = {item["metadata"]["name"]: {"model_version_status": states} for item in cluster.objects["pods"]}
    return cluster


def test_get_shows_a_rollout_under_way() -> None:
    """Phase, step, weight, both versions, the worst verdict."""
    assert _line("get", name="good-progressing-step-2-live")[:7] == [
        "good",
        "Progressing",
        "2/2",
        "50%",
        "101",
        "102",
        phase("good-progressing-step-2-live")["status"]["lastVerdict"],
    ]


@pytest.mark.parametrize(
    ("name", "status"),
    [("stuck-degraded-stalled", "Degraded"), ("bad-rolledback", "RolledBack"), ("good-healthy", "Healthy")],
)
def test_what_somebody_has_to_act_on_does_not_look_healthy(name: str, status: str) -> None:
    """A rollout that serves but can never go on is shown as such."""
    assert _line("get", name=name)[1] == status


def test_a_weight_that_is_not_live_shows_both() -> None:
    """What gateways still have, and what they were told."""
    assert _line("get", name="good-progressing-step-2-set")[3] == "20%>50%"


@pytest.mark.parametrize("name", phases())
def test_every_phase_can_be_shown(name: str) -> None:
    """Whatever a status has or lacks, looking at it never fails."""
    for arguments in (
        ["get"],
        ["status", phase(name)["metadata"]["name"]],
        ["history", phase(name)["metadata"]["name"]],
    ):
        shown = run(holding(name), *arguments)
        assert shown.exit_code == 0, shown.output
        assert shown.exception is None


def test_get_of_nothing_says_where_to_look() -> None:
    """An empty answer is mostly the wrong namespace."""
    shown = run(MemoryCluster(), "get")
    assert (shown.exit_code, shown.stdout) == (0, "")
    assert "-n NAMESPACE" in shown.stderr


def test_namespaces_are_shown_when_there_are_several() -> None:
    """With -A two objects of one name can be told apart."""
    other = phase("good-healthy")
    other["metadata"]["namespace"] = "models"
    shown = run(MemoryCluster({ROLLOUTS: [phase("good-healthy"), other]}), "get", "-A").output
    assert [line.split()[0] for line in shown.splitlines()] == ["NAMESPACE", "default", "models"]


def test_output_for_programs_is_the_object() -> None:
    """-o json and -o yaml give what the API server has."""
    obj = phase("good-healthy")
    assert json.loads(run(holding("good-healthy"), "get", "good", "-o", "json").output) == obj
    assert yaml.safe_load(run(holding("good-healthy"), "status", "good", "-o", "yaml").output) == obj


def test_history_is_the_audit_record() -> None:
    """For people one line per rollout with its reason; for programs every field with the evidence."""
    lines = run(holding("bad-rolledback"), "history", "bad").output.splitlines()
    assert lines[1].split()[:4] == ["2", "102", "RolledBack", "AnalysisFailed"]
    assert "errors failed in 2 measurements in a row" in lines[1]
    record = json.loads(run(holding("bad-rolledback"), "history", "bad", "-o", "json").output)
    assert record["history"] == phase("bad-rolledback")["status"]["history"]


def test_history_has_room_for_the_reason_however_many_asked() -> None:
    """Who asked for what is a request a line, and no wider than a third of a usual terminal."""
    cluster = holding("bad-rolledback")
    asked = "; ".join(
        f"{verb} by kubectl-modelrollout at 2026-01-01T00:00:00Z" for verb in ("pause", "resume", "abort")
    )
    cluster.objects[ROLLOUTS][0]["status"]["history"][0]["requestedBy"] = asked
    lines = run(cluster, "history", "bad", width=140).output.splitlines()
    begins = lines[0].index("ASKED BY"), lines[0].index("WHY")
    assert begins[1] - begins[0] <= 140 // 3
    told = [line[begins[0] :].split()[0] for line in lines[1:]]
    assert [verb for verb in told if verb in {"pause", "resume", "abort"}] == ["pause", "resume", "abort"]
    assert "errors failed in 2 measurements" in " ".join(line[begins[1] :].strip() for line in lines[1:])


def test_status_tells_the_whole_story() -> None:
    """Why, both tracks with pods, what their servers say, GPU, verdicts with both sides' numbers, what comes next."""
    shown = run(_crowd(), "status", "good").output
    for part in (
        "version 102 at 50 %, being judged",
        "good-stable  2/2 ready  version 101  weight 50% live",
        "good-canary  0/1 ready  version 102  weight 50% live",
        "ready  101 AVAILABLE, 102 LOADING  1 nvidia.com/mig-1g.10gb",
        "starting",
        "errors  Pass  canary 0.00%",
        "next  promotion as soon as nothing stands against it",
    ):
        assert part in shown
    assert "query" not in shown
    assert "END" not in shown


def test_evidence_does_not_repeat_the_verdict() -> None:
    """Name and verdict stand before it already."""
    obj = phase("good-progressing-step-1-live")
    judged = {"name": "errors", "verdict": "Suspect", "detail": "errors SUSPECT: canary 3 bad of 674, ratio 4.5"}
    obj["status"]["analysis"] = [judged]
    assert "errors  Suspect  canary 3 bad of 674" in run(MemoryCluster({ROLLOUTS: [obj]}), "status", "good").output


def test_status_without_the_right_to_ask_servers_says_so() -> None:
    """What is missing from the picture is told, the rest is shown."""
    cluster = _crowd()
    cluster.servers = {}
    shown = run(cluster, "status", "good").output
    assert "needs the right to get pods/proxy" in shown
    assert "good-stable-1  ready" in shown


@pytest.mark.parametrize("width", [60, 100, 160])
def test_the_picture_fits_its_width(width: int) -> None:
    """Long reasons wrap, tables are cut: no line is wider than the terminal."""
    shown = run(_crowd(), "status", "good", width=width).output
    assert max(map(len, shown.splitlines())) <= width


def test_no_colours_where_nobody_looks() -> None:
    """A pipe gets no escape sequences."""
    assert "\x1b" not in run(_crowd(), "status", "good").output
    assert "\x1b" not in run(_crowd(), "get").output


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (900, "15m"),
        (7260, "121m"),
        (11_000, "3h3m"),
        (86_400, "24h"),
        (180_000, "2d2h"),
        (864_000, "10d"),
    ],
)
def test_ages_are_kubectls(seconds: int, said: str) -> None:
    """Two units at most, the second only while the first is small."""
    assert span(timedelta(seconds=seconds)) == said
