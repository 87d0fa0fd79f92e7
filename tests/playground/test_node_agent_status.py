"""The kubelet's rules about what a pod's status says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from playground.node_agent.model import ContainerView, Running, State, Terminated, Waiting
from playground.node_agent.status import PodFacts, phase, pod_status, resumed, termination_message

T0 = datetime(2026, 1, 31, 8, 0, 0, tzinfo=UTC)
LATER = T0 + timedelta(minutes=5)
RUNS = Running(T0)
CREATING = Waiting("ContainerCreating")
LOOPS = Waiting("CrashLoopBackOff", "back-off 10s")


def ended(code: int) -> Terminated:
    """A container's end with `code`."""
    return Terminated(code, "Completed" if code == 0 else "Error", "", T0, T0)


def view(state: State, *, last: Terminated | None = None, ready: bool = False) -> ContainerView:
    """A container in `state`."""
    return ContainerView("main", "playground/sleep", state, last=last, ready=ready)


def facts(
    *containers: ContainerView,
    policy: str = "Always",
    inits: tuple[ContainerView, ...] = (),
    gates: tuple[str, ...] = (),
    shown: tuple[dict[str, Any], ...] = (),
    leaving: bool = False,
) -> PodFacts:
    """What the agent knows of a pod with `containers`."""
    metadata = {"name": "p", "deletionTimestamp": "2026-01-31T08:00:00Z"} if leaving else {"name": "p"}
    spec = {"restartPolicy": policy, "readinessGates": [{"conditionType": gate} for gate in gates]}
    pod = {"metadata": metadata, "spec": spec, "status": {"conditions": list(shown)}}
    return PodFacts(pod, "10.0.1.1", "10.244.1.2", T0, inits, containers)


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        pytest.param(facts(view(CREATING)), "Pending", id="a container that has never run keeps the pod pending"),
        pytest.param(facts(view(RUNS)), "Running", id="a running container"),
        pytest.param(facts(view(LOOPS, last=ended(1))), "Running", id="a crash loop is a running pod"),
        pytest.param(facts(view(ended(1))), "Running", id="an end between two lives"),
        pytest.param(facts(view(ended(0)), policy="Never"), "Succeeded", id="all ended well for good"),
        pytest.param(facts(view(ended(3)), policy="Never"), "Failed", id="ended badly for good"),
        pytest.param(facts(view(ended(3)), policy="OnFailure"), "Running", id="will be tried again"),
        pytest.param(facts(view(ended(0)), view(RUNS), policy="Never"), "Running", id="one of two still runs"),
        pytest.param(facts(view(ended(137)), leaving=True), "Failed", id="killed when it was deleted"),
        pytest.param(facts(view(ended(0)), leaving=True), "Succeeded", id="left politely when it was deleted"),
        pytest.param(facts(view(CREATING), inits=(view(RUNS),)), "Pending", id="an init container runs"),
        pytest.param(
            facts(view(CREATING), inits=(view(ended(1)),), policy="Never"), "Failed", id="an init container failed"
        ),
    ],
)
def test_phase(what: PodFacts, expected: str) -> None:
    """The phase follows from the containers' states as the kubelet computes it."""
    assert phase(what) == expected


def conditions(what: PodFacts, moment: datetime = LATER) -> dict[str, dict[str, Any]]:
    """The conditions of a pod's status by type."""
    return {condition["type"]: condition for condition in pod_status(what, moment)["conditions"]}


def test_a_pod_whose_containers_are_ready_is_ready() -> None:
    """Every condition is True, since the moment at which that was found."""
    found = conditions(facts(view(RUNS, ready=True)))
    assert {condition["status"] for condition in found.values()} == {"True"}
    assert found["Ready"]["lastTransitionTime"] == "2026-01-31T08:05:00Z"


def test_an_unready_container_is_named() -> None:
    """Ready and ContainersReady say which container lacks."""
    found = conditions(facts(view(RUNS)))
    assert found["Ready"]["status"] == found["ContainersReady"]["status"] == "False"
    assert found["Ready"]["message"] == "containers with unready status: [main]"


@pytest.mark.parametrize(
    ("gate", "ready", "message"),
    [
        (None, "False", 'corresponding condition of pod readiness gate "x/ok" does not exist.'),
        ("False", "False", 'the status of pod readiness gate "x/ok" is not "True", but False'),
        ("True", "True", None),
    ],
)
def test_readiness_gates(gate: str | None, ready: str, message: str | None) -> None:
    """A pod with ready containers is Ready only when somebody has set the gate's condition to True."""
    shown = ({"type": "x/ok", "status": gate},) if gate else ()
    found = conditions(facts(view(RUNS, ready=True), gates=("x/ok",), shown=shown))
    assert (found["Ready"]["status"], found["Ready"]["message"]) == (ready, message)
    assert found["ContainersReady"]["status"] == "True"


def test_a_condition_keeps_its_transition_time() -> None:
    """A condition whose status has not changed since keeps the time that the server shows."""
    before = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    assert conditions(facts(view(RUNS), shown=(before,)))["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    turned = conditions(facts(view(RUNS, ready=True), shown=(before,)))
    assert turned["Ready"]["lastTransitionTime"] == "2026-01-31T08:05:00Z"


def test_a_crash_loop_shows_its_last_end() -> None:
    """State is the wait, lastState the exit code, reason, message and signal of the process that ended."""
    last = Terminated(137, "Error", "bye", T0, T0, "playground://x", signal=9)
    status = pod_status(facts(view(LOOPS, last=last)), LATER)["containerStatuses"][0]
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert status["lastState"]["terminated"]["exitCode"] == 137
    assert status["lastState"]["terminated"]["message"] == "bye"
    assert status["lastState"]["terminated"]["signal"] == 9


def test_a_container_of_an_earlier_agent_is_a_restart() -> None:
    """What ran under an agent that is gone has ended with 255 and keeps its count; what never ran is new."""
    new = view(CREATING)
    found = resumed(new, {"state": {"running": {}}, "restartCount": 2}, LATER)
    assert found.last is not None
    assert (found.last.exit_code, found.restarts) == (255, 2)
    assert resumed(new, {"state": {"waiting": {"reason": "ContainerCreating"}}, "restartCount": 0}, LATER) == new
    assert resumed(new, {}, LATER) == new


@pytest.mark.parametrize(
    ("own", "policy", "code", "expected"),
    [
        pytest.param(b"why", "File", 1, "why", id="its own words come first"),
        pytest.param(b"why", "FallbackToLogsOnError", 1, "why", id="even where the log may speak"),
        pytest.param(b"", "File", 1, "", id="no words and no log asked for"),
        pytest.param(b"", "FallbackToLogsOnError", 0, "", id="a good end does not quote the log"),
        pytest.param(b"", "FallbackToLogsOnError", 1, "line 99\n", id="the log's end"),
    ],
)
def test_termination_message(own: bytes, policy: str, code: int, expected: str) -> None:
    """The message is the container's own file, or the log's end if the policy and a bad exit allow it."""
    assert termination_message(own, b"line 99\n", policy, code) == expected


def test_the_quoted_log_is_short() -> None:
    """At most 80 lines and 2048 bytes of a log are quoted, the last ones."""
    many = b"".join(b"%d\n" % number for number in range(1000))
    quoted = termination_message(b"", many, "FallbackToLogsOnError", 1)
    assert quoted.splitlines() == [str(number) for number in range(920, 1000)]
    assert len(termination_message(b"", b"x" * 9000, "FallbackToLogsOnError", 1)) == 2048
    assert len(termination_message(b"x" * 9000, b"", "File", 1)) == 4096
