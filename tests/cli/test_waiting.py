"""`status --wait`: exit codes for scripts, and one line for whatever is new."""

from __future__ import annotations

import threading

import pytest

from modelrollout.cli.ending import ending
from modelrollout.cli.errors import Exit
from tests.cli.world import MemoryCluster, holding, run
from tests.gitops.argo import phase, phases

ENDS = {
    "good-healthy": Exit.OK,
    "cancelled-healthy": Exit.OK,
    "bad-rolledback": Exit.REVERTED,
    "undone-rolledback": Exit.REVERTED,
    "stuck-degraded-stalled": Exit.REVERTED,
}


@pytest.mark.parametrize("name", phases())
def test_which_phases_are_an_end(name: str) -> None:
    """0 when what spec asks for serves, 1 when it will not by itself, otherwise it is waited for."""
    assert ending(phase(name)) == ENDS.get(name)


def test_a_new_version_is_not_over_before_the_operator_has_seen_it() -> None:
    """Right after `kubectl apply` the status still says Healthy, of the version before."""
    assert phase("good-unseen")["status"]["phase"] == "Healthy"
    assert ending(phase("good-unseen")) is None


@pytest.mark.parametrize(("name", "code"), ENDS.items())
def test_what_has_ended_is_told_at_once(name: str, code: Exit) -> None:
    """The exit code is the outcome."""
    done = run(holding(name), "status", phase(name)["metadata"]["name"], "--wait")
    assert done.exit_code == code
    assert phase(name)["status"]["message"] in done.output


def _play(cluster: MemoryCluster, *names: str) -> None:
    for name in names:
        cluster.change(phase(name))


def test_a_rollout_is_followed_to_its_promotion() -> None:
    """Every new message is one line; the last one says what serves."""
    cluster = holding("good-unseen")
    story = ("good-preparing", "good-progressing-step-1-live", "good-promoting", "good-baking", "good-healthy")
    threading.Timer(0.3, _play, (cluster, *story)).start()
    done = run(cluster, "status", "good", "--wait", "--timeout", "1m")
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "good: done: version 102 serves"


def test_a_rollout_is_followed_to_its_end_when_it_is_bad() -> None:
    """The exit code is 1 once everything is taken back, with the reason in the last line."""
    cluster = holding("bad-progressing-step-1-live")
    threading.Timer(0.3, _play, (cluster, "bad-rollingback", "bad-rolledback")).start()
    done = run(cluster, "status", "bad", "--wait", "--timeout", "1m")
    assert done.exit_code == 1
    assert "not done, RolledBack: version 102 was rejected (AnalysisFailed" in done.output.splitlines()[-1]


def test_the_timeout_is_code_2() -> None:
    """Whoever waits in a pipeline can tell "not yet" from "no"."""
    done = run(holding("good-baking"), "status", "good", "--wait", "--timeout", "50ms")
    assert done.exit_code == 2
    assert "not ended within the timeout" in done.stderr


def test_what_does_not_exist_is_neither_promoted_nor_reverted() -> None:
    """A name that is wrong has a code of its own."""
    assert run(holding("good-healthy"), "status", "god", "--wait").exit_code == 3
