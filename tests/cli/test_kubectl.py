"""The cluster through kubectl, with a program of that name that prints what kubectl printed once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from modelrollout.cli.cluster import Access, Kubectl
from modelrollout.cli.errors import Failure, NotFound
from modelrollout.cli.refusals import explain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Program = "Callable[[str], Path]"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a shell script in kubectl's place; it notes its arguments in the file that is returned."""

    def make(script: str) -> Path:
        program, notes = tmp_path / "kubectl", tmp_path / "arguments"
        program.write_text(f'#!/bin/sh\necho "$@" >> "{notes}"\n{script}\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        return notes

    return make


def test_flags_are_kubectls(kubectl: Callable[[str], Path]) -> None:
    """What people say about cluster and namespace is passed on as it is."""
    notes = kubectl("echo '{}'")
    Kubectl(Access("k", "c", "n")).get("pods", selector="a=b")
    assert notes.read_text() == "get pods --selector=a=b --output=json --kubeconfig k --context c --namespace n\n"


def test_a_request_is_an_annotation_with_a_manager_of_its_own(kubectl: Callable[[str], Path]) -> None:
    """The API server then says who asked, and no other field is touched."""
    notes = kubectl("")
    Kubectl(Access()).ask("recsys", "abort:0123456789.2:1")
    assert notes.read_text() == (
        "annotate --overwrite --field-manager=kubectl-modelrollout modelrollouts.modelrollout.io recsys "
        "modelrollout.io/request=abort:0123456789.2:1\n"
    )


def test_events_are_read_one_by_one(kubectl: Callable[[str], Path]) -> None:
    """Kubectl prints one per line."""
    events = [{"type": "ADDED", "object": {"a": [1]}}, {"type": "DELETED", "object": {"b": {}}}]
    text = "\n".join(json.dumps(event) for event in events)
    kubectl(f"cat <<'X'\n{text}\nX")
    assert list(Kubectl(Access()).changes("pods")) == [("ADDED", {"a": [1]}), ("DELETED", {"b": {}})]


def test_a_watch_that_is_refused_says_why(kubectl: Callable[[str], Path]) -> None:
    """The same words as for a single read."""
    kubectl("echo 'Error from server (Forbidden): pods is forbidden: User \"bob\" cannot watch' >&2; exit 1")
    with pytest.raises(Failure, match="cannot watch"):
        list(Kubectl(Access()).changes("pods"))


def test_a_watch_can_be_ended_from_another_thread(kubectl: Callable[[str], Path]) -> None:
    """The process that would never end is ended, and iterating ends with it."""
    kubectl("exec sleep 600")
    changes = Kubectl(Access()).changes("pods")
    changes.close()
    assert list(changes) == []


def test_without_kubectl_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only program that is needed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match=r"kubectl was not found on PATH\nInstall kubectl"):
        Kubectl(Access()).get("pods")


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ('error: the server doesn\'t have a resource type "modelrollouts"', "kubectl apply --server-side -f crds/"),
        ('error: context "prod" does not exist', "kubectl config get-contexts"),
        ("error: current-context must exist in order to minify", "current-context"),
        ("The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?", "--context"),
        ("Unable to connect to the server: dial tcp: lookup x: no such host", "--context"),
        ("error: You must be logged in to the server (Unauthorized)", "Log in again"),
        ('Error from server (Forbidden): x is forbidden: User "b" cannot patch', "ask for a Role"),
        ("", "kubectl ended without a word"),
    ],
)
def test_refusals_say_what_to_do(said: str, hint: str) -> None:
    """Kubectl's own words first, then the way out."""
    assert hint in explain(said, None).message


def test_what_is_not_found_is_told_with_where_it_was_looked_for() -> None:
    """The wrong namespace is the newcomer's first mistake."""
    said = 'Error from server (NotFound): modelrollouts.modelrollout.io "x" not found'
    failure = explain(said, "models")
    assert isinstance(failure, NotFound)
    assert "Looked in -n models. `kubectl modelrollout get -A` shows where there are any." in failure.message
    assert "the namespace of your context" in explain(said, None).message
