"""The chart's alerts, as Prometheus itself evaluates them: promtool checks them and lets series pass through them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from playground.toolchain.gobuild import PROMTOOL, ensure
from tests.chart.helm import CHART

# promtool is built by the first test that needs it.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

RULES = CHART / "files" / "rules.yaml"
PASSES, WRITES = "modelrollout_passes_total", "modelrollout_status_writes_total"
ROLLOUT = 'namespace="shop", name="recsys"'


@dataclass(frozen=True)
class Case:
    """Series of one value a minute in promtool's notation, of which the alert is to speak and not to speak."""

    bad: dict[str, str]
    good: dict[str, str]
    silent: int
    """Minutes after which the bad series have not been bad for long enough."""
    fires: int
    """Minutes after which they have."""


CASES = {
    "ModelRolloutNoLeader": Case(
        bad={'modelrollout_leader{pod="a"}': "0x30", 'modelrollout_leader{pod="b"}': "0x30"},
        good={'modelrollout_leader{pod="a"}': "0x30", 'modelrollout_leader{pod="b"}': "1x30"},
        silent=4,
        fires=6,
    ),
    "ModelRolloutNotReady": Case(
        bad={'modelrollout_ready{namespace="ops", pod="a"}': "0x30"},
        # It lists everything anew now and then.
        good={'modelrollout_ready{namespace="ops", pod="a"}': "1 0 0 0 1 0 0 0 1 0 0 0 1 0 0 0 1"},
        silent=9,
        fires=11,
    ),
    "ModelRolloutPassesFail": Case(
        bad={f'{PASSES}{{result="ok"}}': "0+8x30", f'{PASSES}{{result="unavailable"}}': "0+2x30"},
        good={f'{PASSES}{{result="ok"}}': "0+19x30", f'{PASSES}{{result="defect"}}': "0+1x30"},
        silent=9,
        fires=12,
    ),
    "ModelRolloutStatusWritesFail": Case(
        bad={f'{WRITES}{{result="ok"}}': "0+8x30", f'{WRITES}{{result="error"}}': "0+2x30"},
        # That somebody else wrote first is no failure.
        good={f'{WRITES}{{result="ok"}}': "0+8x30", f'{WRITES}{{result="conflict"}}': "0+2x30"},
        silent=9,
        fires=12,
    ),
    "ModelRolloutStalled": Case(
        bad={f'modelrollout_condition{{{ROLLOUT}, type="Stalled"}}': "1x30"},
        good={f'modelrollout_condition{{{ROLLOUT}, type="Reconciling"}}': "1x30"},
        silent=14,
        fires=16,
    ),
    "ModelRolloutDegraded": Case(
        bad={f'modelrollout_condition{{{ROLLOUT}, type="Available"}}': "0x30"},
        good={f'modelrollout_condition{{{ROLLOUT}, type="Available"}}': "1x30"},
        silent=4,
        fires=6,
    ),
    "ModelRolloutNoData": Case(
        bad={f'modelrollout_verdict{{{ROLLOUT}, metric="errors", verdict="NoData"}}': "1x30"},
        # Few requests at night call nobody.
        good={f'modelrollout_verdict{{{ROLLOUT}, metric="errors", verdict="LowTraffic"}}': "1x30"},
        silent=14,
        fires=16,
    ),
    "ModelRolloutWeightNotLive": Case(
        bad={
            f"modelrollout_weight_set_ratio{{{ROLLOUT}}}": "0.25x30",
            f"modelrollout_weight_live_ratio{{{ROLLOUT}}}": "0.05x30",
        },
        good={
            f"modelrollout_weight_set_ratio{{{ROLLOUT}}}": "0.25x30",
            f"modelrollout_weight_live_ratio{{{ROLLOUT}}}": "0.05x5 0.25x30",
        },
        silent=9,
        fires=11,
    ),
    "ModelRolloutOverwritten": Case(
        bad={'modelrollout_repairs_total{kind="HTTPRoute"}': "0+1x30"},
        good={'modelrollout_repairs_total{kind="HTTPRoute"}': "0x5 1x30"},
        silent=1,
        fires=16,
    ),
    "ModelRolloutCanaryHeld": Case(
        bad={f'modelrollout_phase{{{ROLLOUT}, phase="RollingBack"}}': "1x30"},
        good={f'modelrollout_phase{{{ROLLOUT}, phase="RollingBack"}}': "1x5 0x30"},
        silent=14,
        fires=16,
    ),
}


def promtool(*arguments: str | Path) -> str:
    """What it says; a failure if it finds something wrong."""
    program = ensure(PROMTOOL, Path(sys.executable)) / PROMTOOL.module
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def expected(alert: str, series: dict[str, str], *moments: tuple[int, bool]) -> dict[str, Any]:
    """One of promtool's tests: with these series the alert fires, or does not, after so many minutes."""
    firing = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": firing,
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
            for minute, fires in moments
        ],
    }


def test_there_is_nothing_to_say_against_them() -> None:
    """Rules and templates can be read, and no rule is there twice."""
    assert "10 rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


def test_every_alert_has_a_case() -> None:
    """A new one does not go untried."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    assert {rule["alert"] for group in groups for rule in group["rules"]} == set(CASES)


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_on_what_it_is_for(alert: str, tmp_path: Path) -> None:
    """Once that has lasted for as long as it says, not before, and not on what only looks like it."""
    case = CASES[alert]
    tests = [
        expected(alert, case.bad, (case.silent, False), (case.fires, True)),
        expected(alert, case.good, *((minute, False) for minute in range(30))),
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    promtool("test", "rules", file)
