"""What people decide: each verb is one annotation, which the operator answers in `status.lastRequest`."""

import sys
import time

import click

from modelrollout.cli import request
from modelrollout.cli.cluster import ROLLOUTS, Cluster
from modelrollout.cli.errors import Declined, Exit, Failure, NoAnswer
from modelrollout.cli.feed import Feed, Want
from modelrollout.cli.flags import Command, access_flags, name_argument
from modelrollout.core.names import ANNOTATION_REQUEST
from modelrollout.core.values import JSON

_ANSWER_SECONDS = 10.0


def _verb(command: Command) -> Command:
    """What all verbs have: a name, a cluster, and how long to wait for the answer."""
    waiting = click.option(
        "--wait",
        "seconds",
        type=click.FloatRange(min=0),
        default=_ANSWER_SECONDS,
        show_default=True,
        help="Seconds to wait for the operator's answer, 0 for not at all.",
    )
    return name_argument()(access_flags(waiting(command)))


@click.command()
@click.option("--full", is_flag=True, help="Skip the steps that are left, and all further analysis before promotion.")
@_verb
def promote(cluster: Cluster, name: str, seconds: float, *, full: bool) -> None:
    """Approve the step that waits for approval, or with --full promote at once."""
    _ask(cluster, name, "promote-full" if full else "promote", seconds)


@click.command()
@_verb
def abort(cluster: Cluster, name: str, seconds: float) -> None:
    """Take the rollout under way back now: weight 0 first, its revision is rejected."""
    _ask(cluster, name, "abort", seconds)


@click.command()
@_verb
def retry(cluster: Cluster, name: str, seconds: float) -> None:
    """Try the rejected revision once more, from the first step."""
    _ask(cluster, name, "retry", seconds)


@click.command()
@_verb
def pause(cluster: Cluster, name: str, seconds: float) -> None:
    """Stay at the weight that is set until `resume`; what is proven bad is still taken back."""
    _ask(cluster, name, "pause", seconds)


@click.command()
@_verb
def resume(cluster: Cluster, name: str, seconds: float) -> None:
    """Go on after `pause`."""
    _ask(cluster, name, "resume", seconds)


@click.command()
@_verb
def skip(cluster: Cluster, name: str, seconds: float) -> None:
    """Leave the current step now for the next one."""
    _ask(cluster, name, "skip", seconds)


@click.command()
@click.option("--to", "wanted", default="", metavar="VERSION", help="Version or revision; default: the one before.")
@_verb
def undo(cluster: Cluster, name: str, seconds: float, wanted: str) -> None:
    """Go back to a version that was promoted before.

    `spec` stays as it is: what it asks for is rejected. Change it in Git too.
    """
    _ask(cluster, name, "undo", seconds, wanted)


def _ask(cluster: Cluster, name: str, verb: str, seconds: float, wanted: str = "") -> None:
    """Annotate, wait for the answer, tell it. The exit code is 1 when the operator said no."""
    obj = cluster.get(ROLLOUTS, name)
    target = request.undo_target(obj, wanted)[0] if verb == "undo" else ""
    token = request.token(verb, obj, target)
    if request.answered(obj, token) is not None:
        raise Declined(f"{name}: this was asked for before, and the answer was: {request.answered(obj, token)}")
    cluster.ask(name, token)
    if not seconds:
        click.echo(f"{name}: asked ({token})")
        return
    answer = _answer(cluster, name, token, seconds)
    click.echo(f"{name}: {answer}")
    if not request.was_done(verb, answer):
        sys.exit(Exit.REVERTED)


def _answer(cluster: Cluster, name: str, token: str, seconds: float) -> str:
    want = Want(ROLLOUTS, name)
    deadline = time.monotonic() + seconds
    with Feed(cluster, want) as feed:
        while (left := deadline - time.monotonic()) > 0:
            feed.wait(left)
            for obj in feed.objects(want).values():
                answer = request.answered(obj, token)
                if answer is not None:
                    return answer
                _still_asked(obj, token)
    raise NoAnswer(
        f"{name}: the operator has not answered within {seconds:g} s; the request stays",
        "Does the operator run? Its answer will be in status.lastRequest.",
    )


def _still_asked(obj: JSON, token: str) -> None:
    found = obj["metadata"].get("annotations", {}).get(ANNOTATION_REQUEST)
    if found not in {None, token}:
        raise Failure(
            f"somebody asked for something else meanwhile: {found}", "Look at it with `status` and ask again."
        )
