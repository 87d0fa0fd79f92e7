"""Completion for shells and for kubectl."""

from __future__ import annotations

import pytest

from tests.cli.world import MemoryCluster, holding, run


def _choices(*words: str) -> list[str]:
    *choices, directive = run(holding("good-healthy", "bad-rolledback"), "__complete", *words).output.splitlines()
    assert directive == ":4"
    return [choice.split("\t")[0] for choice in choices]


def test_commands_are_completed() -> None:
    """With what is typed so far."""
    assert _choices("pro") == ["promote"]
    assert "watch" in _choices("")


def test_names_are_completed_from_the_cluster() -> None:
    """All that there are, or those that begin so."""
    assert _choices("abort", "") == ["good", "bad"]
    assert _choices("status", "--wait", "g") == ["good"]


def test_flags_are_completed() -> None:
    """Each with its help."""
    assert "--timeout" in _choices("status", "--t")


def test_a_cluster_that_cannot_be_asked_completes_nothing() -> None:
    """No message disturbs the line that is being typed."""
    shown = run(MemoryCluster(), "__complete", "abort", "")
    assert shown.output == ":4\n"


@pytest.mark.parametrize(
    ("shell", "part"),
    [("bash", "complete -o nosort"), ("zsh", "#compdef kubectl-modelrollout"), ("fish", "complete --no-files")],
)
def test_shells_get_their_script(shell: str, part: str) -> None:
    """For the command as it is named."""
    shown = run(MemoryCluster(), "completion", shell).output
    assert part in shown
    assert "kubectl-modelrollout" in shown


def test_kubectl_gets_a_program_to_call() -> None:
    """Kubectl completes plugins by calling kubectl_complete-NAME."""
    assert 'exec kubectl-modelrollout __complete "$@"' in run(MemoryCluster(), "completion", "kubectl").output
