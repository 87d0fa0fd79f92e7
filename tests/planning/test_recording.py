"""What Prometheus has recorded is read as it was: traffic, behaviour, and a rollout that took place."""

from __future__ import annotations

import pytest

from modelrollout.core.spec_json import parse_spec
from modelrollout.planning.answers import Behaviour
from modelrollout.planning.recording import Look, NothingRecorded, basis_of, looks_of, replay, traffic_of
from tests.builders import raw_spec
from tests.planning.recorded import Pod, bad, latency

_BEGUN = 1_000_000.0
_STABLE = [Pod(f"recsys-stable-{n}", 10, Behaviour(0.01, 0.05, 0.4), begins=_BEGUN - 5000) for n in range(2)]
_CANARY = Pod("recsys-canary-0", 5, Behaviour(0.3, 0.05, 0.4), begins=_BEGUN)
_ANALYSIS = parse_spec(raw_spec(analysis={"prometheus": {"address": "http://prometheus"}}), "recsys").analysis


def looks(pods: list[Pod], begins: float, ends: float, step: float = 15) -> tuple[Look, ...]:
    """What a range query gives."""
    moments = [begins + step * number for number in range(int((ends - begins) / step) + 1)]
    return looks_of(
        [series for pod in pods for series in bad(pod, moments) if series["values"]],
        [series for pod in pods for series in latency(pod, moments) if series["values"]],
    )


def test_a_basis_is_what_all_pods_answered_together() -> None:
    """Rate, errors and times of the stable pods, with where they are from."""
    basis = basis_of(looks(_STABLE, _BEGUN, _BEGUN + 3600))
    assert basis.rate == pytest.approx(20, rel=0.01)
    assert basis.behaviour.errors == pytest.approx(0.01, rel=0.05)
    assert basis.behaviour.median == pytest.approx(0.05, rel=0.1)
    assert basis.known == "Prometheus, over 60 min"


def test_traffic_that_ends_begins_anew() -> None:
    """A rollout may take longer than what was recorded."""
    traffic = traffic_of(looks(_STABLE, _BEGUN, _BEGUN + 600))
    assert traffic.requests(0, 10) == pytest.approx(200, rel=0.05)
    assert traffic.requests(5000, 5010) == pytest.approx(200, rel=0.05)


def test_nothing_recorded_is_said() -> None:
    """Without answers there is nothing to go by."""
    for read in (basis_of, traffic_of):
        with pytest.raises(NothingRecorded):
            read(())


def test_a_replay_finds_what_the_judge_found() -> None:
    """The evidence grows out of the recorded counters, from the canary's first answer on."""
    found = looks([*_STABLE, _CANARY], _BEGUN - 600, _BEGUN + 300)
    points = replay(found, "recsys-canary-", _ANALYSIS, _BEGUN)
    before = [point for point in points if point.at <= 0]
    assert all(point.canary.answers == 0 for point in before)
    assert points[-1].weight == pytest.approx(20, abs=1)
    assert points[-1].verdicts["error-rate"] == "Fail"
    assert points[-1].evidence["error-rate"].proof >= points[-1].evidence["error-rate"].needed


def test_an_empty_recording_is_an_empty_replay() -> None:
    """Nothing recorded, nothing drawn."""
    assert replay((), "recsys-canary-", _ANALYSIS, _BEGUN) == []
