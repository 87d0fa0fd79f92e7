"""`plan`, `simulate` and `report` as people call them."""

from __future__ import annotations

import json
import sys
from copy import deepcopy
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from modelrollout.cli.errors import Failure
from modelrollout.core.values import format_time
from modelrollout.planning.answers import Behaviour
from playground.paths import REPOSITORY
from tests.cli.world import NOW, ROLLOUTS, MemoryCluster, run
from tests.gitops.argo import phase
from tests.planning.recorded import Pod, prometheus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from modelrollout.core.values import JSON

_EXAMPLES = REPOSITORY / "examples"
_SMALLEST = str(_EXAMPLES / "smallest.yaml")
_CPU = str(_EXAMPLES / "cpu.yaml")
_DAY = 86_400.0


def scenario(name: str) -> str:
    """One of the examples."""
    return str(_EXAMPLES / "scenarios" / f"{name}.yaml")


@pytest.fixture
def recorded() -> Iterator[str]:
    """A Prometheus that has read two stable pods for a day, and a bad canary since its rollout began."""
    begun, ended = times(rolled_back())
    stable = [Pod(f"bad-stable-{n}", 20, Behaviour(0.005), begun - _DAY) for n in range(2)]
    with prometheus(*stable, Pod("bad-canary-0", 5, Behaviour(0.4), begun, ended)) as address:
        yield address


def rolled_back() -> dict[str, Any]:
    """A rollout that was taken back after ten minutes, with a sequential judge."""
    obj: dict[str, Any] = deepcopy(phase("bad-rolledback"))
    last = obj["status"]["history"][0]
    last["started"] = format_time(datetime.fromisoformat(last["ended"]) - timedelta(minutes=10))
    obj["spec"]["analysis"] = {"prometheus": {"address": "http://prometheus.invalid"}}
    return obj


def times(obj: dict[str, Any]) -> tuple[float, float]:
    """When its last attempt began and ended."""
    last = obj["status"]["history"][0]
    begun, ended = (datetime.fromisoformat(last[key]).timestamp() for key in ("started", "ended"))
    return begun, ended


def test_plan_without_metrics_needs_traffic_alone() -> None:
    """A manifest without analysis has steps and durations, and nothing that could be detected."""
    done = run(MemoryCluster(), "plan", "-f", _CPU, "--rps", "50")
    assert done.exit_code == 0
    assert "Step 1/2: weight 20 % for 30s (1m30s at most), 1 canary pod\n" in done.stdout
    assert "no metric with a sequential test" in done.stdout
    assert "In all: 1m30s" in done.stdout


def test_plan_without_traffic_says_how_to_give_it() -> None:
    """People read what to do."""
    done = run(MemoryCluster(), "plan", "-f", _CPU)
    assert done.exit_code == 3
    assert "Give --rps" in done.stderr


def test_plan_asks_prometheus(recorded: str) -> None:
    """Without --rps the last hour of the stable pods says how much traffic there is."""
    manifest = str(_EXAMPLES / "recsys-mig.yaml")
    done = run(MemoryCluster(), "plan", "-f", manifest, "--prometheus", recorded, "-o", "json")
    found = json.loads(done.stdout)
    assert found["answersPerSecond"] == pytest.approx(40, rel=0.01)
    assert found["errorRate"] == pytest.approx(0.005, rel=0.05)


def test_plan_without_recorded_answers_says_how_to_give_traffic() -> None:
    """A Prometheus that has nothing of the pods is no reason to guess."""
    with prometheus() as address:
        done = run(MemoryCluster(), "plan", "-f", _CPU, "--prometheus", address)
    assert done.exit_code == 3
    assert "Give --rps" in done.stderr


def test_plan_is_data_for_programs() -> None:
    """JSON with times in seconds; null is never."""
    done = run(MemoryCluster(), "plan", "-f", _CPU, "--rps", "50", "--error-rate", "0.01", "-o", "json")
    found = json.loads(done.stdout)
    assert (found["answersPerSecond"], found["errorRate"], found["seconds"]) == (50, 0.01, 90)
    assert found["steps"][0]["canaryAnswers"] == 300


def test_simulate_tells_what_would_happen() -> None:
    """Times since the rollout began, reasons and messages, and what it costs users."""
    done = run(MemoryCluster(), "simulate", "-f", _SMALLEST, "--scenario", scenario("broken"))
    assert done.exit_code == 0
    assert "AnalysisFailed" in done.stdout
    assert "RolledBack after 0:00:" in done.stdout
    assert "would not have been bad without the rollout" in done.stdout


def test_simulate_is_data_for_programs() -> None:
    """The same as JSON."""
    done = run(MemoryCluster(), "simulate", "-f", _SMALLEST, "--scenario", scenario("broken"), "-o", "json")
    found = json.loads(done.stdout)
    assert (found["outcome"], found["reason"]) == ("RolledBack", "AnalysisFailed")
    assert found["events"][0]["reason"] == "RolloutStarted"


