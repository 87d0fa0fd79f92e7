"""What people decide: each verb is one annotation, which the operator answers in `status.lastRequest`."""

import sys
import time

import click

from modelrollout.cli import request
from modelrollout.cli.cluster import ROLLOUTS, Cluster
from modelrollout.cli.errors import Declined, Exit, Failure, NoAnswer
from modelrollout.cli.feed import Feed, Want
from modelrollout.cli.flags import Command, access_flags, name_argument
from modelrollout.core.fitting import was_done
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


def _plain(verb: str, what: str) -> click.Command:
    """A verb that has nothing to be said but its object."""

    @click.command(verb, help=what)
    @_verb
    def ask(cluster: Cluster, name: str, seconds: float) -> None:
        _ask(cluster, name, verb, seconds)

    return ask


abort = _plain("abort", "Take the rollout under way back now: weight 0 first, its revision is rejected.")
retry = _plain("retry", "Try the rejected revision once more, from the first step.")
pause = _plain("pause", "Stay at the weight that is set until `resume`; what is proven bad is still taken back.")
resume = _plain("resume", "Go on after `pause`. A pause in `spec` is ended in `spec`.")
skip = _plain("skip", "Leave the current step for the next one now, without the rest of its evidence.")


@click.command()
@click.option("--full", is_flag=True, help="At once, without the steps that are left and their evidence.")
@_verb
def promote(cluster: Cluster, name: str, seconds: float, *, full: bool) -> None:
    """End the wait of the current step, for approval or for its time; evidence against it still counts."""
    _ask(cluster, name, "promote-full" if full else "promote", seconds)


@click.command()
@click.option("--to", "wanted", default="", metavar="VERSION", help="Version or revision; default: the one before.")
@_verb
def undo(cluster: Cluster, name: str, seconds: float, wanted: str) -> None:
    """Go back to a version that was promoted before, or from the one that is under way.

    `spec` stays as it is: what it asks for is rejected. Change it in Git too.
    """
    _ask(cluster, name, "undo", seconds, wanted)


def _ask(cluster: Cluster, name: str, verb: str, seconds: float, wanted: str = "") -> None:
    """Annotate, wait for the answer, tell it. The exit code is 1 when the operator said no."""
    obj = cluster.get(ROLLOUTS, name)
    target = request.undo_target(obj, wanted) if verb == "undo" else ""
    token = request.token(verb, obj, target)
    if request.answered(obj, token) is not None:
        raise Declined(f"{name}: this was asked for before, and the answer was: {request.answered(obj, token)}")
    cluster.ask(name, token)
    if not seconds:
        click.echo(f"{name}: asked ({token})")
        return
    answer = _answer(cluster, name, token, seconds)
    click.echo(f"{name}: {answer}")
    if not was_done(answer):
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
