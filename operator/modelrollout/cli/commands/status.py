"""`status`: one rollout with everything that belongs to it; with `--wait` until it has ended, for scripts."""

import sys
import time

import click

from modelrollout.cli.cluster import ROLLOUTS, Cluster
from modelrollout.cli.ending import ending, said
from modelrollout.cli.errors import Exit, NotFound
from modelrollout.cli.feed import Feed, Want
from modelrollout.cli.flags import access_flags, dump, name_argument, output_flag, surroundings
from modelrollout.core.values import JSON, parse_duration

_POLL_SECONDS = 60.0


class _Duration(click.ParamType[float]):
    """`90s`, `10m`, `1h30m`, as in manifests; in seconds."""

    name = "duration"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        try:
            return parse_duration(value).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command()
@name_argument()
@access_flags
@output_flag
@click.option(
    "--wait", is_flag=True, help="Wait until it ends; exit code 0 promoted, 1 reverted, 2 not within --timeout."
)
@click.option("--timeout", type=_Duration(), help="How long to wait, such as 45m; default: without end.")
def status(cluster: Cluster, name: str, output: str | None, timeout: float | None, *, wait: bool) -> None:
    """Show one rollout: what happens and why, its pods and what their servers say, the verdicts, what comes next."""
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is for --wait")
    obj = cluster.get(ROLLOUTS, name)
    if wait:
        _wait(cluster, obj, timeout)
    elif output:
        dump(obj, output)
    else:
        from modelrollout.cli.sights import look  # noqa: PLC0415 - rich comes with it
        from modelrollout.cli.views import tree  # noqa: PLC0415

        world = surroundings()
        world.console().print(tree.show(look(cluster, obj), world.now()))


def _wait(cluster: Cluster, obj: JSON, timeout: float | None) -> None:
    """Tell each new message once, and end with the exit code of the end."""
    deadline = None if timeout is None else time.monotonic() + timeout
    want = Want(ROLLOUTS, obj["metadata"]["name"])
    told = ""
    with Feed(cluster, want) as feed:
        while True:
            if said(obj) != told:
                told = said(obj)
                click.echo(told)
            code = ending(obj)
            if code is not None:
                sys.exit(code)
            left = _POLL_SECONDS if deadline is None else deadline - time.monotonic()
            if left <= 0:
                click.echo(f"{want.name}: not ended within the timeout", err=True)
                sys.exit(Exit.TIMEOUT)
            if feed.wait(min(left, _POLL_SECONDS)):
                obj = _newest(feed, want, obj)


def _newest(feed: Feed, want: Want, obj: JSON) -> JSON:
    """The object as it is now; an outage of the API server is waited out, but not that the object is gone."""
    found = next(iter(feed.objects(want).values()), None)
    failure = feed.failures.get(want)
    if isinstance(failure, NotFound):
        raise failure
    return obj if found is None else found