def test_simulate_takes_traffic_from_a_recording(recorded: str) -> None:
    """What stable pods answered on a day is what the new version would have met."""
    begun, _ = times(rolled_back())
    start, end = (datetime.fromtimestamp(begun - ago, NOW.tzinfo).strftime("%Y-%m-%dT%H:%M:%S") for ago in (7200, 3600))
    with_recording = ("--prometheus", recorded, "--start", start, "--end", end)
    done = run(MemoryCluster(), "simulate", "-f", _SMALLEST, *with_recording, "-o", "json")
    found = json.loads(done.stdout)
    assert found["outcome"] == "Promoted"
    assert found["answers"] == pytest.approx(40 * found["seconds"], rel=0.05)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 64, "give --scenario, or --prometheus"),
        (("--prometheus", "http://127.0.0.1:1"), 64, "go together"),
        (
            ("--prometheus", "http://127.0.0.1:1", "--start", "2026-01-01T00:00:00", "--end", "2026-01-01T01:00:00"),
            3,
            "kubectl port-forward",
        ),
        (
            ("--prometheus", "http://127.0.0.1:1", "--start", "2026-01-01T01:00:00", "--end", "2026-01-01T00:00:00"),
            3,
            "is not before",
        ),
        (("--scenario", _SMALLEST), 3, "is no scenario"),
    ],
)
def test_simulate_says_what_is_missing(arguments: tuple[str, ...], code: int, said: str) -> None:
    """Each mistake has its words and its exit code."""
    done = run(MemoryCluster(), "simulate", "-f", _SMALLEST, *arguments)
    assert done.exit_code == code
    assert said in done.stderr


def test_a_manifest_with_mistakes_is_refused_as_lint_would(tmp_path: Path) -> None:
    """The same words for the same mistake."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text((_EXAMPLES / "smallest.yaml").read_text().replace("weight: 5,", "weight: 500,"))
    done = run(MemoryCluster(), "simulate", "-f", str(wrong), "--scenario", scenario("good"))
    assert done.exit_code == 3
    assert "spec.strategy.steps[0].weight" in done.stderr


def test_a_file_without_a_rollout_is_refused() -> None:
    """A scenario is no manifest."""
    done = run(MemoryCluster(), "plan", "-f", scenario("good"), "--rps", "1")
    assert done.exit_code == 3
    assert "0 ModelRollouts" in done.stderr


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_a_picture_is_one_file(suffix: str, tmp_path: Path) -> None:
    """PNG, SVG, or HTML with the picture inside: it refers to nothing else."""
    path = tmp_path / f"picture{suffix}"
    done = run(MemoryCluster(), "simulate", "-f", _SMALLEST, "--scenario", scenario("broken"), "--picture", str(path))
    assert done.exit_code == 0
    drawn = path.read_bytes()
    assert len(drawn) > 5000
    if suffix == ".html":
        assert b'src="data:image/png;base64,' in drawn
        assert b"http" not in drawn.split(b"base64,")[0]


def test_a_plan_has_a_picture_too(tmp_path: Path) -> None:
    """Even where there is nothing to detect."""
    done = run(MemoryCluster(), "plan", "-f", _CPU, "--rps", "5", "--picture", str(tmp_path / "plan.png"))
    assert done.exit_code == 0
    assert (tmp_path / "plan.png").stat().st_size > 5000


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    """The message names those that there are."""
    done = run(MemoryCluster(), "plan", "-f", _CPU, "--rps", "5", "--picture", str(tmp_path / "plan.gif"))
    assert done.exit_code == 3
    assert ".png, .svg, .html" in done.stderr


def test_without_matplotlib_there_are_words_and_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures are an extra: everything else works without it."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = run(MemoryCluster(), "plan", "-f", _CPU, "--rps", "5", "--picture", str(tmp_path / "plan.png"))
    assert done.exit_code == 3
    assert "In all" in done.stdout
    assert "pip install 'modelrollout[plots]'" in done.stderr


def test_report_shows_a_rollout_that_took_place(recorded: str, tmp_path: Path) -> None:
    """How it ended, what was said then, and both sides' answers as Prometheus still has them."""
    cluster = MemoryCluster({ROLLOUTS: [rolled_back()]})
    path = tmp_path / "report.html"
    done = run(cluster, "report", "bad", "--prometheus", recorded, "--picture", str(path))
    assert done.exit_code == 0, done.output
    assert "RolledBack (AnalysisFailed)" in done.stdout
    assert "canary: " in done.stdout
    assert path.exists()


def test_report_marks_what_the_cluster_still_remembers(recorded: str) -> None:
    """Events of the object, and of no other, say what happened when."""
    obj = rolled_back()
    begun = obj["status"]["history"][0]["started"]
    events = [
        {"metadata": {}, "eventTime": begun, "reason": "RolloutStarted", "regarding": _about(name)}
        for name in ("bad", "another")
    ]
    cluster = MemoryCluster({ROLLOUTS: [obj], "events": events})
    done = run(cluster, "report", "bad", "--prometheus", recorded)
    assert done.stdout.count("RolloutStarted") == 1


def test_report_does_without_events(recorded: str) -> None:
    """Who may not read events is told so, and gets everything else."""

    class Closed(MemoryCluster):
        def get(self, kind: str, name: str = "", selector: str = "") -> JSON:
            if kind == "events":
                raise Failure("events is forbidden")
            return super().get(kind, name, selector)

    done = run(Closed({ROLLOUTS: [rolled_back()]}), "report", "bad", "--prometheus", recorded)
    assert done.exit_code == 0
    assert "events is forbidden" in done.stderr
    assert "RolledBack (AnalysisFailed)" in done.stdout


def test_report_of_an_attempt_that_is_not_there_names_those_that_are(recorded: str) -> None:
    """People read which they may ask for."""
    cluster = MemoryCluster({ROLLOUTS: [rolled_back()]})
    done = run(cluster, "report", "bad", "--prometheus", recorded, "--attempt", "99")
    assert done.exit_code == 3
    assert "Its attempts: " in done.stderr


def _about(name: str) -> dict[str, str]:
    return {"kind": "ModelRollout", "name": name}
