"""The verbs: one annotation each, the operator's answer, and what happens when there is none."""

from __future__ import annotations

import pytest

from modelrollout.cli import request
from modelrollout.cli.app import COMMANDS
from tests.cli.world import ROLLOUTS, MemoryCluster, holding, run
from tests.gitops.argo import phase

UNDER_WAY = "good-progressing-step-1-live"


@pytest.mark.parametrize(
    ("arguments", "name", "token"),
    [
        (["abort", "good"], UNDER_WAY, "abort:{canary}.2:1"),
        (["promote", "good"], UNDER_WAY, "promote:{canary}.2:1"),
        (["promote", "good", "--full"], UNDER_WAY, "promote-full:{canary}.2:1"),
        (["pause", "good"], UNDER_WAY, "pause:{canary}.2:1"),
        (["resume", "good"], UNDER_WAY, "resume:{canary}.2:1"),
        (["skip", "good"], UNDER_WAY, "skip:{canary}.2:1"),
        (["retry", "bad"], "bad-rolledback", "retry:{rejected}.2:0"),
        (["undo", "good"], "good-healthy", "undo:{stable}.2:0:{first}"),
        (["undo", "good", "--to", "101"], "good-healthy", "undo:{stable}.2:0:{first}"),
        (["undo", "good"], UNDER_WAY, "undo:{canary}.2:1"),
        (["undo", "good", "--to", "101"], UNDER_WAY, "undo:{canary}.2:1"),
    ],
)
def test_a_verb_names_what_was_seen(arguments: list[str], name: str, token: str) -> None:
    """Revision, attempt and step are those of the object when asked, so a request that comes late does nothing."""
    status = phase(name)["status"]
    revisions = {key: status.get(key, {}).get("revision") for key in ("canary", "rejected", "stable")}
    cluster = holding(name)
    done = run(cluster, *arguments)
    assert cluster.asked == [token.format(**revisions, first=status["history"][-1]["revision"])]
    assert done.exit_code == 0, done.output
    assert done.output.endswith(": done\n")


def test_every_verb_has_a_command() -> None:
    """The eight verbs of the request annotation, of which promote-full is a flag."""
    assert set(COMMANDS["Decide"]) == {"promote", "abort", "retry", "pause", "resume", "skip", "undo"}
    assert set(COMMANDS["Decide"]) >= request.UNDER_WAY_ONLY - {"promote-full"}


@pytest.mark.parametrize(
    ("arguments", "name", "said"),
    [
        (["abort", "good"], "good-healthy", "nothing is under way, so there is nothing to abort\nStatus: Healthy."),
        (["skip", "good"], "good-healthy", "nothing is under way, so there is nothing to skip"),
        (["retry", "good"], "good-healthy", "no version is rejected, so there is nothing to retry"),
        (["retry", "good"], UNDER_WAY, "version 102 is under way"),
        (["undo", "good", "--to", "7"], UNDER_WAY, "version 102 is under way\nUndo without --to takes it back."),
        (["pause", "good"], "good-healthy", "nothing is under way, so there is nothing to pause"),
        (
            ["undo", "good", "--to", "55"],
            "good-healthy",
            "55 was never promoted here, or too long ago\nPromoted before: 101.",
        ),
        (["undo", "good", "--to", "102"], "good-healthy", "102 is what serves now\nPromoted before it: 101."),
        (["undo", "bad"], "bad-rolledback", "nothing was promoted before what serves now"),
        (["undo", "good"], "good-new", "nothing serves yet"),
        (["abort", "god"], "good-healthy", 'modelrollouts.modelrollout.io "god" not found'),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_is_asked(arguments: list[str], name: str, said: str) -> None:
    """The message says what is the case and what could be done; nothing was written."""
    cluster = holding(name)
    done = run(cluster, *arguments)
    assert done.exit_code == 3
    assert said in done.output
    assert cluster.asked == []


def test_a_stale_request_is_told_and_fails() -> None:
    """When the rollout went on meanwhile, the operator's own words are shown, with an exit code for scripts."""
    cluster = holding(UNDER_WAY)
    cluster.answer = lambda _: "abort: stale, asked for revision x, attempt 2, which is not under way"
    done = run(cluster, "abort", "good")
    assert done.exit_code == 1
    assert "stale, asked for revision x" in done.output


def test_an_operator_that_does_not_know_the_verb_is_told() -> None:
    """An older operator says which verbs it knows."""
    cluster = holding(UNDER_WAY)
    cluster.answer = lambda _: "skip: not understood; there are abort, retry"
    done = run(cluster, "skip", "good")
    assert (done.exit_code, done.output) == (1, "good: skip: not understood; there are abort, retry\n")


def test_no_answer_is_a_timeout_that_leaves_the_request() -> None:
    """The operator may be down: its answer will come, and the message says where."""
    cluster = holding(UNDER_WAY)
    cluster.answer = lambda _: None
    done = run(cluster, "abort", "good", "--wait", "0.1")
    assert done.exit_code == 2
    assert "the request stays\nDoes the operator run?" in done.output


def test_not_waiting_prints_the_token() -> None:
    """`--wait 0` is for whoever looks at status.lastRequest."""
    cluster = holding(UNDER_WAY)
    cluster.answer = lambda _: None
    done = run(cluster, "abort", "good", "--wait", "0")
    assert done.exit_code == 0
    assert cluster.asked[0] in done.output


def test_the_same_request_twice_is_not_answered_twice() -> None:
    """A token is handled once; whoever repeats it is told the first answer at once."""
    obj = phase("bad-rolledback")
    token = request.token("retry", obj)
    obj["status"]["lastRequest"] = {"token": token, "answer": "retry: stale"}
    done = run(MemoryCluster({ROLLOUTS: [obj]}), "retry", "bad")
    assert done.exit_code == 1
    assert "asked for before, and the answer was: retry: stale" in done.output


def test_another_request_meanwhile_ends_the_wait() -> None:
    """The annotation holds one request: whose was overwritten learns it."""
    obj = phase(UNDER_WAY)
    obj["metadata"]["annotations"] = {"modelrollout.io/request": "pause:0123456789.2:1"}
    cluster = MemoryCluster({ROLLOUTS: [obj]})
    cluster.answer = lambda _: None
    done = run(cluster, "abort", "good")
    assert done.exit_code == 3
    assert "somebody asked for something else meanwhile: pause:0123456789.2:1" in done.output
